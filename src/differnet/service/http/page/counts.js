// Today's counts, and how they went: parts an hour, and the share that was rejected, drawn by hand.

import { counts } from "./api.js";
import { $, el, say, svg } from "./dom.js";
import { locale, t } from "./language.js";
import { VERDICTS, count, midnight, percent, plain } from "./words.js";

const KINDS = ["NG", "review", "OK"];
const HOUR = 3_600_000;
const SHORTEST = 260; // of the chart, in pixels: it is drawn as wide as it stands, so that its text has one size
const LEFT = 44;
const AGAIN = 3000; // after an answer that may lack a part, since it came while the service was asked
const SHARE = { top: 16, high: 44 }; // the upper panel
const PARTS = { top: 86, high: 64 }; // the lower one

const nothing = () => ({ OK: 0, review: 0, NG: 0, error: 0, none: 0 });
const judged = (bucket) => bucket.OK + bucket.review + bucket.NG;
const time = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" });

/** A number to end an axis at, 1, 2 or 5 times a power of ten. */
function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * unit).find((step) => step >= value * (1 - 1e-9));
}

export class Counts {
  constructor() {
    Object.assign(this, { model: null, rate: null, slots: [], turn: 0, isAsking: false, isBehind: false });
    for (const box of document.getElementsByName("span")) box.addEventListener("change", () => this.reload());
    setInterval(() => this.model && this.reload(), 60_000);
    new ResizeObserver(() => this.slots.length && this.wide !== this.drawn && this.render()).observe($("chart"));
  }

  get wide() {
    return Math.max(SHORTEST, Math.round($("chart").clientWidth));
  }

  get byDay() {
    return $("span-days").checked;
  }

  open(model, rate) {
    Object.assign(this, { model, rate });
    return this.reload();
  }

  async reload() {
    const turn = ++this.turn;
    const start = midnight(this.byDay ? 13 : 0);
    Object.assign(this, { isAsking: true, isBehind: false });
    try {
      const found = await counts(this.model, start.toISOString(), "hour");
      if (turn !== this.turn) return;
      this.slots = this.empty();
      for (const bucket of found.buckets) this.add(new Date(bucket.start), bucket);
      this.render();
    } catch (error) {
      say(plain(error), { trouble: true, key: "counts" });
    }
    if (turn !== this.turn) return;
    this.isAsking = false;
    if (this.isBehind) setTimeout(() => turn === this.turn && this.reload(), AGAIN);
  }

  /** A slot for each hour of today, or for each of the last 14 days. */
  empty() {
    if (this.byDay) return Array.from({ length: 14 }, (_, i) => ({ start: midnight(13 - i), ...nothing() }));
    return Array.from({ length: 24 }, (_, i) => ({ start: new Date(midnight().getTime() + i * HOUR), ...nothing() }));
  }

  add(when, numbers) {
    const slot = this.slots.findLast((one) => one.start <= when);
    if (slot) for (const name of Object.keys(nothing())) slot[name] += numbers[name] ?? 0;
  }

  /** Count an inspection that was just stored, until the service is asked again. */
  take(row) {
    if (row.model !== this.model) return;
    this.isBehind ||= this.isAsking;
    if (!this.slots.length) return;
    if (this.slots.at(-1).start < midnight() && this.byDay) return void this.reload();
    this.add(new Date(row.time), { [row.verdict ?? "none"]: 1 });
    this.render();
  }

  render() {
    const today = this.slots.filter((slot) => slot.start >= midnight());
    const total = nothing();
    for (const slot of today) for (const name of Object.keys(total)) total[name] += slot[name];
    const all = judged(total);
    for (const name of [...KINDS, "error"]) {
      $(`today-${name}`).textContent = count(total[name]);
      $(`share-${name}`).textContent = all && name !== "error" ? percent(total[name] / all) : "";
    }
    $("today-all").textContent = count(all + total.error + total.none);
    $("chart").replaceChildren(this.chart());
    $("chart-table").replaceChildren(...this.table());
  }

  label(slot) {
    return (this.byDay ? day : time).format(slot.start);
  }

  chart() {
    const { slots, rate } = this;
    const most = Math.max(...slots.map(judged));
    const top = ceiling(Math.max(most, 1));
    const shares = slots.map((slot) => (judged(slot) ? slot.NG / judged(slot) : null));
    const highest = Math.min(1, ceiling(Math.max(...shares, 1.5 * (rate ?? 0), 0.01)));
    const wide = (this.drawn = this.wide), room = (wide - LEFT) / slots.length;
    const apart = Math.ceil(56 / room / (this.byDay ? 1 : 2)) * (this.byDay ? 1 : 2); // from one label to the next
    const x = (i) => LEFT + (i + 0.5) * room;
    const y = (share) => SHARE.top + SHARE.high * (1 - share / highest);
    const points = shares.flatMap((share, i) => (share === null ? [] : [[x(i), y(share)]]));
    const said = this.byDay
      ? t("Last 14 days: at most {count} parts a day. The table below has the figures.", { count: count(most) })
      : t("Today: at most {count} parts an hour. The table below has the figures.", { count: count(most) });
    const picture = svg("svg", { viewBox: `0 0 ${wide} 168`, width: wide, height: 168, role: "img", "aria-label": said });
    picture.append(
      svg("defs", {}, svg("pattern", { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        svg("rect", { width: 5, height: 5, class: "bar-NG" }), svg("rect", { width: 1.6, height: 5, class: "hatch" }))),
      this.words(LEFT, SHARE.top - 5, t("rejected (NG)"), "title"), ...this.axis(SHARE, wide, percent(highest), "0 %"),
      ...(rate && rate <= highest ? [svg("path", { class: "promise", d: `M${LEFT} ${y(rate)}H${wide}` })] : []),
      svg("path", { class: "line", d: points.map(([a, b], i) => `${i ? "L" : "M"}${a} ${b}`).join("") || "M0 0" }),
      ...points.map(([a, b]) => svg("circle", { class: "dot", cx: a, cy: b, r: 2.6 })),
      this.words(LEFT, PARTS.top - 5, this.byDay ? t("parts a day") : t("parts an hour"), "title"), ...this.axis(PARTS, wide, count(top), "0"),
      ...slots.flatMap((slot, i) => this.bar(slot, LEFT + (i + 0.12) * room, 0.76 * room, top)),
      ...slots.map((slot, i) => (i % apart ? null : this.words(x(i), PARTS.top + PARTS.high + 15, this.label(slot), "middle"))).filter(Boolean),
    );
    return picture;
  }

  words(x, y, text, kind) {
    return svg("text", { x, y, class: kind }, text);
  }

  axis({ top, high }, wide, upper, lower) {
    return [
      svg("path", { class: "axis", d: `M${LEFT} ${top}H${wide}M${LEFT} ${top + high}H${wide}` }),
      this.words(LEFT - 6, top + 9, upper, "end"), this.words(LEFT - 6, top + high, lower, "end"),
    ];
  }

  bar(slot, x, width, top) {
    let y = PARTS.top + PARTS.high;
    return KINDS.filter((name) => slot[name]).map((name) => {
      const height = Math.max(1.5, (PARTS.high * slot[name]) / top);
      y -= height;
      return svg("rect", { x, y, width, height, ...(name === "NG" ? { fill: "url(#hatch)" } : { class: `bar-${name}` }) });
    });
  }

  table() {
    const kinds = ["OK", "review", "NG", "error"];
    const head = el("tr", {}, el("th", { scope: "col" }, this.byDay ? t("Day") : t("Hour")), ...kinds.map((name) => el("th", { scope: "col" }, VERDICTS[name].word)));
    const lines = this.slots.filter((slot) => judged(slot) + slot.error);
    const rows = lines.map((slot) => el("tr", {}, el("th", { scope: "row" }, this.label(slot)), ...kinds.map((name) => el("td", {}, count(slot[name])))));
    return [el("thead", {}, head), el("tbody", {}, ...rows)];
  }
}
