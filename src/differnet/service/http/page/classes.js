// The kinds of defects that an operator may name: those that were set, or those that were written so far.

import { $, el } from "./dom.js";
import { t } from "./language.js";
import { defectClasses } from "./quality_api.js";

export class Classes {
  constructor() {
    Object.assign(this, { names: [], isFree: true });
  }

  async load() {
    const found = await defectClasses();
    Object.assign(this, { names: found.names, isFree: found.is_free });
    const list = $("classes-known") ?? document.body.appendChild(el("datalist", { id: "classes-known" }));
    list.replaceChildren(...found.names.map((name) => el("option", { value: name })));
    return found;
  }
}

/** The choice of a kind beside the operator's word on the part at hand. */
export class ClassChoice {
  /** `onChoose(name)` when one is chosen: the part is defective then. */
  constructor(onChoose) {
    Object.assign(this, { onChoose, classes: new Classes(), row: null });
    this.home = el("span", { id: "class-choice" });
    $("take-back").after(this.home);
    this.load();
  }

  async load() {
    try {
      await this.classes.load();
    } catch {
      return; // a key that may not confirm
    }
    const { names, isFree } = this.classes;
    const none = el("option", { value: "" }, t("no class"));
    this.field = isFree
      ? el("input", { id: "defect-class", maxlength: "100", autocomplete: "off", list: "classes-known" })
      : el("select", { id: "defect-class" }, none, ...names.map((name) => el("option", { value: name }, name)));
    this.field.addEventListener("change", () => this.row && this.onChoose(this.field.value.trim() || null));
    this.home.replaceChildren(el("label", {}, `${t("Kind of defect")} `, this.field));
    this.show(this.row);
  }

  show(row) {
    this.row = row;
    if (!this.field) return;
    this.field.disabled = !row;
    if (document.activeElement === this.field) return;
    const value = row?.defect ?? "";
    if (this.field.tagName === "SELECT" && value && !this.classes.names.includes(value)) this.field.append(el("option", { value }, value)); // of before
    this.field.value = value;
  }
}
