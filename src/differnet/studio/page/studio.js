// The studio's page: one state that is asked for again and again, and a section for each step.

import { key, onKeyWanted } from "./api.js";
import { pictures, state as ask } from "./asking.js";
import { $, el, say } from "./dom.js";
import { Gallery } from "./gallery.js";
import { Run } from "./job.js";
import { t } from "./language.js";
import { Results } from "./results.js";
import { attempt, counted, reason, translate } from "./saying.js";
import { Shipping } from "./shipping.js";
import { Drop, FolderWindow, listSources, offerConfirmed } from "./sources.js";

const QUICK = 600; // milliseconds between two looks while something is going on
const SLOW = 2500;

translate(document);
let now = null;
let timer = null;
let turn = 0;

const gallery = new Gallery(look);
const run = new Run(look);
const results = new Results(gallery, run, look);
const shipping = new Shipping(look);
const folder = new FolderWindow(look);
const good = new Drop("good", { zone: "drop-good", line: "sending-good", inputs: ["files-good", "folder-good"] }, () => "", () => look());
const bad = new Drop("defects", { zone: "drop-bad", line: "sending-bad", inputs: ["files-bad", "folder-bad"] }, () => $("defect-type").value.trim(), () => look());

for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault()); // beside a zone: not opened
for (const [id, kind] of [["open-good", "good"], ["open-bad", "defects"]]) {
  $(id).addEventListener("click", () => attempt(async () => folder.open(kind, (now ?? (await ask())).places), "folder"));
}

/** Look what the studio says now, and again after a while. */
async function look() {
  clearTimeout(timer);
  const mine = ++turn;
  try {
    const found = await ask();
    if (mine !== turn) return;
    now = found;
    $("lost").hidden = true;
    await show(found);
  } catch (error) {
    if (mine !== turn) return;
    if (error.status) say(reason(error), { trouble: true, key: "state" });
    else $("lost").hidden = false;
  }
  if (mine !== turn) return;
  const isQuick = now && (now.job?.outcome === "running" || now.waiting || !now.is_found || now.live.status === "starting" || good.busy || bad.busy);
  timer = setTimeout(look, isQuick ? QUICK : SLOW);
}

let sources = "";

async function show(state) {
  const said = JSON.stringify([state.sources, state.notes, state.counts]);
  if (said !== sources) {
    sources = said;
    listSources(state.sources, "good", $("sources-good"), look);
    listSources(state.sources, "defects", $("sources-bad"), look);
    $("notes").replaceChildren(...state.notes.map((text) => el("li", {}, text)));
    $("n-good").textContent = counted(state.counts.good, "{count} picture", "{count} pictures");
    $("n-bad").textContent = counted(state.counts.defects, "{count} picture", "{count} pictures");
    await tellUnread(state);
  }
  run.render(state);
  shipping.render(state);
  await gallery.render(state);
  await results.render(state);
  steps(state);
}

async function tellUnread(state) {
  const rows = state.counts.defects_unread ? await pictures("defects") : [];
  $("unread-bad").replaceChildren(...rows.filter((one) => one.error).map((one) => el("li", {}, one.error)));
}

/** Mark what is done and what comes next. */
function steps({ counts, waiting, is_found: isFound, fit, judged, live }) {
  const done = [counts.used > 0, counts.used > 0 && isFound && !waiting, Boolean(fit), Boolean(fit) && !fit.is_old, Boolean(judged), live.status === "on"];
  document.querySelectorAll("#steps a").forEach((link, index) => link.classList.toggle("done", done[index]));
}

/** Ask for the API key in a window; one that was refused is asked for again. */
function askKey(refused) {
  const box = $("key-dialog");
  $("key-refused").hidden = refused === null;
  box.showModal();
  return new Promise((done) => {
    box.addEventListener("close", () => {
      const given = box.returnValue === "use" && $("key").value.trim();
      if (given) key.set(given);
      $("key").value = "";
      done(Boolean(given));
    }, { once: true });
  });
}

onKeyWanted(askKey);
attempt(async () => {
  await look();
  await offerConfirmed(look);
}, "state");
document.title = t("differnet studio");
