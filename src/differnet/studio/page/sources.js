// Where pictures come from: files that are dropped or chosen, folders of the machine, the record.

import { addFolder, confirmed, folders, removeFolder, takeConfirmed, upload } from "./asking.js";
import { $, el, icon, say } from "./dom.js";
import { t } from "./language.js";
import { attempt, counted, reason } from "./saying.js";

const AT_ONCE = 3; // files that are sent side by side
const TRIES = 20;
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

/** All files of a drop, those of folders too, each with its path from there on. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, path: file.name }));
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    found.push({ file, path: entry.fullPath.replace(/^\//, "") });
  } else {
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return;
      for (const one of some) await walk(one, found);
    }
  }
}

const isPicture = ({ file, path }) => !path.split("/").at(-1).startsWith(".") && (file.type.startsWith("image/") || /\.(tiff?|bmp|webp|gif|png|jpe?g)$/i.test(path));

/** Takes files for good pictures or known defects: `kind`, and `typed()` gives the type of those without a folder. */
export class Drop {
  constructor(kind, names, typed, changed) {
    Object.assign(this, { kind, typed, changed, queue: [], sent: 0, all: 0, running: 0, failed: [] });
    this.zone = $(names.zone);
    this.line = $(names.line);
    for (const id of names.inputs) {
      $(id).addEventListener("change", () => {
        this.take([...$(id).files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
        $(id).value = "";
      });
    }
    this.zone.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.zone.classList.add("over");
    });
    this.zone.addEventListener("dragleave", () => this.zone.classList.remove("over"));
    this.zone.addEventListener("drop", async (event) => {
      event.preventDefault();
      this.zone.classList.remove("over");
      this.take(await dropped(event.dataTransfer));
    });
  }

  get busy() {
    return this.running > 0;
  }

  take(files) {
    const fitting = files.filter(isPicture);
    if (fitting.length < files.length) say(counted(files.length - fitting.length, "{count} file is no picture and was not sent.", "{count} files are no pictures and were not sent."), { key: "no-picture" });
    if (!this.busy) Object.assign(this, { sent: 0, all: 0, failed: [] });
    this.queue.push(...fitting);
    this.all += fitting.length;
    while (this.running < AT_ONCE && this.queue.length) this.run();
  }

  async run() {
    this.running += 1;
    while (this.queue.length) {
      this.tell();
      await this.one(this.queue.shift());
      this.sent += 1;
      this.changed();
    }
    this.running -= 1;
    this.tell();
    if (!this.busy && this.failed.length) {
      say(t("{count} of {all} pictures were not taken. {why}", { count: this.failed.length, all: this.all, why: this.failed[0] }), { trouble: true, key: `sent-${this.kind}` });
    }
  }

  async one({ file, path }) {
    const parts = path.split("/");
    const defect = this.kind === "defects" ? (parts.length > 1 ? parts.at(-2) : this.typed()) : null;
    for (let tries = 1; ; tries += 1) {
      try {
        return await upload(file, this.kind, parts.at(-1), defect);
      } catch (error) {
        if (error.status === 429 && tries < TRIES) await pause(error.retryAfter ?? 2);
        else return this.failed.push(`${file.name}: ${reason(error)}`);
      }
    }
  }

  tell() {
    this.line.hidden = !this.busy;
    this.line.textContent = this.busy ? t("Sending: {sent} of {all} pictures", { sent: this.sent, all: this.all }) : "";
  }
}

/** A window in which a folder of the machine is chosen. */
export class FolderWindow {
  constructor(changed) {
    Object.assign(this, { changed, kind: "good", path: "." });
    $("folder-up").addEventListener("click", () => this.go(this.parent));
    $("folder-close").addEventListener("click", () => $("folder").close());
    $("folder-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.go($("folder-path").value);
    });
    $("folder-take").addEventListener("click", () => this.take());
  }

  async open(kind, places) {
    Object.assign(this, { kind, places });
    $("folder-error").hidden = true;
    $("folder").showModal();
    await this.go(this.path);
  }

  async go(path) {
    try {
      const found = await folders(path);
      Object.assign(this, { path: found.path, parent: found.parent });
      $("folder-path").value = found.path;
      $("folder-error").hidden = true;
      this.render(found);
    } catch (error) {
      $("folder-error").textContent = reason(error);
      $("folder-error").hidden = false;
    }
  }

  render(found) {
    const line = (name, path) => el("li", {}, el("button", { type: "button", class: "folder-line", onclick: () => this.go(path) }, name));
    const others = this.places.filter((place) => found.parent === null && place !== found.path);
    $("folder-list").replaceChildren(...found.folders.map((name) => line(name, `${found.path}/${name}`)), ...others.map((place) => line(place, place)));
    $("folder-up").disabled = found.parent === null;
    const here = counted(found.pictures, "{count} picture lies in this folder itself", "{count} pictures lie in this folder itself");
    $("folder-here").textContent = found.is_cut ? t("{here}; there is more in it than is listed", { here }) : here;
  }

  async take() {
    try {
      const { new: count } = await addFolder(this.path, this.kind);
      say(counted(count, "{count} picture is new.", "{count} pictures are new."), { key: "folder" });
      $("folder").close();
      this.changed();
    } catch (error) {
      $("folder-error").textContent = reason(error);
      $("folder-error").hidden = false;
    }
  }
}

/** The confirmed good pictures of a record, where there are any. */
export async function offerConfirmed(changed) {
  const found = Object.entries(await confirmed().catch(() => ({})));
  $("confirmed").hidden = !found.length;
  $("confirmed").replaceChildren(
    el("span", {}, t("Confirmed good in live judging:")),
    ...found.map(([model, count]) => el("button", {
      type: "button",
      onclick: () => attempt(async () => {
        const { new: added } = await takeConfirmed(model);
        say(counted(added, "{count} picture is new.", "{count} pictures are new."), { key: "folder" });
        changed();
      }, "confirmed"),
    }, t("{model} ({count})", { model, count }))),
  );
}

/** The folders that were chosen, each with a button that takes it away. */
export function listSources(sources, kind, home, changed) {
  const drop = (source) => attempt(async () => {
    await removeFolder(source.path, kind);
    changed();
  }, "sources");
  home.replaceChildren(...sources.filter((one) => one.kind === kind).map((source) => {
    const name = source.own ? t("sent or copied ({path})", { path: source.path.split("/").slice(-2).join("/") }) : source.path;
    const label = t("Take {name} away from the choice", { name });
    return el("li", {}, el("span", { class: "path" }, name), el("button", { type: "button", class: "small", "aria-label": label, title: label, onclick: () => drop(source) }, icon("cross")));
  }));
}
