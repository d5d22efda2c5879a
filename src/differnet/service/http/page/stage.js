// The part at hand: its verdict in large letters, its picture under the heat map, and the operator's word on it.

import { picture, serverTime } from "./api.js";
import { $, badge, el, icon } from "./dom.js";
import { t } from "./language.js";
import { limitBar } from "./limit.js";
import { partLine } from "./part_words.js";
import { OPERATOR, ago, count, disagrees, unusual, verdictOf, when } from "./words.js";

const IDLE = 120; // seconds; an older verdict is no longer shown as if the part lay there
const KEPT = 24; // pictures of own uploads in memory
const SETTLE = 700; // milliseconds in which a key may have been meant for the part before

const NONE = { word: t("WAITING"), tone: "none", shape: "wait" };
export const LOST = { word: t("NO CONNECTION"), tone: "lost", shape: "cut" };

export class Stage {
  /** `onOther()` is told when another part takes the place. */
  constructor(onOther) {
    Object.assign(this, { onOther, row: null, past: false, link: "starting", own: new Map(), urls: [], turn: 0, since: 0 });
    $("map-on").addEventListener("change", () => this.drawMap());
    $("map-strength").addEventListener("input", () => this.drawMap());
    $("picture").addEventListener("error", () => this.cannotDraw());
    setInterval(() => this.tick(), 1000);
    this.render();
    this.drawMap();
  }

  /** Keep the picture and heat map of an inspection that was sent from this page. */
  keep(id, pictures) {
    this.own.set(id, pictures);
    if (this.own.size > KEPT) this.own.delete(this.own.keys().next().value);
  }

  /** Show an inspection: the newest one, or one that was looked up (`past`). */
  show(row, past) {
    const other = row?.id !== this.row?.id;
    const drawn = !other && Boolean(row?.heat_map) && !this.row.heat_map; // it comes after the verdict
    Object.assign(this, { row, past });
    if (other) {
      this.since = performance.now();
      this.age = row ? Math.max(0, (serverTime() - Date.parse(row.time)) / 1000) : 0;
      this.onOther();
      this.load(row);
    } else if (drawn && !this.hasMap) this.load(row);
    this.render();
    if (other && row && !past) this.pulse();
  }

  setLink(link) {
    this.link = link;
    this.render();
  }

  /** Whether the part came so lately that a key pressed now may have been meant for the one before. */
  get justChanged() {
    return !this.past && performance.now() - this.since < SETTLE;
  }

  seconds() {
    return this.age + (performance.now() - this.since) / 1000;
  }

  tick() {
    if (!this.row || this.past) return;
    $("age").textContent = ago(this.seconds());
    if ($("verdict").classList.contains("idle") !== this.isIdle()) this.render();
  }

  isIdle() {
    return Boolean(this.row) && !this.past && this.link === "live" && this.seconds() > IDLE;
  }

  render() {
    const { row, past } = this;
    const lost = !past && this.link === "lost";
    const found = lost ? LOST : row ? verdictOf(row) : NONE;
    const style = past ? "past" : this.isIdle() ? "idle" : "live";
    const band = $("verdict");
    band.className = `verdict tone-${found.tone} ${style}${found.word.length > 6 ? " long" : ""}`;
    band.replaceChildren(icon(found.shape), el("strong", { id: "word" }, found.word));
    $("part").replaceChildren(...this.caption(lost, found));
    $("stage").classList.toggle("not-live", lost);
    $("past").hidden = !past;
    if (past) $("past-text").textContent = t("Looking back at part {number}: not the part at the line", { number: count(row.seq) });
    $("operator").replaceChildren(...this.operatorWords());
    for (const id of ["good", "defective", "take-back"]) $(id).disabled = !row || (id === "take-back" && !row.operator);
    $("note").disabled = !row;
    if (document.activeElement !== $("note")) $("note").value = row?.note ?? "";
    if (!past) document.title = row || lost ? `${found.word} · differnet` : t("differnet inspection");
  }

  caption(lost, found) {
    const { row } = this;
    if (!row) return [el("span", {}, lost ? t("Nothing is known of the parts at the line.") : t("No part was inspected yet."))];
    const name = el("b", {}, t("Part {number}", { number: count(row.seq) }));
    const time = el("span", {}, when(row.time));
    const age = this.past ? null : el("span", { id: "age" }, ago(this.seconds()));
    const file = row.file_name ? el("span", { class: "file" }, row.file_name) : null;
    if (lost) return [el("b", {}, t("Not live: do not rely on it. Last known is {verdict} for part {number}.", { verdict: verdictOf(row).word, number: count(row.seq) })), time, age];
    const says = this.isIdle() ? t("No part came for a while; this is the last one.") : found.says;
    const part = el("span", { class: "file" }, partLine(row));
    const page = el("a", { class: "part-page", href: `part?id=${row.id}`, target: "_blank", rel: "opener" }, t("Page to print"));
    const how = el("span", { class: "how" }, el("span", { class: "says" }, says), " ", limitBar(row), " ", unusual(row));
    return [name, time, age, part, file, page, how].filter(Boolean);
  }

  operatorWords() {
    const { row } = this;
    if (!row?.operator) return [row ? t("Not confirmed by an operator yet.") : ""];
    const at = row.operator_time ? t("at {time}", { time: when(row.operator_time) }) : "";
    return [t("Operator:"), " ", badge(OPERATOR[row.operator]), row.defect ? ` ${row.defect}` : "", " ", at, disagrees(row) ? t("– corrects the verdict") : ""];
  }

  /** Say it to a screen reader and flash the frame: two parts with the same verdict must look like two. */
  pulse() {
    $("spoken").textContent = t("Part {number}: {verdict}", { number: this.row.seq, verdict: verdictOf(this.row).word });
    const frame = $("verdict");
    frame.getAnimations().forEach((running) => running.cancel());
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
      frame.animate([{ opacity: 0.35 }, { opacity: 1 }], { duration: 260, easing: "ease-out" });
    }
  }

  async load(row) {
    const turn = ++this.turn;
    this.urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
    for (const id of ["picture", "map"]) {
      $(id).hidden = true;
      $(id).removeAttribute("src");
    }
    $("missing").textContent = row ? t("Loading the picture …") : t("The picture of the next part appears here.");
    $("missing").hidden = false;
    this.hasMap = false;
    this.drawMap();
    if (!row) return;
    const own = this.own.get(row.id);
    const wanted = async (id, what, is) => own?.[id] ?? (is ? picture(row.id, what).catch(() => null) : null);
    const found = await Promise.all([wanted("picture", "image", row.image), wanted("map", "map", row.heat_map)]);
    if (turn !== this.turn) return; // another part came meanwhile
    this.put(row, ...found);
  }

  put(row, image, map) {
    for (const [id, blob] of [["picture", image], ["map", map]]) {
      if (!blob) continue;
      const url = URL.createObjectURL(blob);
      this.urls.push(url);
      $(id).src = url;
      $(id).hidden = false;
    }
    $("picture").alt = image ? t("Picture of part {number}", { number: row.seq }) : "";
    $("missing").hidden = Boolean(image);
    if (!image) $("missing").textContent = row.error ? t("There is no picture to show.") : t("The picture of this part was not kept.");
    this.hasMap = Boolean(map && image);
    this.drawMap();
  }

  cannotDraw() {
    $("picture").hidden = true;
    $("missing").textContent = t("This browser cannot draw this kind of picture.");
    $("missing").hidden = false;
  }

  drawMap() {
    const strength = Number($("map-strength").value);
    $("map").hidden = !this.hasMap || !$("map-on").checked;
    $("map").style.opacity = strength / 100;
    $("map-percent").textContent = `${strength} %`;
    const text = !this.row || this.hasMap ? "" : t("no heat map was made for this part");
    $("map-none").textContent = text;
  }

  toggleMap() {
    $("map-on").checked = !$("map-on").checked;
    this.drawMap();
  }
}
