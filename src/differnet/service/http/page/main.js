// The page at the line: what is chosen, what is live, what is looked up, and who is told of it.

import * as api from "./api.js";
import { Beside } from "./beside.js";
import { Camera } from "./camera.js";
import { ClassChoice } from "./classes.js";
import { Counts } from "./counts.js";
import { $, el, icon, say } from "./dom.js";
import { Keys } from "./keys.js";
import { LANGUAGES, language, speak, t } from "./language.js";
import { List } from "./list.js";
import { Models } from "./models.js";
import { Quality } from "./quality.js";
import { Rates } from "./rates.js";
import { Review } from "./review.js";
import { Sender } from "./send.js";
import { Stage } from "./stage.js";
import { Stream } from "./stream.js";
import { count, percent, plain, verdictOf, when } from "./words.js";
import { Zoom } from "./zoom.js";

const state = { models: [], name: null, promised: null, live: null, past: null };
const model = () => state.models.find((one) => one.name === state.name);

const zoom = new Zoom();
const stage = new Stage(() => zoom.reset());
const beside = new Beside(model, () => zoom.reset());
const list = new List(look);
const counts = new Counts();
const stream = new Stream(heard, linked, (error) => say(plain(error), { trouble: true, key: "stream" }));
const sender = new Sender(model, inspected);
const camera = new Camera((files) => sender.send(files));
const versions = new Models(modelsChanged, look);
const rates = new Rates(() => state.name, refresh, async (id) => look(await api.inspection(id)));
const review = new Review(() => state.name, (row) => take(row, false));
const quality = new Quality(() => state.name, () => list.filters());
const kind = new ClassChoice((defect) => confirm("defective", defect));

function show() {
  kind.show(state.past ?? state.live);
  stage.show(state.past ?? state.live, Boolean(state.past));
  list.mark(state.past);
}

/** Look at one that was inspected before; the newest of the line's model is live. */
function look(row) {
  state.past = row;
  show();
}

function live() {
  state.past = null;
  show();
}

/** Take in an inspection, from whatever side it came, new or changed. */
function take(row, isNew) {
  if (row.model === state.name && row.seq >= (state.live?.seq ?? -1)) state.live = row;
  if (row.id === state.past?.id) state.past = row;
  list.take(row, isNew);
  if (isNew) counts.take(row);
  show();
}

const known = new Set(); // ids that were counted: an inspection may come by two ways

function first(row) {
  if (known.has(row.id)) return false;
  known.add(row.id);
  if (known.size > 5000) known.delete(known.values().next().value);
  return true;
}

function inspected(row, pictures) {
  stage.keep(row.id, pictures);
  state.past = null;
  take(row, first(row));
}

function heard(type, data) {
  if (type !== "drift" && data.id) review.hear(data);
  if (type === "rates") ratesMoved(data);
  else if (type === "inspection" && data.id !== state.live?.id) take(data, first(data));
  else if (["inspection", "operator", "map"].includes(type)) take(data, false);
  else if (type === "model") versions.heard();
  else if (type === "drift" && (data.model ?? state.name) === state.name) drift(data);
}

/** Somebody moved the rates, on this page or another one. */
async function ratesMoved({ model: name, who, reason }) {
  const moved = who ? t("The rates of {name} were moved by {who}", { name, who }) : t("The rates of {name} were moved", { name });
  say(reason ? `${moved}: ${reason}` : moved, { key: "rates-moved" });
  await refresh().catch((error) => say(plain(error), { trouble: true, key: "rates-moved" }));
}

function drift(found) {
  const light = $("drift");
  const [tone, shape, word] = !found ? ["none", "dash", t("Drift not watched")] : found.alarm ? ["ng", "warning", t("DRIFT")] : ["ok", "check", t("No drift")];
  light.className = `light tone-${tone}`;
  light.replaceChildren(icon(shape), el("span", {}, word));
  $("drift-text").textContent = found?.alarm ? t("Drift: {text}", { text: found.text }) : "";
  $("drift-text").hidden = !found?.alarm;
}

function linked(link) {
  const lost = link === "lost";
  $("link").className = `light tone-${lost ? "lost" : "ok"}`;
  $("link").replaceChildren(icon(lost ? "cut" : "check"), el("span", {}, lost ? t("No connection") : t("Live")));
  $("lost").hidden = !lost;
  document.body.classList.toggle("lost", lost);
  if (lost) $("lost-since").textContent = t("since {time}", { time: when(new Date().toISOString()) });
  stage.setLink(link);
  if (!lost && state.name) catchUp();
}

/** Ask for what was missed: after the start, another model, or a gap in the line. */
async function catchUp() {
  const name = state.name;
  try {
    const [found] = await Promise.all([api.inspections({ model: name, limit: 1 }), list.reload(), counts.open(name, state.promised)]);
    const [newest] = found.inspections;
    if (name !== state.name) return;
    if (newest) first(newest);
    if (newest && newest.seq >= (state.live?.seq ?? -1)) state.live = newest;
    show();
  } catch (error) {
    say(plain(error), { trouble: true, key: "catch-up" });
  }
}

async function refresh() {
  state.models = await api.models();
  $("model").replaceChildren(...state.models.map((one) => el("option", { value: one.name }, one.name)));
  const others = state.models.map((one) => el("option", { value: one.name }, one.name));
  const chosen = $("by-model").value;
  $("by-model").replaceChildren(el("option", { value: "" }, t("all models")), ...others);
  $("by-model").value = chosen;
  if (state.name) $("model").value = state.name;
  const current = model();
  if (!current) return;
  drift(current.drift);
  beside.show();
  const { promised, threshold } = await api.rates(current.name);
  state.promised = threshold === null ? null : promised; // what holds, which may be more than what was asked for
  $("promise").textContent = Number.isFinite(state.promised) ? t("At most {percent} of good parts rejected", { percent: percent(state.promised) }) : t("No threshold");
  $("promise").title = t("This holds for good parts like those that the model was calibrated on, photographed as those were.");
  counts.rate = state.promised;
  if (counts.slots.length) counts.render();
}

/** Other versions judge, or none: what is chosen may be gone. */
async function modelsChanged() {
  await refresh().catch((error) => say(plain(error), { trouble: true, key: "catch-up" }));
  if (model()) return;
  if (state.models.length) await choose(state.models[0].name);
  else Object.assign(counts, { model: null });
}

async function choose(name) {
  Object.assign(state, { name, live: null, past: null });
  history.replaceState(null, "", `?model=${encodeURIComponent(name)}`);
  $("by-model").value = name;
  show();
  await refresh();
  review.count();
  quality.load();
  stream.open(name);
  await catchUp();
}

/** `defect`: its kind, where one was chosen; else that of before stays. */
async function confirm(verdict, defect) {
  const row = state.past ?? state.live;
  if (!row || (verdict === null && !row.operator)) return;
  if (stage.justChanged) {
    say(t("The part changed just now. Look again, and press once more."), { trouble: true, key: "confirm" });
    return;
  }
  const note = $("note").value.trim() || null;
  try {
    const answer = await api.confirm(row.id, verdict, note, defect);
    take({ ...row, operator: verdict, operator_time: verdict && new Date().toISOString(), note, ...answer }, false);
    const number = count(row.seq);
    const said = verdict === "good" ? t("Part {number} is good, says the operator.", { number }) : t("Part {number} is defective, says the operator.", { number });
    const back = t("Taken back: part {number} is {verdict} again.", { number, verdict: verdictOf(row).word });
    say(verdict ? said : back, { key: "confirmed" });
  } catch (error) {
    say(t("Part {number} was not confirmed. {reason}", { number: count(row.seq), reason: plain(error, "word") }), { trouble: true, key: "confirm" });
  }
}

function askForKey(refused) {
  const dialog = $("key-dialog");
  $("key-refused").hidden = !refused;
  $("key").value = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" && $("key").value.trim();
      if (given) api.key.set($("key").value.trim());
      $("forget-key").hidden = !given;
      dialog.returnValue = "";
      done(Boolean(given));
    }, { once: true });
  });
}

function wire() {
  api.onKeyWanted(askForKey);
  $("key-form").addEventListener("submit", () => { $("key-dialog").returnValue = "use"; });
  $("forget-key").hidden = !api.key.get();
  $("forget-key").addEventListener("click", () => {
    api.key.forget();
    location.reload();
  });
  $("model").addEventListener("change", () => choose($("model").value));
  $("language").replaceChildren(...Object.entries(LANGUAGES).map(([value, name]) => el("option", { value, lang: value, selected: value === language }, name)));
  $("language").addEventListener("change", () => speak($("language").value));
  $("back").addEventListener("click", live);
  const buttons = { good: () => confirm("good"), defective: () => confirm("defective"), "take-back": () => confirm(null) };
  for (const [id, does] of Object.entries(buttons)) $(id).addEventListener("click", does);
  $("note").addEventListener("change", () => (state.past ?? state.live)?.operator && confirm((state.past ?? state.live).operator));
  new Keys({
    g: buttons.good, d: buttons.defective, u: buttons["take-back"], m: () => stage.toggleMap(), n: () => $("note").focus(),
    arrowdown: () => list.step(true), arrowup: () => list.step(false), pagedown: () => list.older(), pageup: () => list.newer(),
    escape: live, c: () => camera.toggle(), s: () => camera.take(), t: () => rates.open(), r: () => review.open(), b: () => beside.toggle(), ...zoom.keys(), "?": () => $("help").showModal(),
  });
}

async function start() {
  wire();
  drift(null);
  for (let wait = 1; ; wait = Math.min(2 * wait, 5)) {
    try {
      await refresh();
      break;
    } catch (error) {
      linked("lost");
      if (error.status) say(plain(error), { trouble: true, key: "start" });
      await new Promise((done) => setTimeout(done, 1000 * wait));
    }
  }
  const wanted = new URLSearchParams(location.search).get("model");
  const found = state.models.find((one) => one.name === wanted) ?? state.models[0];
  if (found) await choose(found.name);
  else say(t("The service has no model. Start it with the folder of one."), { trouble: true, key: "start" });
}

start();
