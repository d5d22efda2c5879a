// The report of a shift, to print: counts, what passed, kinds of defects, scores, and what was changed.

import { inspections, models, rates } from "./api.js";
import { shiftTable } from "./charts.js";
import { $, badge, el } from "./dom.js";
import { locale, t } from "./language.js";
import { printing, wrong } from "./paper.js";
import { partLine } from "./part_words.js";
import { figures } from "./quality.js";
import { rateChanges, shifts, small } from "./quality_api.js";
import { count, percent, plain, shiftName, verdictOf, when } from "./words.js";

const DAYS = 7;
const SHOWN = 12;
const whole = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
const label = (one) => `${shiftName(one.name)}: ${whole.format(new Date(one.start))} – ${whole.format(new Date(one.end))}`;

async function rejected(model, span) {
  const found = (await inspections({ model, verdict: "NG", ...span, limit: SHOWN })).inspections;
  if (!found.length) return [];
  const items = found.map((row) => el("li", {}, small(row.id, t("Part {number}", { number: count(row.seq) })), el("span", {}, t("Part {number}", { number: count(row.seq) })), badge(verdictOf(row)), el("span", { class: "soft" }, row.defect ?? partLine(row))));
  return [el("h2", {}, t("The last parts that were rejected")), el("ul", { class: "thumbs" }, ...items)];
}

async function changed(model, { since, until }) {
  const found = (await rateChanges(model)).filter((one) => one.time >= since && one.time < until);
  const words = (one) => `${when(one.time)}: ${one.after ? percent(one.after.rate) : t("the model's own rates")}, ${one.name ?? one.who ?? t("name unknown")}${one.reason ? `: ${one.reason}` : ""}`;
  return [el("h2", {}, t("Rates that were moved")), found.length ? el("ul", {}, ...found.map((one) => el("li", {}, words(one)))) : el("p", {}, t("None."))];
}

async function show(model, one) {
  const span = { since: new Date(one.start).toISOString(), until: new Date(Math.min(new Date(one.end), Date.now() + 1000)).toISOString() };
  const [held, found, ng, moved] = await Promise.all([rates(model), figures(model, span, "h2"), rejected(model, span), changed(model, span)]);
  const judged = one.OK + one.review + one.NG;
  const share = judged ? percent(one.NG / judged) : "–";
  const promise = held.threshold === null ? "" : t("The limit of now promises that at most {rate} of good parts are rejected.", { rate: percent(held.promised) });
  document.title = `${model} · ${label(one)}`;
  $("shift-found").replaceChildren(
    el("p", { class: "told" }, t("{parts} parts were judged, {ng} of them rejected ({share}) and {review} held for review.", { parts: count(judged), ng: count(one.NG), share, review: count(one.review) })),
    el("p", {}, t("Operators confirmed {good} as good and {defective} as defective. {errors} could not be judged.", { good: count(one.good), defective: count(one.defective), errors: count(one.error) }), " ", promise),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("Counts by shift") }, shiftTable([one])), ...found, ...ng, ...moved);
}

async function start() {
  try {
    const wanted = new URLSearchParams(location.search).get("model");
    const names = (await models()).map((one) => one.name);
    const model = names.includes(wanted) ? wanted : names[0];
    const until = new Date();
    const found = (await shifts(model, { since: new Date(until - DAYS * 86_400_000).toISOString(), until: until.toISOString() })).reverse();
    const choice = el("select", { id: "shift" }, ...found.map((one, i) => el("option", { value: String(i) }, label(one))));
    const chosen = el("p", { class: "only-print" });
    const draw = () => {
      chosen.textContent = label(found[Number(choice.value)]);
      return show(model, found[Number(choice.value)]).catch((error) => $("shift-found").replaceChildren(el("p", { role: "alert" }, plain(error))));
    };
    choice.addEventListener("change", draw);
    $("paper").replaceChildren(el("h1", {}, t("Shift report of {model}", { model })), printing(), el("p", { class: "no-print" }, el("label", {}, `${t("Shift")} `, choice)), chosen, el("div", { id: "shift-found" }));
    await draw();
  } catch (error) {
    $("paper").replaceChildren(...wrong(error));
  }
  $("paper").removeAttribute("aria-busy");
}

start();
