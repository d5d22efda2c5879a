// Quality over a span of time: escaped defects, kinds of defects, shifts, scores, and files to take away.

import { pareto, scoreChart, shiftTable } from "./charts.js";
import { $, el, say } from "./dom.js";
import { escapeBox } from "./escapes.js";
import { t } from "./language.js";
import { query } from "./api.js";
import { defects, escapes, save, scores, shifts } from "./quality_api.js";
import { midnight, plain } from "./words.js";

const DAYS = { today: 0, week: 6, month: 29 };

/** Scores over the span, or over the end of it where the parts came late in it. */
async function closely(model, span) {
  const found = await scores(model, span);
  const [since, until, first] = [span.since, span.until, found[0]?.start].map((text) => new Date(text).getTime());
  if (!(until - first < 0.5 * (until - since))) return [found, span];
  const end = { since: found[0].start, until: span.until };
  return [await scores(model, end), end];
}

/** What there is to say of a model over a span, as nodes; the same on the page and in the report of a shift. */
export async function figures(model, span, head = "h3") {
  const [passed, kinds, [over, shown]] = await Promise.all([escapes(model, span), defects(model, span), closely(model, span)]);
  return [
    el(head, {}, t("Escaped defects")), escapeBox(passed),
    el(head, {}, t("Kinds of defects")), ...(kinds.length ? pareto(kinds) : [el("p", { class: "soft" }, t("No part was confirmed as defective."))]),
    el(head, {}, t("Score over time")), ...(over.length ? scoreChart(over, shown) : [el("p", { class: "soft" }, t("No part has a score."))]),
  ];
}

export class Quality {
  /** `model()` is the name of the chosen model; `filters()` those of the list. */
  constructor(model, filters) {
    Object.assign(this, { model, filters, turn: 0 });
    $("today").after(this.build());
    $("quality").addEventListener("toggle", () => this.load());
    $("quality-span").addEventListener("change", () => this.load());
    this.addFiles();
  }

  build() {
    const option = (value, words) => el("option", { value }, words);
    return el("details", { id: "quality", class: "card" },
      el("summary", {}, el("h2", {}, t("Quality"))),
      el("div", { class: "row" },
        el("label", {}, `${t("Span")} `, el("select", { id: "quality-span" }, option("today", t("today")), option("week", t("7 days")), option("month", t("30 days")))),
        el("a", { id: "shift-link", href: "shift" }, t("Report of a shift, to print")),
        el("button", { type: "button", id: "save-labelled", onclick: () => this.save("labelled") }, t("Confirmed pictures (ZIP)"))),
      el("div", { id: "quality-found" }),
      el("div", { id: "quality-shifts" }));
  }

  addFiles() {
    const button = (id, words, kind) => el("button", { type: "button", id, onclick: () => this.save(kind) }, words);
    document.querySelector("#inspections .pages").append(button("save-csv", t("Save as CSV"), "csv"), " ", button("save-parquet", t("Save as Parquet"), "parquet"));
  }

  get span() {
    return { since: midnight(DAYS[$("quality-span").value]).toISOString(), until: new Date(Date.now() + 1000).toISOString() };
  }

  async load() {
    if (!$("quality").open || !this.model()) return;
    const turn = ++this.turn;
    const [model, span] = [this.model(), this.span];
    $("shift-link").href = `shift${query({ model })}`;
    try {
      const [found, worked] = await Promise.all([figures(model, span), shifts(model, span)]);
      if (turn !== this.turn) return;
      $("quality-found").replaceChildren(...found);
      $("quality-shifts").replaceChildren(el("h3", {}, t("By shift")), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("Counts by shift") }, shiftTable(worked)));
    } catch (error) {
      say(plain(error, "word"), { trouble: true, key: "quality" });
    }
  }

  async save(kind) {
    const filters = this.filters();
    const path = kind === "labelled" ? `v1/models/${encodeURIComponent(this.model())}/labelled-images` : `v1/export/inspections.${kind}${query(filters)}`;
    try {
      await save(path, kind === "labelled" ? `${this.model()}-labelled.zip` : `inspections.${kind}`);
    } catch (error) {
      say(error.status === 501 ? error.detail : plain(error, "word"), { trouble: true, key: "save" });
    }
  }
}
