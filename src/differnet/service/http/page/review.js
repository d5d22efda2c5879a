// The review: one part after the other that waits for a person's word, by keys, until none is left.

import { picture } from "./api.js";
import { Classes } from "./classes.js";
import { $, badge, el, icon } from "./dom.js";
import { escapeBox } from "./escapes.js";
import { t } from "./language.js";
import { partLine } from "./part_words.js";
import { escapes, review, say } from "./quality_api.js";
import { count, plain, unusual, verdictOf, when } from "./words.js";

const AHEAD = 4; // parts that are asked for at once
const DAY = 86_400_000;
const AGAIN = 3000; // milliseconds after news before the count is asked for again

export class Review {
  /** `model()` is the name of the chosen model; `onSaid(row)` when a part was confirmed here. */
  constructor(model, onSaid) {
    Object.assign(this, { model, onSaid, rows: [], said: [], skipped: 0, last: -1, turn: 0, shown: null, busy: false, ready: false, pictures: new Map(), urls: [] });
    this.classes = new Classes();
    this.opener = el("button", { type: "button", id: "open-review", onclick: () => this.open() }, `${t("Review")} `, el("b", { id: "review-count" }, ""), " ", el("kbd", {}, "R"));
    $("open-rates").before(this.opener, " ");
    $("help").querySelector("dl").append(el("dt", {}, el("kbd", {}, "R")), el("dd", {}, t("review what waits for a person's word")));
    document.body.append(this.build());
    addEventListener("keydown", (event) => $("review").open && this.press(event)); // also where what had the focus is gone
    $("review").addEventListener("close", () => this.close());
    for (const id of ["review-since", "review-map-on"]) $(id).addEventListener("change", () => (id === "review-since" ? this.begin().then(() => $("review-title").focus()) : this.drawMap()));
  }

  build() {
    const button = (id, words, letter, does, kind = "") => el("button", { type: "button", id, class: kind, onclick: does }, `${words} `, el("kbd", {}, letter));
    return el("dialog", { id: "review", "aria-labelledby": "review-title" },
      el("div", { class: "review-head" },
        el("h2", { id: "review-title", tabindex: "-1" }, t("Review")),
        el("p", { id: "review-left", role: "status" }),
        el("label", {}, `${t("Parts of")} `, el("select", { id: "review-since" }, el("option", { value: "" }, t("any time")), el("option", { value: "1" }, t("the last 24 hours")), el("option", { value: "7" }, t("the last 7 days")))),
        el("button", { type: "button", id: "review-close", onclick: () => $("review").close() }, `${t("Close")} `, el("kbd", {}, "Esc"))),
      el("p", { id: "review-error", class: "banner tone-ng", role: "alert", hidden: true }),
      el("div", { id: "review-part" },
        el("p", { id: "review-words", class: "review-words" }),
        el("div", { class: "stack", id: "review-stack" }, el("img", { id: "review-picture", alt: "", hidden: true }), el("img", { id: "review-map", alt: "", hidden: true }), el("p", { id: "review-missing" })),
        el("label", { class: "check" }, el("input", { type: "checkbox", id: "review-map-on", checked: true }), ` ${t("Heat map")} `, el("kbd", {}, "M")),
        el("div", { class: "row review-say" },
          button("review-good", t("Good"), "G", () => this.say("good"), "say-good"),
          button("review-defective", t("Defective"), "D", () => this.say("defective"), "say-defective"),
          button("review-skip", t("Skip"), "S", () => this.skip()),
          button("review-undo", t("Take back"), "U", () => this.undo())),
        el("div", { id: "review-classes", class: "row" })),
      el("div", { id: "review-end", hidden: true }));
  }

  get since() {
    const days = Number($("review-since").value);
    return days ? new Date(Date.now() - days * DAY).toISOString() : null;
  }

  async open() {
    if (!this.model() || $("review").open) return;
    this.said = [];
    $("review").showModal();
    $("review-title").focus(); // not in a field, where letters are no keys
    this.classes.load().then((names) => this.showClasses(names), () => {});
    await this.begin();
  }

  close() {
    this.turn += 1;
    this.rows = [];
    this.urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
    this.pictures.clear();
    this.count();
  }

  /** Start at the oldest part that waits. */
  async begin() {
    Object.assign(this, { rows: [], skipped: 0, last: -1 });
    this.pictures.clear();
    await this.more();
    this.show();
  }

  /** Ask for the next parts, and for how many wait. */
  async more() {
    const turn = ++this.turn;
    try {
      const found = await review(this.model(), this.since, this.rows.at(-1)?.seq ?? this.last, AHEAD);
      if (turn !== this.turn) return;
      const known = new Set(this.rows.map((row) => row.id));
      this.rows.push(...found.inspections.filter((row) => !known.has(row.id)));
      this.tell(found.waiting);
      this.fail(null);
      for (const row of this.rows.slice(0, 2)) this.fetch(row);
    } catch (error) {
      if (turn === this.turn) this.fail(error);
    }
  }

  /** Both pictures of a part, asked for once; null for one that was not kept. */
  fetch(row) {
    const one = (what, is) => (is ? picture(row.id, what).catch(() => null) : null);
    if (!this.pictures.has(row.id)) this.pictures.set(row.id, Promise.all([one("image", row.image), one("map", row.heat_map)]));
    return this.pictures.get(row.id);
  }

  tell(waiting) {
    const all = waiting.NG + waiting.review + waiting.drawn;
    $("review-count").textContent = count(all);
    const numbers = { all: count(all), ng: count(waiting.NG), review: count(waiting.review), drawn: count(waiting.drawn), skipped: count(this.skipped) };
    $("review-left").textContent = t("{all} left: {ng} NG, {review} to review, {drawn} drawn from OK parts", numbers)
      + (this.skipped ? ` · ${t("{skipped} skipped", numbers)}` : "");
  }

  async show() {
    const [row] = this.rows;
    Object.assign(this, { ready: false, shown: row?.id ?? null });
    $("review-undo").disabled = !this.said.length;
    for (const id of ["review-good", "review-defective", "review-skip"]) $(id).disabled = !row;
    $("review-part").hidden = !row && !this.said.length;
    $("review-stack").hidden = !row;
    $("review-end").hidden = Boolean(row);
    if (!row) return this.end();
    const verdict = row.is_drawn ? el("span", { class: "badge" }, icon("check"), t("OK, drawn by chance")) : badge(verdictOf(row));
    $("review-words").replaceChildren(el("b", {}, t("Part {number}", { number: count(row.seq) })), " ", verdict, " ", el("span", {}, when(row.time)), " ",
      el("span", {}, partLine(row)), " ", el("span", { class: "soft" }, row.file_name ?? ""), " ", el("span", { class: "soft" }, row.is_drawn ? "" : unusual(row)));
    for (const id of ["review-picture", "review-map"]) $(id).hidden = true;
    $("review-missing").textContent = t("Loading the picture …");
    $("review-missing").hidden = false;
    const [image, map] = await this.fetch(row);
    if (this.rows[0] !== row || !$("review").open) return undefined;
    this.urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
    this.put("review-picture", image, t("Picture of part {number}", { number: count(row.seq) }));
    this.put("review-map", map, "");
    $("review-missing").hidden = Boolean(image);
    $("review-missing").textContent = image ? "" : t("The picture was not kept: look at the part itself, or skip it.");
    this.drawMap();
    await $("review-picture").decode?.().catch(() => {});
    if (this.rows[0] === row) this.ready = true; // a key before that would be said of a part that nobody saw
    return undefined;
  }

  put(id, blob, alt) {
    $(id).removeAttribute("src");
    $(id).alt = alt;
    $(id).hidden = !blob;
    if (!blob) return;
    const url = URL.createObjectURL(blob);
    this.urls.push(url);
    $(id).src = url;
  }

  drawMap() {
    $("review-map").hidden = !$("review-map").hasAttribute("src") || !$("review-map-on").checked;
  }

  async end() {
    const parts = [el("p", { class: "told" }, this.skipped ? t("You have looked at all that waits, and skipped {skipped}.", { skipped: count(this.skipped) }) : t("Nothing waits: every part that was held or drawn has its word."))];
    if (this.skipped) parts.push(el("button", { type: "button", class: "main", id: "review-again", onclick: () => this.begin() }, t("Look at the skipped ones")));
    $("review-end").replaceChildren(...parts);
    try {
      $("review-end").append(escapeBox(await escapes(this.model(), { since: this.since })));
    } catch { /* the list is done all the same */ }
  }

  showClasses({ names, is_free: isFree }) {
    const buttons = names.slice(0, 9).map((name, i) => el("button", { type: "button", class: "say-class", onclick: () => this.say("defective", name) }, `${name} `, el("kbd", {}, String(i + 1))));
    const other = el("input", { id: "review-class", maxlength: "100", autocomplete: "off", list: "classes-known" });
    other.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.say("defective", other.value);
      other.value = "";
      other.blur();
    });
    $("review-classes").replaceChildren(...(names.length ? [el("span", { class: "soft" }, t("Defective, of the kind"))] : []), ...buttons,
      ...(isFree ? [el("label", {}, `${t("Another kind, then Enter")} `, other)] : []));
  }

  async say(verdict, defect = null) {
    const [row] = this.rows;
    if (!row || this.busy || !this.ready) return;
    this.busy = true;
    try {
      const word = verdict === "defective" ? { verdict, defect: defect || null } : { verdict };
      const answer = await say(row.id, word);
      this.said.push(answer);
      this.onSaid(answer);
      this.busy = false;
      this.next(row);
    } catch (error) {
      this.fail(error);
    }
    this.busy = false;
  }

  skip() {
    const [row] = this.rows;
    if (!row || this.busy) return;
    this.skipped += 1;
    this.next(row);
  }

  async next(row) {
    this.last = Math.max(this.last, row.seq);
    this.rows = this.rows.filter((one) => one !== row);
    this.pictures.delete(row.id);
    if (this.rows.length) this.show();
    await this.more();
    if ((this.rows[0]?.id ?? null) !== this.shown || !this.rows.length) this.show();
  }

  async undo() {
    if (this.busy || !this.said.length) return;
    this.busy = true;
    try {
      const answer = await say(this.said.at(-1).id, { verdict: null });
      this.said.pop();
      this.onSaid(answer);
      this.rows.unshift(answer);
      await this.more();
      this.show();
    } catch (error) {
      this.fail(error);
    }
    this.busy = false;
  }

  fail(error) {
    $("review-error").hidden = !error;
    $("review-error").textContent = error ? plain(error, "word") : "";
  }

  /** Another part was recorded, or somebody else said something of one. */
  hear(row) {
    if (row.model !== this.model()) return;
    const other = row.operator && this.rows.some((one) => one.id === row.id) && !this.busy;
    if (other) {
      const isShown = this.rows[0].id === row.id;
      this.rows = this.rows.filter((one) => one.id !== row.id);
      if (isShown) this.more().then(() => this.show());
    }
    const counts = row.operator || row.verdict === "NG" || row.verdict === "review" || row.is_drawn;
    if (counts) this.later ??= setTimeout(() => { this.later = null; this.count(); }, AGAIN);
  }

  /** Ask how many wait, for the button. */
  async count() {
    if (!this.model()) return;
    try {
      const { waiting } = await review(this.model(), $("review").open ? this.since : null, -1, 1);
      this.tell(waiting);
      if ($("review").open && !this.rows.length && !this.busy) await this.more().then(() => this.rows.length && this.show());
    } catch { /* the light says that the line is cut, or the key has no right to it */ }
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !$("keys-on").checked) return;
    if (event.target.closest?.("input:not([type=checkbox]), select")) return;
    const name = event.key.toLowerCase();
    const does = { g: () => this.say("good"), d: () => this.say("defective"), s: () => this.skip(), u: () => this.undo(), m: () => $("review-map-on").click() }[name];
    const kind = /^[1-9]$/.test(name) ? this.classes.names[Number(name) - 1] : null;
    if (!does && !kind) return;
    event.preventDefault();
    if (kind) this.say("defective", kind);
    else does();
  }
}
