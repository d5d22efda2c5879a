// The models and their versions: which judges, which is on trial beside it, and what puts another in its place.

import { ask } from "./api.js";
import { $, badge, el, say } from "./dom.js";
import { t } from "./language.js";
import { Trial, short } from "./trial.js";
import { count, percent, plain, when } from "./words.js";

const AGAIN = 3000; // milliseconds after which a trial is looked at anew
const ROLES = {
  active: { tone: "ok", shape: "check", word: () => t("judges") },
  shadow: { tone: "review", shape: "question", word: () => t("on trial") },
  before: { tone: "none", shape: "wait", word: () => t("judged before") },
};

const path = (model, rest = "", query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value);
  return `v1/models/${encodeURIComponent(model)}${rest}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
};
const json = (value) => ({ headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

/** What was wrong, in the words of the service where it has some. */
const wrong = (error) => (error.detail && [404, 409, 413, 422, 429, 503].includes(error.status) ? t("Not done: {detail}.", { detail: error.detail }) : plain(error));

export class Models {
  /** `onChanged()` after something else judges; `onPick(inspection)` when a part is to be looked at. */
  constructor(onChanged, onPick) {
    Object.assign(this, { onChanged, found: [], text: "", asked: null });
    this.trial = new Trial((row) => {
      $("models").close();
      onPick(row);
    });
    $("open-models").addEventListener("click", () => this.open());
    $("models").addEventListener("close", () => this.trial.forget());
    $("models").append(...this.frame());
  }

  frame() {
    const fields = [
      el("div", { class: "field" }, el("label", { for: "put-model" }, t("Model")), el("input", { id: "put-model", list: "put-names", required: true, maxlength: "100", pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*", autocomplete: "off" }), el("datalist", { id: "put-names" })),
      el("div", { class: "field" }, el("label", { for: "put-folder" }, t("Folder")), el("select", { id: "put-folder" })),
      el("div", { class: "field" }, el("label", { for: "put-file" }, t("or a ZIP of one")), el("input", { type: "file", id: "put-file", accept: ".zip,application/zip" })),
      el("label", { class: "check" }, el("input", { type: "checkbox", id: "put-trial", checked: true }), t("Try it beside the one that judges")),
      el("label", { class: "check" }, el("input", { type: "checkbox", id: "put-own" }), t("By the rates of its folder, not those applied here")),
    ];
    const form = el("form", { id: "put-form" }, ...fields, el("p", { class: "row" }, el("button", { type: "submit", class: "main" }, t("Load it"))));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.put();
    });
    return [
      el("h2", { id: "models-title" }, t("Models and their versions")),
      el("p", { id: "models-error", class: "banner tone-ng", role: "alert", hidden: true }),
      el("p", { id: "models-said", class: "soft", role: "status" }),
      el("div", { id: "models-list" }),
      el("div", { class: "field" }, el("label", { for: "models-reason" }, t("Reason")), el("input", { id: "models-reason", maxlength: "500", autocomplete: "off", "aria-describedby": "models-why" }), el("p", { id: "models-why", class: "soft" }, t("is kept with every change, with who made it and when."))),
      el("details", { id: "put" }, el("summary", {}, t("Load another version")), form, el("p", { id: "put-none", class: "soft", hidden: true }, t("The service was started without a folder of models (--models), so none can be loaded."))),
      el("p", { class: "row ends" }, el("button", { type: "button", onclick: () => $("models").close() }, t("Close"), " ", el("kbd", {}, "Esc"))),
    ];
  }

  async open() {
    if ($("models").open) return;
    this.text = "";
    this.tell("");
    if (!(await this.refresh())) return;
    $("models").showModal();
    this.watch();
  }

  /** Look again and again as long as it is open. */
  async watch() {
    while ($("models").open) {
      await new Promise((done) => setTimeout(done, AGAIN));
      if ($("models").open) await this.refresh();
    }
  }

  /** Another version judges, as the service says. */
  heard() {
    if ($("models").open) this.refresh();
    this.onChanged();
  }

  async refresh() {
    try {
      const [found, places] = await Promise.all(["v1/versions", "v1/model-folders"].map(async (one) => (await ask(one)).json()));
      const text = JSON.stringify([found, places]);
      if (text === this.text) return true;
      const tried = found.find((one) => one.trial);
      if (tried) await this.trial.fetch(tried.model);
      else this.trial.forget();
      Object.assign(this, { found, text });
      this.render(places);
      return true;
    } catch (error) {
      if ($("models").open) this.fail(error);
      else say(wrong(error), { trouble: true, key: "models" });
      return false;
    }
  }

  render({ allowed, folders }) {
    const focused = document.activeElement?.dataset?.key;
    $("models-list").replaceChildren(...this.found.map((one) => this.section(one)));
    if (focused) $("models-list").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    $("put-names").replaceChildren(...this.found.map((one) => el("option", { value: one.model })));
    if (!$("put-model").value && this.found.length) $("put-model").value = this.found[0].model;
    const chosen = $("put-folder").value;
    $("put-folder").replaceChildren(el("option", { value: "" }, t("none")), ...folders.map((one) => el("option", { value: one }, one)));
    $("put-folder").value = folders.includes(chosen) ? chosen : "";
    $("put-form").hidden = !allowed;
    $("put-none").hidden = allowed;
  }

  section(one) {
    const button = (key, text, does, kind = "") => el("button", { type: "button", class: kind, "data-key": `${one.model} ${key}`, onclick: does }, text);
    const back = one.before && button("back", t("Roll back to {version}", { version: short(one.before) }), () => this.change("POST", path(one.model, "/rollback", this.reason()), {}, t("{model} was rolled back.", one)));
    const retire = one.active && this.retire(one, button);
    const told = one.active ? t("Version {version} judges.", { version: short(one.active) }) : t("Retired: no version judges.");
    const id = `model-${one.model}`;
    return el("section", { class: "model", "aria-labelledby": id }, el("h3", { id }, one.model), el("p", { class: "told" }, told),
      this.versions(one), el("p", { class: "row" }, back, retire), ...(one.trial ? [this.tried(one, button)] : []));
  }

  /** A button that wants to be pressed twice. */
  retire(one, button) {
    const sure = this.asked === one.model;
    return button("retire", sure ? t("Really retire {model}? Parts for it are refused then", one) : t("Retire"), () => {
      if (!sure) {
        this.asked = one.model;
        this.again();
        return;
      }
      this.asked = null;
      this.change("DELETE", path(one.model, "", this.reason()), {}, t("{model} is retired.", one));
    }, sure ? "grave" : "");
  }

  versions(one) {
    const words = [t("Version"), t("State"), t("Came"), t("By"), t("From"), t("Good pictures"), t("Rate"), t("Made with")];
    const rows = one.versions.map((version) => {
      const made = version.made_from, role = ROLES[version.judges];
      const pictures = Number.isFinite(made.images) ? t("{fitted} + {held} held out", { fitted: count(made.images), held: count(made.calibration_images) }) : "–";
      const use = version.judges === "active" ? null : el("button", { type: "button", class: "pick", "data-key": `${one.model} use ${version.digest}`, onclick: () => this.use(one.model, version.digest) }, t("judge by it"));
      const cells = [role ? badge({ ...role, word: role.word() }) : use, when(version.time), version.who ?? version.client ?? "–", version.folder, pictures, percent(made.rate), `differnet ${made.made_with?.differnet ?? "–"}`];
      return el("tr", {}, el("th", { scope: "row", title: version.digest }, short(version.digest)), ...cells.map((cell) => el("td", {}, cell)));
    });
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("Versions of {model}", one) },
      el("table", { class: "versions" }, el("thead", {}, el("tr", {}, ...words.map((word) => el("th", { scope: "col" }, word)))), el("tbody", {}, ...rows)));
  }

  tried(one, button) {
    const { digest } = one.trial;
    const take = button("take", t("Have it judge"), () => this.use(one.model, digest), "main");
    const end = button("end", t("End the trial"), () => this.change("DELETE", path(one.model, "/shadow", this.reason()), {}, t("The trial has ended.")));
    const cards = this.trial.cards();
    const more = this.trial.next && button("more", t("Show more"), async () => {
      await this.trial.fetch(one.model, true).catch((error) => this.fail(error));
      this.again();
    });
    return el("div", { class: "trial" }, el("h4", {}, t("Version {version} is on trial since {time}", { version: short(digest), time: when(one.trial.since) })),
      ...this.trial.summary(one.trial), el("p", { class: "row" }, take, end),
      ...(cards.length ? [el("h4", {}, t("The newest parts on which they differ")), el("ul", { class: "differences" }, ...cards)] : []), more ? el("p", { class: "row" }, more) : null);
  }

  again() {
    const focused = document.activeElement?.dataset?.key;
    $("models-list").replaceChildren(...this.found.map((one) => this.section(one)));
    if (focused) $("models-list").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  reason() {
    return { reason: $("models-reason").value.trim() };
  }

  use(model, version) {
    const done = t("Version {version} of {model} judges now.", { version: short(version), model });
    return this.change("PUT", path(model, "", this.reason()), json({ version }), done);
  }

  put() {
    const [file] = $("put-file").files, folder = $("put-folder").value, model = $("put-model").value.trim();
    if (!file && !folder) return this.fail({ status: 422, detail: t("choose a folder or a ZIP") });
    const query = { as: $("put-trial").checked ? "shadow" : "active", rates: $("put-own").checked ? "folder" : "", ...this.reason() };
    const body = file ? { headers: { "Content-Type": "application/zip" }, body: file } : json({ folder });
    const done = $("put-trial").checked ? t("It is on trial beside {model}.", { model }) : t("It judges for {model} now.", { model });
    this.tell(t("Loading …"));
    return this.change("PUT", path(model, "", query), body, done).then(() => { $("put-file").value = ""; });
  }

  async change(method, where, options, done) {
    try {
      await ask(where, { method, ...options });
    } catch (error) {
      this.fail(error);
      return;
    }
    this.tell(done);
    $("models-reason").value = "";
    await this.refresh();
    this.onChanged();
  }

  tell(text) {
    $("models-said").textContent = text;
    $("models-error").hidden = true;
  }

  fail(error) {
    this.tell("");
    $("models-error").textContent = wrong(error);
    $("models-error").hidden = false;
    $("models-error").scrollIntoView({ block: "nearest" });
  }
}
