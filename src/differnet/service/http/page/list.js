// The last inspections: filters, pages, and the row that is being looked at.

import { inspections } from "./api.js";
import { $, badge, el, say } from "./dom.js";
import { t } from "./language.js";
import { addSearch, matches, partLine } from "./part_words.js";
import { OPERATOR, count, disagrees, number, ofLimit, plain, verdictOf, when } from "./words.js";

const PAGE = 15;
const WIDE = matchMedia("(min-width: 1081px)"); // where part and list stand side by side

const instant = (id) => ($(id).value ? new Date($(id).value).toISOString() : null);

export class List {
  /** `onPick(row)` when a person picks one. */
  constructor(onPick) {
    Object.assign(this, { onPick, rows: [], starts: [null], next: null, picked: null, missed: 0, turn: 0 });
    addSearch($("clear"));
    for (const id of ["by-verdict", "by-operator", "by-model", "by-since", "by-until", "by-search"]) {
      $(id).addEventListener("change", () => this.reload());
    }
    $("clear").addEventListener("click", () => this.clear());
    $("older").addEventListener("click", () => this.older());
    $("newer").addEventListener("click", () => this.newer());
    $("newest").addEventListener("click", () => this.reload());
  }

  filters() {
    return {
      verdict: $("by-verdict").value, operator: $("by-operator").value, model: $("by-model").value,
      since: instant("by-since"), until: instant("by-until"), search: $("by-search").value.trim(),
    };
  }

  clear() {
    for (const id of ["by-verdict", "by-operator", "by-since", "by-until", "by-search"]) $(id).value = "";
    this.reload();
  }

  /** Start again at the newest that fits the filters. */
  reload() {
    this.starts = [null];
    return this.fetch();
  }

  async older() {
    if (this.next === null) return false;
    this.starts.push(this.next);
    return this.fetch();
  }

  async newer() {
    if (this.starts.length === 1) return false;
    this.starts.pop();
    return this.fetch();
  }

  async fetch() {
    const turn = ++this.turn;
    try {
      const found = await inspections({ ...this.filters(), before_seq: this.starts.at(-1), limit: PAGE });
      if (turn !== this.turn) return false;
      this.rows = found.inspections;
      this.next = found.next ?? null;
      if (this.starts.length === 1) this.missed = 0;
      this.render();
      return true;
    } catch (error) {
      say(plain(error, "word"), { trouble: true, key: "list" });
      return false;
    }
  }

  fits(row) {
    const { verdict, operator, model, since, until, search } = this.filters();
    return (!verdict || verdict === (row.verdict ?? "none")) && (!operator || operator === (row.operator ?? "none"))
      && (!model || model === row.model) && matches(row, search)
      && (!since || new Date(row.time) >= new Date(since)) && (!until || new Date(row.time) < new Date(until));
  }

  /** Take in an inspection that was just stored (`isNew`), or changed. */
  take(row, isNew) {
    const at = this.rows.findIndex((known) => known.id === row.id);
    if (at >= 0) this.rows[at] = row;
    else if (!this.fits(row) || this.rows.some((known) => known.seq > row.seq)) return;
    else if (this.starts.length > 1) this.missed += isNew ? 1 : 0;
    else {
      this.rows.unshift(row);
      if (this.rows.length > PAGE) {
        this.rows.length = PAGE;
        this.next = this.rows.at(-1).seq;
      }
    }
    this.render();
  }

  /** Mark the row that is looked at; null for none. */
  mark(row) {
    this.picked = row?.id ?? null;
    for (const line of $("rows").children) {
      const is = line.dataset.id === this.picked;
      line.classList.toggle("picked", is);
      line.querySelector("button").setAttribute("aria-current", String(is));
      if (is && WIDE.matches) line.scrollIntoView({ block: "nearest" });
    }
    if (row && !WIDE.matches) $("stage").scrollIntoView({ block: "nearest" });
  }

  /** Move by one row, over the ends of the page too; down is back in time. */
  async step(down) {
    const at = this.rows.findIndex((row) => row.id === this.picked);
    const to = at < 0 ? (down ? 0 : -1) : at + (down ? 1 : -1);
    if (to >= 0 && to < this.rows.length) this.onPick(this.rows[to]);
    else if (at >= 0 && down && (await this.older())) this.onPick(this.rows[0]);
    else if (at >= 0 && !down && (await this.newer())) this.onPick(this.rows.at(-1));
  }

  render() {
    const focused = document.activeElement?.closest?.("#rows tr")?.dataset.id;
    $("rows").replaceChildren(...this.rows.map((row) => this.line(row)));
    if (focused) $("rows").querySelector(`tr[data-id="${CSS.escape(focused)}"] button`)?.focus({ preventScroll: true });
    $("empty").hidden = this.rows.length > 0;
    const page = this.starts.length;
    $("where").textContent = this.rows.length ? t("Parts {first} to {last}", { first: count(this.rows[0].seq), last: count(this.rows.at(-1).seq) }) : "";
    $("older").disabled = this.next === null;
    $("newer").disabled = page === 1;
    $("newest").hidden = this.missed === 0;
    $("newest").textContent = t("{count} newer – show them", { count: count(this.missed) });
  }

  line(row) {
    const picked = row.id === this.picked;
    const all = $("by-model").value === "";
    const pick = el("button", { type: "button", class: "pick", "aria-current": String(picked), onclick: () => this.onPick(row) }, count(row.seq));
    const word = row.operator ? badge(OPERATOR[row.operator], disagrees(row) ? "against" : "") : el("span", { class: "soft" }, "–");
    const cells = [
      el("th", { scope: "row" }, pick),
      el("td", { class: "time" }, when(row.time)),
      el("td", {}, badge(verdictOf(row))),
      el("td", {}, word),
      el("td", { class: "figure" }, number(row.score)),
      el("td", { class: "figure chance" }, ofLimit(row)?.percent ?? "–"),
      el("td", { class: "long", title: row.file_name ?? "" }, ...(all ? [el("b", {}, row.model), " "] : []), ...(partLine(row) ? [el("b", {}, partLine(row)), " "] : []), row.error ?? row.file_name ?? row.source ?? ""),
    ];
    const line = el("tr", { "data-id": row.id, class: picked ? "picked" : "" }, ...cells);
    line.addEventListener("click", (event) => event.target.closest("button") ?? this.onPick(row));
    return line;
  }
}
