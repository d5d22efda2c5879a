// What other rates would have meant for parts that operators confirmed, and who moved them before.

import { badge, el } from "./dom.js";
import { t } from "./language.js";
import { rateChanges, small } from "./quality_api.js";
import { VERDICTS, count, percent, when } from "./words.js";

function gallery(title, parts, onPick) {
  if (!parts.length) return [];
  const items = parts.map((one) => el("li", {},
    el("button", { type: "button", class: "thumb", onclick: () => onPick(one.id) },
      small(one.id, ""), el("span", {}, t("Part {number}", { number: count(one.seq) })), badge(VERDICTS[one.verdict_before]), el("span", { class: "unseen" }, t("then")), badge(VERDICTS[one.verdict_after]))));
  return [el("h3", {}, title), el("ul", { class: "thumbs" }, ...items)];
}

/** Sentences with figures, and the newest parts of each kind; `onPick(id)` shows one. */
export function consequences(found, onPick) {
  if (!found) return [];
  const numbers = {
    defective: count(found.defective), good: count(found.good), passing: count(found.passing_after), passed: count(found.passing_before),
    held: count(found.held_after), were: count(found.held_before), spared: count(found.now_spared), more: count(found.now_held),
  };
  if (!found.defective && !found.good) return [el("p", { class: "consequence" }, t("No part that this model judged was confirmed yet, so nobody can say what these rates let pass. The review helps."))];
  const words = [
    found.defective
      ? t("Of {defective} parts confirmed as defective {passing} would pass; by the rates of now {passed} pass.", numbers)
      : t("No part was confirmed as defective yet, so nobody can say how many would pass."),
    found.good
      ? t("Of {good} parts confirmed as good {held} would be held for review or rejected; by the rates of now {were} are. {spared} would be spared, {more} more held.", numbers)
      : t("No part was confirmed as good yet, so nobody can say how many would be spared."),
  ];
  const grave = found.passing_after > found.passing_before;
  return [
    el("p", { class: grave ? "consequence banner tone-ng" : "consequence" }, words[0]), el("p", { class: "consequence" }, words[1]),
    ...gallery(t("Defective parts that would pass"), found.passing, onPick),
    ...gallery(t("Defective parts that would be held"), found.caught, onPick),
    ...gallery(t("Good parts that would be spared"), found.spared, onPick),
    ...gallery(t("Good parts that would be held"), found.held, onPick),
  ];
}

/** Fields for the name and the reason, without which nothing is applied. */
export function signature() {
  const name = el("input", { id: "rates-name", maxlength: "200", autocomplete: "name", required: true });
  const reason = el("input", { id: "rates-reason", maxlength: "2000", autocomplete: "off", required: true });
  const node = el("div", { class: "signature" },
    el("div", { class: "field" }, el("label", { for: "rates-name" }, t("Your name")), name),
    el("div", { class: "field" }, el("label", { for: "rates-reason" }, t("Reason")), reason));
  return { node, name, reason, read: () => ({ name: name.value.trim(), reason: reason.value.trim() }) };
}

const said = (rates) => (rates ? t("at most {rate} of good parts rejected", { rate: percent(rates.rate) }) : t("the model's own rates"));

/** Who moved the rates, when and why, the newest first. */
export async function rateHistory(model) {
  const changes = await rateChanges(model);
  if (!changes.length) return [];
  const items = changes.map((one) => el("li", {}, `${when(one.time)}: ${said(one.after)} – ${one.name ?? one.who ?? t("name unknown")}${one.reason ? `, “${one.reason}”` : ""}`));
  return [el("details", { class: "history" }, el("summary", {}, t("Who moved the rates before ({count})", { count: count(changes.length) })), el("ul", {}, ...items))];
}
