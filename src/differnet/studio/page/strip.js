// Scores of good pictures and of known defects beside each other, with the limit between them.

import { svg } from "./dom.js";
import { t } from "./language.js";

const ROW = 46;
const TOP = 26;

const value = (one) => one.percent ?? one.score;

/** Draw one row for the good pictures and one for each type of defect into `home`, on a logarithmic scale. */
export function strip(home, { good, defects }, fit) {
  const types = [...new Set(defects.map((one) => one.defect))].sort();
  const rows = [
    [t("good, fitted to"), good.filter((one) => !one.held_out), "good"],
    [t("good, held out"), good.filter((one) => one.held_out), "good"],
    ...types.map((type) => [type, defects.filter((one) => one.defect === type), "bad"]),
  ].filter(([, points]) => points.length);
  const values = rows.flatMap(([, points]) => points.map(value)).filter((one) => one > 0);
  if (!values.length) return home.replaceChildren();
  const limit = fit.threshold === null ? null : good[0]?.percent == null ? fit.threshold : 100;
  const WIDTH = Math.min(Math.max(home.clientWidth, 320), 1100);
  const LEFT = WIDTH < 600 ? 96 : 150;
  const all = limit === null ? values : [...values, limit];
  const low = Math.log(Math.min(...all)) - 0.05;
  const high = Math.log(Math.max(...all)) + 0.05;
  const x = (one) => LEFT + (WIDTH - LEFT - 20) * (Math.log(Math.max(one, 1e-12)) - low) / (high - low);
  const height = TOP + ROW * rows.length + 26;
  const marks = rows.flatMap(([name, points, kind], at) => {
    const middle = TOP + ROW * at + ROW / 2;
    const dots = points.map((one, index) => svg(kind === "good" ? "circle" : "path", {
      class: `dot-${kind}`,
      ...(kind === "good" ? { cx: x(value(one)), cy: middle + wave(index), r: 4 } : { d: cross(x(value(one)), middle + wave(index)) }),
    }));
    return [svg("text", { x: 0, y: middle + 4 }, name.length > LEFT / 7 ? `${name.slice(0, LEFT / 7 - 1)}…` : name), svg("line", { class: "axis", x1: LEFT, x2: WIDTH, y1: middle + ROW / 2, y2: middle + ROW / 2 }), ...dots];
  });
  const line = limit === null ? [] : [svg("line", { class: "limit", x1: x(limit), x2: x(limit), y1: TOP - 6, y2: height - 22 }), svg("text", { class: "middle title", x: x(limit), y: TOP - 10 }, t("limit"))];
  const said = t("Scores: {good} good pictures and {bad} known defects; {over} of the defects reach the limit.", { good: good.length, bad: defects.length, over: defects.filter((one) => one.verdict === "NG").length });
  const foot = svg("text", { class: "end", x: WIDTH, y: height - 6 }, t("score, logarithmic: the more unusual, the further right"));
  home.replaceChildren(svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": said }, ...marks, ...line, foot));
  return undefined;
}

const wave = (index) => ((index * 7) % 11) * 2.4 - 12;
const cross = (x, y) => `M${x - 4} ${y - 4}l8 8M${x + 4} ${y - 4}l-8 8`;
