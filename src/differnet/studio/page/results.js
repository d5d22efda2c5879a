// What came of a fit: what was found out, what can be promised, and which good pictures are the most unusual.

import { leaveOut, scores } from "./asking.js";
import { $, badge, el } from "./dom.js";
import { forget, lazy } from "./drawn.js";
import { t } from "./language.js";
import { attempt } from "./saying.js";
import { strip } from "./strip.js";
import { VERDICTS, number } from "./words.js";

const SHOWN = 12; // the most unusual pictures, of which heat maps were drawn

export class Results {
  constructor(gallery, run, changed) {
    Object.assign(this, { gallery, run, changed, key: "", found: { good: [], defects: [] } });
    $("fit-again").addEventListener("click", () => run.start());
    addEventListener("resize", () => this.fitted && strip($("strip"), this.found, this.fitted));
    $("maps-on").addEventListener("change", () => $("unusual").classList.toggle("plain", !$("maps-on").checked));
  }

  async render(state) {
    const { fit, judged } = state;
    $("results").hidden = !fit;
    $("defects").hidden = !fit;
    $("shipping").hidden = !fit;
    if (!fit) return;
    $("old").hidden = !fit.is_old;
    const key = `${fit.number} ${judged?.number} ${state.revision} ${state.is_found} ${state.job?.outcome}`;
    if (key === this.key) return;
    if (this.fit !== fit.number || this.judged !== judged?.number) forget("/map");
    Object.assign(this, { key, fit: fit.number, judged: judged?.number });
    this.found = await scores();
    this.fitted = fit;
    this.words(fit);
    this.draw(state.job?.outcome === "running");
    this.drawDefects(judged);
    strip($("strip"), this.found, fit);
  }

  words(fit) {
    const fitted = t("Fitted to {count} good pictures; {held} others set the threshold.", { count: fit.train_count, held: fit.calibration_count });
    const limit = fit.promise ? t("Threshold {value}: {promise}.", { value: number(fit.threshold), promise: fit.promise }) : t("No picture was held out, so there is no threshold.");
    const wanted = fit.promise && !fit.is_kept ? t("That is more than the {rate} % that were wanted; {missing} more good pictures would have to be held out.", { rate: 100 * fit.rate, missing: fit.missing }) : null;
    $("limit-said").textContent = limit;
    $("limit-more").textContent = [wanted, fit.single_sets, fit.condition].filter(Boolean).join(" ");
    const effective = fit.warnings.some((one) => one.includes(fit.effective)) ? null : fit.effective;
    const lines = [fitted, fit.choice && t("Found out from them: {choice}.", { choice: fit.choice }), fit.sisters && t("Belonging together: {sisters}.", { sisters: fit.sisters }), effective, ...fit.warnings].filter(Boolean).map(sentence);
    $("found-out").replaceChildren(...lines.map((text) => el("li", {}, text)));
  }

  row(id) {
    return this.gallery.rows.find((one) => one.id === id);
  }

  draw(isBusy) {
    const cards = this.found.good.slice(0, SHOWN).map((one) => this.card(one, isBusy)).filter(Boolean);
    $("unusual").replaceChildren(...cards);
  }

  card(one, isBusy) {
    const row = this.row(one.id);
    if (!row) return null;
    const side = one.held_out ? t("held out") : t("fitted to");
    const again = () => attempt(async () => {
      await leaveOut([one.id], true);
      await this.run.start();
    }, "leave");
    const toggle = () => this.gallery.leave([row], !row.left_out);
    const buttons = [
      el("button", { type: "button", class: "grave", disabled: isBusy || row.left_out, onclick: again, "aria-label": t("Not good: leave out {name} and fit again", { name: row.name }) }, t("Not good: fit without it")),
      el("button", { type: "button", "aria-pressed": String(row.left_out), onclick: toggle, "aria-label": t("Leave out {name}", { name: row.name }) }, row.left_out ? t("Take it again") : t("Leave out")),
    ];
    return el("li", { class: row.left_out ? "case left" : "case", "data-id": one.id }, seen(one.id, row.name), el("p", { class: "file" }, row.name), facts(one, side), el("p", { class: "row" }, ...buttons));
  }

  drawDefects(judged) {
    $("judged").hidden = !judged;
    $("recalls").replaceChildren(...(judged?.recalls ?? []).map((one) => el("li", {}, one.text)));
    const lowest = this.found.defects.slice(0, SHOWN);
    $("lowest").replaceChildren(...lowest.map((one) => el("li", { class: "case" }, seen(one.id, one.defect), el("p", { class: "file" }, one.defect), facts(one, ""))));
  }
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;

function seen(id, name) {
  const picture = lazy(el("img", { alt: t("Picture {name}", { name }), class: "picture" }), `pictures/${id}/preview`);
  return el("div", { class: "laid" }, picture, lazy(el("img", { alt: "", class: "map" }), `pictures/${id}/map`));
}

function facts(one, side) {
  const score = one.percent === null ? t("score {score}", { score: number(one.score) }) : t("{percent} % of the limit", { percent: Math.round(one.percent) });
  return el("p", { class: "facts" }, badge(VERDICTS[one.verdict ?? "none"]), el("span", {}, [score, side].filter(Boolean).join(" · ")));
}
