// Pictures sent from this page, one after the other: dropped, chosen, or taken by the camera.

import { inspect } from "./api.js";
import { $, say } from "./dom.js";
import { t } from "./language.js";
import { plain, plural } from "./words.js";

const TRIES = 30;
const DRAWN = /^image\/(png|jpeg|webp|bmp|gif|avif)$/; // what a browser can show

const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

const decoded = (base64) => new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: "image/png" });

export class Sender {
  /** `current()` is the model as the service describes it; `onInspected(row, {picture, map})`. */
  constructor(current, onInspected) {
    Object.assign(this, { current, onInspected, queue: [], busy: false });
    $("files").addEventListener("change", () => {
      this.send([...$("files").files]);
      $("files").value = "";
    });
    this.listenForDrops();
  }

  listenForDrops() {
    const zone = $("drop");
    addEventListener("dragover", (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
    addEventListener("dragleave", (event) => event.relatedTarget ?? zone.classList.remove("over"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      this.send([...event.dataTransfer.files]);
    });
  }

  /** Queue files for the model that is chosen now; done when all that wait were sent. */
  async send(files) {
    const model = this.current();
    if (!model) return say(t("There is no model to inspect with yet."), { trouble: true, key: "send" });
    this.queue.push(...files.map((file) => ({ file, model })));
    if (this.busy) return undefined;
    this.busy = true;
    try {
      while (this.queue.length) await this.one(this.queue.shift());
    } finally {
      this.busy = false;
      this.tell("");
    }
    return undefined;
  }

  async one({ file, model }) {
    for (let tries = 1; ; tries += 1) {
      const waiting = this.queue.length ? plural(this.queue.length, t("{count} picture waits."), t("{count} pictures wait.")) : "";
      this.tell([t("Inspecting {file} …", { file: file.name }), waiting].filter(Boolean).join(" "));
      try {
        const { heat_map_png: map, heat_map_error: undrawn, ...row } = await inspect(model.name, file, model.has_maps);
        if (undrawn) say(t("{file} was inspected, but {reason}", { file: file.name, reason: undrawn }), { trouble: true, key: "map" });
        return this.onInspected(row, { picture: DRAWN.test(file.type) ? file : null, map: map ? decoded(map) : null });
      } catch (error) {
        if (error.status === 429 && tries < TRIES) {
          const wait = error.retryAfter ?? 2;
          this.tell(t("{reason} {file} is tried again in {seconds} s.", { reason: plain(error), file: file.name, seconds: wait }));
          await pause(wait);
          continue;
        }
        say(t("{file} was not inspected. {reason}", { file: file.name, reason: plain(error) }), { trouble: true, key: "send" });
        return undefined;
      }
    }
  }

  tell(text) {
    $("sending").textContent = text;
    $("sending").hidden = !text;
  }
}
