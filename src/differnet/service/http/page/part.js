// One part as a page to print: its picture, heat map, verdict, and all that was said of it.

import { ApiError, inspection, picture } from "./api.js";
import { $, badge, el } from "./dom.js";
import { locale, t } from "./language.js";
import { printing, wrong } from "./paper.js";
import { ofPart } from "./part_words.js";
import { changesOf } from "./quality_api.js";
import { OPERATOR, count, number, percent, verdictOf } from "./words.js";

const whole = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });
const time = (text) => (text ? whole.format(new Date(text)) : "");

function facts(row) {
  const pairs = [
    [t("Verdict"), badge(verdictOf(row))], [t("Operator"), row.operator ? badge(OPERATOR[row.operator]) : t("not confirmed")], [t("Kind of defect"), row.defect],
    [t("Note"), row.note], ...ofPart(row), [t("File"), row.file_name], [t("Time"), time(row.time)], [t("Model"), row.model], [t("Score"), row.score === null ? null : number(row.score)],
    [t("Limit"), row.threshold === null ? null : number(row.threshold)], [t("Limit of the review"), row.review_threshold === null ? null : number(row.review_threshold)],
    [t("Good parts this unusual"), row.p_value === null ? null : percent(row.p_value)], [t("Error"), row.error], [t("Drift"), row.drift], [t("Of the image"), row.image_note],
    [t("Drawn for the review"), row.is_drawn ? t("yes, {share} of OK parts are", { share: percent(row.audit_share) }) : null],
    [t("Version of the model"), row.model_digest.slice(0, 16)], [t("SHA-256 of the image"), row.image_digest], [t("Number of the inspection"), row.id],
  ];
  return el("dl", { class: "facts" }, ...pairs.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function history(row, changes) {
  const word = (change) => (change.after.verdict ? t("said {word}", { word: OPERATOR[change.after.verdict].word }) : t("took it back"));
  const lines = changes.map((one) => [one.name ?? one.who ?? t("name unknown"), word(one), one.after.defect, one.after.note].filter(Boolean).join(", "));
  const items = changes.map((one, i) => el("li", {}, `${time(one.time)}: ${lines[i]}`)).reverse();
  return el("ol", {}, el("li", {}, `${time(row.time)}: ${t("judged {word}", { word: verdictOf(row).word })}`), ...items);
}

async function shown(id, what, title) {
  const blob = await picture(id, what).catch(() => null);
  if (!blob) return null;
  const image = el("img", { src: URL.createObjectURL(blob), alt: title });
  await image.decode().catch(() => {});
  return image;
}

async function start() {
  const id = new URLSearchParams(location.search).get("id") ?? "";
  try {
    if (!/^[0-9a-f]{32}$/.test(id)) throw new ApiError(404);
    const [row, changes] = await Promise.all([inspection(id), changesOf(id)]);
    const title = t("Part {number}", { number: count(row.seq) });
    const [image, map] = await Promise.all([row.image && shown(id, "image", t("Picture")), row.heat_map && shown(id, "map", t("Heat map"))]);
    const over = image && map ? el("figure", {}, el("div", { class: "over" }, image.cloneNode(), map), el("figcaption", {}, t("Heat map"))) : null;
    document.title = `${title} · differnet`;
    $("paper").replaceChildren(el("h1", {}, `${title} · ${row.model}`), printing(),
      el("div", { class: "pictures" }, image ? el("figure", {}, image, el("figcaption", {}, t("Picture"))) : el("p", {}, t("The picture was not kept.")), over ?? ""),
      facts(row), el("h2", {}, t("What was said of it")), history(row, changes));
  } catch (error) {
    $("paper").replaceChildren(...wrong(error));
  }
  $("paper").removeAttribute("aria-busy");
}

start();
