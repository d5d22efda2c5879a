// A typical good part beside the one at hand: from the model's folder, or from the record.

import { goodPart } from "./api.js";
import { $ } from "./dom.js";
import { t } from "./language.js";
import { count, plain } from "./words.js";

const STORE = "differnet-beside";

export class Beside {
  /** `model()` is the chosen model as the service describes it; `onShape()` is told when the picture has another place. */
  constructor(model, onShape) {
    Object.assign(this, { model, onShape, of: null, url: null, turn: 0 });
    $("beside-on").checked = localStorage.getItem(STORE) !== null;
    $("beside-on").addEventListener("change", () => this.switch());
    $("good-picture").addEventListener("error", () => this.say(t("This browser cannot draw this kind of picture.")));
  }

  toggle() {
    $("beside-on").checked = !$("beside-on").checked;
    this.switch();
  }

  switch() {
    if ($("beside-on").checked) localStorage.setItem(STORE, "yes");
    else localStorage.removeItem(STORE);
    this.of = null; // what the record has may be another by now
    this.show();
  }

  /** Show it where that is wanted, of the model that is chosen now. */
  async show() {
    const is = $("beside-on").checked;
    $("good-pane").hidden = !is;
    $("stack").classList.toggle("two", is);
    this.onShape();
    const model = this.model(), of = model && `${model.name} ${model.digest}`;
    if (!is || !model || of === this.of) return;
    const turn = ++this.turn;
    this.of = of;
    this.put(null);
    this.say(t("Loading the picture …"));
    try {
      const { blob, part } = await goodPart(model.name);
      if (turn !== this.turn) return;
      this.put(blob);
      this.say(part ? t("Good part {number}, of the record", { number: count(part) }) : t("Good part, from the model"));
    } catch (error) {
      if (turn !== this.turn) return;
      this.of = null;
      this.say(error.status === 404 ? t("There is no picture of a good part. Export the model with --check and good pictures, or keep all pictures.") : plain(error));
    }
  }

  put(blob) {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = blob && URL.createObjectURL(blob);
    $("good-picture").hidden = !blob;
    if (blob) $("good-picture").src = this.url;
    else $("good-picture").removeAttribute("src");
  }

  say(text) {
    $("good-says").textContent = text;
  }
}
