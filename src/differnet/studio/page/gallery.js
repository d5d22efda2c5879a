// The good pictures before a fit: what was found in them, and a click that leaves one out.

import { leaveOut, pictures } from "./asking.js";
import { $, el } from "./dom.js";
import { lazy } from "./drawn.js";
import { t } from "./language.js";
import { attempt, counted } from "./saying.js";

const PAGE = innerWidth < 760 ? 24 : 60;
const ODD = { size: "another size", colour: "another kind of colour", depth: "another depth of colour", brightness: "another brightness", sharpness: "another sharpness" };

const FILTERS = {
  all: () => true,
  odd: (one) => one.odd.length > 0,
  copies: (one) => one.copy_of !== null,
  together: (one) => one.sisters !== null,
  unread: (one) => one.error !== null,
  left: (one) => one.left_out,
};

export class Gallery {
  constructor(changed) {
    Object.assign(this, { changed, rows: [], shown: PAGE, filter: "all", known: "" });
    for (const input of document.querySelectorAll("[name=show]")) {
      input.addEventListener("change", () => this.show(input.value));
    }
    $("more").addEventListener("click", () => {
      this.shown += PAGE;
      this.draw();
    });
    $("leave-copies").addEventListener("click", () => this.leave(this.rows.filter((one) => FILTERS.copies(one) && !one.left_out), true));
    $("leave-odd").addEventListener("click", () => this.leave(this.rows.filter((one) => FILTERS.odd(one) && !one.left_out), true));
    $("take-all").addEventListener("click", () => this.leave(this.rows.filter(FILTERS.left), false));
  }

  show(filter) {
    Object.assign(this, { filter, shown: PAGE });
    this.draw();
  }

  async render(state) {
    this.tell(state);
    const known = `${state.revision} ${state.is_found}`;
    if (known === this.known) return;
    this.known = known;
    this.take(await pictures("good"));
    this.draw();
  }

  /** Take the rows, what stands out first; one that was left out keeps the marks that it had, and so its place. */
  take(rows) {
    const before = new Map(this.rows.map((one) => [one.id, one]));
    for (const one of rows.filter((row) => row.left_out && before.has(row.id))) {
      const { odd, copy_of: copy, sisters } = before.get(one.id);
      Object.assign(one, { odd, copy_of: copy, sisters });
    }
    const rank = (one) => (one.error ? 0 : one.odd.length ? 1 : one.copy_of ? 2 : 3);
    this.rows = rows.map((one, index) => [rank(one), index, one]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , one]) => one);
  }

  tell(state) {
    const { counts, waiting } = state;
    $("look-wait").hidden = !waiting && state.is_found;
    $("look-wait").textContent = waiting ? counted(waiting, "Looking: {count} picture to go …", "Looking: {count} pictures to go …") : t("Comparing them …");
    const usual = state.sizes.slice(0, 3).map(([width, height, count]) => t("{width} × {height} ({count})", { width, height, count }));
    const sizes = usual.length ? t("Sizes: {sizes}{more}", { sizes: usual.join(", "), more: state.sizes.length > 3 ? t(" and {count} others", { count: state.sizes.length - 3 }) : "" }) : "";
    $("look-sizes").textContent = sizes;
    $("look-sisters").textContent = state.sisters;
    for (const [id, value] of [["n-used", counts.used], ["n-left", counts.left_out], ["n-unread", counts.unread], ["n-copies", state.copies], ["n-odd", state.odd]]) $(id).textContent = value;
    $("leave-copies").hidden = !state.copies;
    $("leave-odd").hidden = !state.odd;
    $("take-all").hidden = !counts.left_out;
    $("look").hidden = !counts.good;
  }

  leave(rows, isLeftOut) {
    if (!rows.length) return undefined;
    return attempt(async () => {
      await leaveOut(rows.map((one) => one.id), isLeftOut);
      this.changed();
    }, "leave");
  }

  draw() {
    const focused = document.activeElement?.closest?.("#shots li")?.dataset.id;
    const fitting = this.rows.filter(FILTERS[this.filter]);
    $("shots").replaceChildren(...fitting.slice(0, this.shown).map((one) => this.card(one)));
    if (focused) $("shots").querySelector(`li[data-id="${focused}"] button`)?.focus({ preventScroll: true });
    $("more").hidden = fitting.length <= this.shown;
    $("no-shots").hidden = fitting.length > 0;
  }

  card(one) {
    const group = one.sisters && t("group {number}", { number: one.sisters });
    const marks = [
      one.copy_of && t("copy"),
      ...one.odd.map((name) => t(ODD[name])),
      one.note && t("note"),
    ].filter(Boolean);
    const words = [
      el("span", { class: "file" }, one.name),
      ...(one.left_out ? [el("strong", { class: "mark out" }, t("left out"))] : []),
      ...marks.map((text) => el("span", { class: "mark" }, text)),
      ...(group ? [el("span", { class: "mark calm" }, group)] : []),
    ];
    const title = [one.name, one.width && `${one.width} × ${one.height}`, one.note, one.error].filter(Boolean).join("\n");
    if (one.error) {
      return el("li", { class: "shot unread", "data-id": one.id, title }, el("span", { class: "file" }, one.name), el("span", { class: "why" }, one.error.replace(`${one.folder}/`, "")));
    }
    const image = one.width ? [lazy(el("img", { alt: "" }), `pictures/${one.id}/preview`)] : [];
    const label = t("Leave out {name}", { name: one.name });
    const press = el("button", { type: "button", "aria-pressed": String(one.left_out), "aria-label": [label, ...marks, group].filter(Boolean).join(", "), onclick: () => this.leave([one], !one.left_out) }, el("span", { class: "frame" }, ...image), ...words);
    return el("li", { class: one.left_out ? "shot left" : "shot", "data-id": one.id, title }, press);
  }
}
