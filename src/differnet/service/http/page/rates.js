// How many good parts may be rejected: moved as a rate, tried on the last parts, and only then applied.

import { applyRates, previewRates, rates } from "./api.js";
import { consequences, rateHistory, signature } from "./consequences.js";
import { $, badge, el, say } from "./dom.js";
import { t } from "./language.js";
import { VERDICTS, count, number, percent, plain, plural } from "./words.js";

const OWN = { rate: null, confidence: null, review_rate: null }; // those of the model's folder
const KINDS = ["OK", "review", "NG"];
const FIELDS = ["rate", "confidence", "review-rate"];

/** A share from a field in percent; null where it is empty. */
const share = (id) => ($(id).value.trim() === "" ? null : Number((Number($(id).value) / 100).toPrecision(12)));
const inPercent = (value) => (value === null || value === undefined ? "" : String(Number((100 * value).toPrecision(10))));
const signed = (value) => (value > 0 ? `+${count(value)}` : value < 0 ? `−${count(-value)}` : "0");

export class Rates {
  /** `model()` is the name of the chosen model; `onApplied()`; `onPick(id)` shows a part that would change. */
  constructor(model, onApplied, onPick) {
    Object.assign(this, { model, onApplied, onPick, seen: null, now: null, signature: signature() });
    $("open-rates").addEventListener("click", () => this.open());
    $("rates-close").addEventListener("click", () => $("rates").close());
    $("rates-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.preview(() => this.wanted());
    });
    $("rates-own").addEventListener("click", () => this.preview(() => OWN));
    $("rates-apply").addEventListener("click", () => this.apply());
    for (const id of FIELDS) $(id).addEventListener("input", () => this.forget());
  }

  async open() {
    if (!this.model() || $("rates").open) return;
    try {
      this.now = await rates(this.model());
    } catch (error) {
      say(plain(error, "rates"), { trouble: true, key: "rates" });
      return;
    }
    $("rate").value = inPercent(this.now.rate);
    $("confidence").value = inPercent(this.now.confidence);
    $("review-rate").value = inPercent(this.now.review_rate);
    $("rates-model").textContent = this.model();
    const smallest = this.now.smallest_rate;
    $("rate-hint").textContent = Number.isFinite(smallest)
      ? t("of the good parts may be rejected. The held-out good pictures can promise {percent} or more.", { percent: percent(smallest) })
      : t("of the good parts may be rejected.");
    $("rates-own").hidden = !this.now.applied;
    this.forget();
    this.signature.reason.value = "";
    rateHistory(this.model()).then((nodes) => $("rates-history").replaceChildren(...nodes), () => $("rates-history").replaceChildren());
    $("rates").showModal();
    $("rate").focus();
  }

  wanted() {
    return { rate: share("rate"), confidence: share("confidence"), review_rate: share("review-rate") };
  }

  /** What was previewed no longer is what stands in the fields: it may not be applied. */
  forget() {
    this.seen = null;
    $("rates-apply").disabled = true;
    $("rates-why").textContent = t("Preview first: what was not looked at cannot be applied.");
    $("rates-found").replaceChildren();
    $("rates-error").hidden = true;
  }

  fail(error) {
    this.forget();
    $("rates-error").textContent = plain(error, "rates");
    $("rates-error").hidden = false;
  }

  async preview(read) {
    const wanted = read();
    try {
      const found = await previewRates(this.model(), wanted);
      if (JSON.stringify(wanted) !== JSON.stringify(read())) return; // moved on meanwhile
      this.forget();
      this.seen = wanted;
      this.show(found);
    } catch (error) {
      this.fail(error);
    }
  }

  show(found) {
    const many = found.changes ?? found.changed.length;
    const told = found.last
      ? t("Of the last {parts}, {many} would have been judged otherwise.", { parts: plural(found.last, t("{count} part"), t("{count} parts")), many: many ? count(many) : t("none") })
      : t("No part was inspected yet, so nothing can be compared.");
    const review = found.review_threshold === null || found.review_threshold === undefined ? "" : t("To review from {score}.", { score: number(found.review_threshold) });
    const rejected = t("Rejected from a score of {score} (now {now}).", { score: number(found.threshold), now: number(this.now.threshold) });
    const limit = [rejected, review].filter(Boolean).join(" ");
    $("rates-found").replaceChildren(el("p", { class: "told" }, told), ...consequences(found.confirmed, (id) => this.pick(id)), this.table(found), el("p", { class: "soft" }, limit), ...this.changed(found), this.signature.node);
    $("rates-apply").disabled = false;
    $("rates-why").textContent = t("Applying judges every part from now on by these rates; stored verdicts stay as they are.");
    $("rates-apply").scrollIntoView({ block: "nearest" });
  }

  table({ before, after }) {
    const head = [t("Verdict"), t("as judged"), t("with the new rates"), t("change")].map((word, i) => el("th", { scope: "col", class: i ? "figure" : "" }, word));
    const rows = KINDS.map((name) => el("tr", {}, el("th", { scope: "row" }, badge(VERDICTS[name])),
      ...[count(before[name]), count(after[name]), signed(after[name] - before[name])].map((text) => el("td", { class: "figure" }, text))));
    return el("table", { class: "plain" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
  }

  changed({ changed }) {
    if (!changed.length) return [];
    const items = changed.map((one) => el("li", {},
      el("button", { type: "button", class: "pick", onclick: () => this.pick(one.id) }, t("Part {number}", { number: count(one.seq) })),
      badge(VERDICTS[one.verdict_before ?? "none"]), "→", badge(VERDICTS[one.verdict_after ?? "none"])));
    return [el("h3", {}, t("The newest parts that would change")), el("ul", { class: "changes" }, ...items)];
  }

  pick(id) {
    $("rates").close();
    this.onPick(id);
  }

  async apply() {
    if (!this.seen) return;
    const missing = [this.signature.name, this.signature.reason].find((field) => !field.value.trim());
    if (missing) {
      $("rates-error").textContent = t("Write your name and the reason first: both go into the record.");
      $("rates-error").hidden = false;
      missing.focus();
      return;
    }
    try {
      await applyRates(this.model(), { ...this.seen, ...this.signature.read() }, this.now.tag);
    } catch (error) {
      this.fail(error);
      return;
    }
    $("rates").close();
    const { rate } = this.seen, model = this.model();
    const own = t("Applied to {model}: the model's own rates.", { model });
    say(rate === null ? own : t("Applied to {model}: at most {percent} of the good parts may be rejected.", { model, percent: percent(rate) }));
    this.seen = null;
    this.onApplied();
  }
}
