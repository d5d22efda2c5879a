// Elements made by hand: text goes in as text, so nothing that a server says can become markup.

import { t } from "./language.js";

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const SHAPES = {
  check: ["M4 12.8 9.4 18 20 6.5"],
  cross: ["M5.5 5.5l13 13", "M18.5 5.5l-13 13"],
  question: ["M7.6 8.6C7.6 5.9 9.6 4.4 12 4.4s4.5 1.6 4.5 4c0 3.2-4.4 3.3-4.4 6.6", "M12.1 19.4v.2"],
  warning: ["M12 3.4 22 20.4H2z", "M12 9.6v5", "M12 17.6v.1"],
  dash: ["M5 12h14"],
  wait: ["M12 6.4V12l3.6 2.4", "M12 3.2a8.8 8.8 0 1 0 .01 0"],
  cut: ["M2.5 12h5", "M16.5 12h5", "M9.6 7.2l4.8 9.6", "M14.4 7.2l-4.8 9.6"],
};

/** One of the shapes above, drawn in the colour of the text; never read aloud, since a word stands beside it. */
export function icon(name) {
  const strokes = SHAPES[name].map((d) => svg("path", { d }));
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" }, ...strokes);
}

export const badge = ({ tone, shape, word }, extra = "") =>
  el("span", { class: `badge tone-${tone} ${extra}`.trim() }, icon(shape), word);

/** A message at the foot of the page; trouble stays until it is closed, anything else leaves by itself. */
export function say(text, { trouble = false, key = null } = {}) {
  const home = $(trouble ? "troubles" : "notices");
  const known = key && [...home.children].find((node) => node.dataset.key === key);
  if (known) known.remove();
  const note = el("div", { class: trouble ? "note trouble" : "note" }, icon(trouble ? "warning" : "check"), el("span", {}, text));
  if (key) note.dataset.key = key;
  const close = () => note.remove();
  note.append(el("button", { type: "button", class: "close", "aria-label": t("Close this message"), onclick: close }, icon("cross")));
  home.append(note);
  while (home.children.length > 3) home.firstChild.remove();
  if (!trouble) setTimeout(close, 8000);
  return close;
}
