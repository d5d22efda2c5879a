// Charts drawn by hand: how often which defect came, and scores over time beside the limit.

import { el, svg } from "./dom.js";
import { locale, t } from "./language.js";
import { count, number, percent, shiftName } from "./words.js";

const WIDE = 460;
const LEFT = 52;
const TOP = 18;

const words = (x, y, text, kind) => svg("text", { x, y, class: kind }, text);
const dated = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const short = (text) => (text.length > 18 ? `${text.slice(0, 17)}…` : text);

export function table(head, rows) {
  const line = (tag, cells) => el("tr", {}, ...cells.map((text, i) => el(i && tag === "td" ? "td" : "th", { scope: tag === "th" ? "col" : i ? null : "row" }, text)));
  return el("table", { class: "plain" }, el("thead", {}, line("th", head)), el("tbody", {}, ...rows.map((cells) => line("td", cells))));
}

export function asTable(head, rows, label) {
  return el("details", {}, el("summary", {}, t("As a table")), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table(head, rows)));
}

/** Kinds of defects by how often they came: bars, and above them the share that they have together. */
export function pareto(found) {
  const name = (one) => one.defect ?? t("no class");
  const shown = found.slice(0, 10);
  const high = 26;
  const most = Math.max(...shown.map((one) => one.count), 1);
  const from = 150;
  const room = WIDE - from - 90;
  const bars = shown.flatMap((one, i) => {
    const y = TOP + i * high;
    const width = Math.max(2, (room * one.count) / most);
    return [
      words(from - 8, y + 15, short(name(one)), "end label"),
      svg("rect", { x: from, y: y + 3, width, height: high - 8, class: "bar-NG" }),
      words(from + width + 6, y + 15, `${count(one.count)} · ${percent(one.cumulative)}`, "label"),
    ];
  });
  const said = t("Kinds of defects, the most frequent first; the table below has the figures.");
  const picture = svg("svg", { viewBox: `0 0 ${WIDE} ${TOP + shown.length * high + 4}`, role: "img", "aria-label": said });
  picture.append(words(from, 12, t("parts · share with all above"), "title"), ...bars);
  const rows = found.map((one) => [name(one), count(one.count), percent(one.cumulative), count(one.missed)]);
  const head = [t("Kind"), t("Parts"), t("Share with all above"), t("Judged OK")];
  return [el("div", { class: "chart" }, picture), asTable(head, rows, t("Kinds of defects as a table"))];
}

/** Scores over time: of each short span from the lowest to the highest, the mean, and the limit as a line. */
export function scoreChart(spans, { since, until }) {
  const [start, end] = [since, until].map((text) => new Date(text).getTime());
  const high = 150;
  const limits = spans.map((one) => one.threshold).filter((value) => Number.isFinite(value));
  const all = [...spans.flatMap((one) => [one.low, one.high]), ...limits];
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const isLog = least > 0 && most > 50 * least; // else a few high scores would press all others onto the axis
  const scale = isLog ? Math.log : (value) => value;
  const [low, top] = [scale(least), scale(most)];
  const edge = 0.06 * (top - low || Math.abs(top) || 1);
  const back = isLog ? Math.exp : (value) => value;
  const x = (time) => LEFT + ((WIDE - LEFT - 6) * (time - start)) / (end - start || 1);
  const y = (score) => TOP + high * (1 - (scale(score) - low + edge) / (top - low + 2 * edge));
  const at = spans.map((one) => x(new Date(one.start).getTime()));
  const path = (points) => points.map(([a, b], i) => `${i ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join("");
  const steps = spans.flatMap((one, i) => (Number.isFinite(one.threshold) ? [[at[i], y(one.threshold)], [at[i + 1] ?? WIDE - 6, y(one.threshold)]] : []));
  const picture = svg("svg", { viewBox: `0 0 ${WIDE} ${TOP + high + 24}`, role: "img", "aria-label": t("Scores over time beside the limit; the table below has the figures.") });
  picture.append(
    svg("path", { class: "axis", d: `M${LEFT} ${TOP}H${WIDE - 6}M${LEFT} ${TOP + high}H${WIDE - 6}` }),
    words(LEFT, 12, isLog ? t("score, each step a multiple") : t("score"), "title"),
    words(LEFT - 6, TOP + 9, number(back(top + edge)), "end"), words(LEFT - 6, TOP + high, number(back(low - edge)), "end"),
    ...spans.map((one, i) => svg("path", { class: one.rejected ? "range rejected" : "range", d: `M${at[i].toFixed(1)} ${y(one.low).toFixed(1)}V${(y(one.high) - 0.6).toFixed(1)}` })),
    svg("path", { class: "mean", d: path(spans.map((one, i) => [at[i], y(one.mean)])) || "M0 0" }),
    svg("path", { class: "limit", d: path(steps) || "M0 0" }),
    ...(steps.length ? [words(WIDE - 8, Math.max(TOP + 9, steps.at(-1)[1] - 4), t("limit"), "end limit-word")] : []),
    words(LEFT, TOP + high + 17, dated.format(start), ""), words(WIDE - 6, TOP + high + 17, dated.format(end), "end"),
  );
  const rows = spans.map((one) => [dated.format(new Date(one.start)), count(one.count), number(one.low), number(one.mean), number(one.high), number(one.threshold), count(one.rejected)]);
  const head = [t("From"), t("Parts"), t("Lowest"), t("Mean"), t("Highest"), t("Limit"), t("NG")];
  return [el("div", { class: "chart" }, picture), asTable(head, rows, t("Scores as a table"))];
}

/** How many of a shift had which verdict, and what operators said. */
export function shiftTable(shifts) {
  const judged = (one) => one.OK + one.review + one.NG;
  const rows = shifts.toReversed().map((one) => [
    `${shiftName(one.name)}, ${dated.format(new Date(one.start))}`, count(judged(one)), count(one.OK), count(one.review), count(one.NG),
    judged(one) ? percent(one.NG / judged(one)) : "–", count(one.error), count(one.good), count(one.defective),
  ]);
  return table([t("Shift"), t("Parts"), t("OK"), t("REVIEW"), t("NG"), t("Rejected"), t("ERROR"), t("Said good"), t("Said defective")], rows);
}
