// A version on trial: how often it agrees with the one that judges, and the parts on which the two differ, with pictures.

import { ask, picture } from "./api.js";
import { badge, el } from "./dom.js";
import { t } from "./language.js";
import { VERDICTS, count, number, ofLimit, percent, verdictOf, when } from "./words.js";

const KINDS = ["OK", "review", "NG", "error", "none"];
const PAGE = 12;

const kind = (verdict) => verdict ?? "none";
const sum = (rows) => rows.reduce((all, row) => all + row.parts, 0);
export const short = (digest) => digest.slice(0, 8);

/** Sentences on a trial: how much was compared, and what was not. */
function progress(trial) {
  const { parts, compared, left_out: leftOut, waiting, failed } = trial;
  const differ = sum(trial.tally.filter((row) => row.active !== row.shadow));
  const said = [t("{compared} of {parts} parts were judged by both.", { compared: count(compared), parts: count(parts) })];
  if (compared) said.push(t("On {differ} of them ({share}) the verdicts differ.", { differ: count(differ), share: percent(differ / compared) }));
  if (waiting) said.push(t("{waiting} wait.", { waiting: count(waiting) }));
  if (leftOut) said.push(t("{count} were left out, so that nobody waits for the trial.", { count: count(leftOut) }));
  if (failed) said.push(t("{count} could not be judged by the version on trial alone.", { count: count(failed) }));
  return said.join(" ");
}

/** What the two said of parts that operators confirmed. */
function confirmed(trial) {
  const of = (operator) => trial.tally.filter((row) => row.operator === operator);
  const rejected = (rows, name) => sum(rows.filter((row) => row[name] === "NG"));
  const said = (operator, words) => {
    const rows = of(operator);
    if (!rows.length) return [];
    const values = { count: count(sum(rows)), now: count(rejected(rows, "active")), then: count(rejected(rows, "shadow")) };
    return [el("p", { class: "soft" }, words(values))];
  };
  return [
    ...said("good", (values) => t("Of {count} parts called good by operators, {now} were rejected; the version on trial rejects {then}.", values)),
    ...said("defective", (values) => t("Of {count} parts called defective by operators, {now} were rejected; the version on trial rejects {then}.", values)),
  ];
}

function table(trial) {
  const used = KINDS.filter((name) => trial.tally.some((row) => kind(row.active) === name || kind(row.shadow) === name));
  const parts = (active, shadow) => sum(trial.tally.filter((row) => kind(row.active) === active && kind(row.shadow) === shadow));
  const head = [el("th", { scope: "col" }, t("Judged")), ...used.map((name) => el("th", { scope: "col", class: "figure" }, t("on trial {verdict}", { verdict: VERDICTS[name].word })))];
  const rows = used.map((active) => el("tr", {}, el("th", { scope: "row" }, badge(VERDICTS[active])),
    ...used.map((shadow) => el("td", { class: active !== shadow && parts(active, shadow) ? "differs" : "" }, count(parts(active, shadow))))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("Verdicts of both") },
    el("table", { class: "plain trial-table" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)));
}

/** The score in percent of the limit that decided, else what there is of it. */
const scored = (row) => ofLimit(row)?.text ?? row.error ?? t("score {score}", { score: number(row.score) });

export class Trial {
  /** `onPick(inspection)` when a person wants to see a part as a whole. */
  constructor(onPick) {
    Object.assign(this, { onPick, urls: new Map(), shown: [], next: null });
  }

  /** What is shown of a trial but its differences. */
  summary(trial) {
    return [
      el("p", { class: "trial-progress" }, progress(trial)),
      ...(trial.broken ? [el("p", { class: "banner tone-ng" }, t("It does not judge now: {reason}.", { reason: trial.broken }))] : []),
      ...(trial.compared ? [table(trial), ...confirmed(trial)] : []),
    ];
  }

  /** Fetch the newest differences, or those before the last that were shown. */
  async fetch(model, more = false) {
    const before = more && this.next ? `&before_number=${this.next}` : "";
    const answer = await ask(`v1/models/${encodeURIComponent(model)}/differences?limit=${PAGE}${before}`);
    const found = await answer.json();
    this.shown = more ? [...this.shown, ...found.differences] : found.differences;
    this.next = found.next;
  }

  cards() {
    return this.shown.map(({ inspection, shadow }) => {
      const image = el("img", { alt: t("Picture of part {number}", { number: count(inspection.seq) }), loading: "lazy", hidden: true });
      const missing = el("span", { class: "soft" }, t("no picture was kept"));
      this.draw(inspection, image, missing);
      const part = el("button", { type: "button", class: "pick", onclick: () => this.onPick(inspection) }, t("Part {number}", { number: count(inspection.seq) }));
      const line = (name, row) => el("p", {}, el("span", { class: "soft" }, name), " ", badge(verdictOf(row)), " ", el("span", { class: "soft" }, scored(row)));
      return el("li", { class: "difference" }, el("div", { class: "thumb" }, image, missing),
        el("div", {}, el("p", {}, part, " ", el("span", { class: "soft" }, when(inspection.time))), line(t("judged"), inspection), line(t("on trial"), shadow)));
    });
  }

  async draw(inspection, image, missing) {
    if (!inspection.image) return;
    if (!this.urls.has(inspection.id)) {
      const blob = await picture(inspection.id, "image").catch(() => null);
      if (!blob) return;
      if (!this.urls.has(inspection.id)) this.urls.set(inspection.id, URL.createObjectURL(blob));
    }
    image.src = this.urls.get(inspection.id);
    image.hidden = false;
    missing.hidden = true;
  }

  forget() {
    for (const url of this.urls.values()) URL.revokeObjectURL(url);
    this.urls.clear();
    Object.assign(this, { shown: [], next: null });
  }
}
