// What the parts that were drawn tell of the defective ones that passed, in a sentence and its condition.

import { el } from "./dom.js";
import { t } from "./language.js";
import { count, percent } from "./words.js";

export function escapeWords(found) {
  const numbers = {
    passed: count(found.passed), drawn: count(found.drawn), confirmed: count(found.confirmed), defective: count(found.defective),
    left: count(found.drawn - found.confirmed), known: count(found.known),
  };
  const known = found.known > found.defective ? [t("Known by now: {known} parts judged OK were confirmed as defective.", numbers)] : [];
  if (found.share === null) return [t("How many defective parts passed is not known: no OK parts are drawn to be looked at (option --audit-share)."), ...known];
  if (!found.confirmed) return [t("How many defective parts passed is not known yet: {drawn} of {passed} parts judged OK were drawn, and nobody has looked at them.", numbers), ...known];
  const ends = {
    about: count(Math.round(found.passed * found.estimate)), low: count(Math.max(Math.floor(found.passed * found.low), found.defective)),
    high: count(Math.ceil(found.passed * found.high)), share: percent(found.estimate), least: percent(found.low), most: percent(found.high),
    confidence: percent(found.confidence),
  };
  const condition = found.drawn > found.confirmed
    ? t("This holds if whoever looks sees the defects, and if the {left} drawn that nobody has looked at yet are like these.", numbers)
    : t("This holds if whoever looks sees the defects.");
  return [
    t("About {about} defective parts passed as OK, and with {confidence} confidence between {low} and {high} ({share} of those judged OK; {least} to {most}).", ends),
    t("Parts judged OK: {passed}. Drawn by chance: {drawn}. Looked at: {confirmed}. Defective among these: {defective}.", numbers),
    condition, ...known,
  ];
}

/** The first sentence stands out, the others explain it. */
export function escapeBox(found) {
  const [first, ...others] = escapeWords(found);
  return el("div", { class: "escapes" }, el("p", { class: "told" }, first), ...others.map((text) => el("p", { class: "soft" }, text)));
}
