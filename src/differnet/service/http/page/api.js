// Asking the service, with the API key that this browser tab keeps until it is closed.

const STORE = "differnet-key";

export class ApiError extends Error {
  constructor(status, detail = "", retryAfter = null) {
    super(detail || `status ${status}`);
    Object.assign(this, { status, detail, retryAfter });
  }
}

export const key = {
  get: () => sessionStorage.getItem(STORE),
  set: (value) => sessionStorage.setItem(STORE, value),
  forget: () => sessionStorage.removeItem(STORE),
};

let ahead = 0; // milliseconds that the clock of the service is ahead of this one
/** The time as the service knows it, to a second. */
export const serverTime = () => Date.now() + ahead;

let asker = async () => false;
let asking = null;
/** Say who asks for the key: an async function, given the key that was refused, that returns whether one was given. */
export const onKeyWanted = (ask) => { asker = ask; };
export const isWaitingForKey = () => asking !== null;

function wantsKey(refused) {
  if (refused !== key.get()) return true; // another one was given meanwhile
  asking ??= asker(refused).finally(() => { asking = null; });
  return asking;
}

function detailOf(text) {
  try {
    const { detail } = JSON.parse(text);
    if (typeof detail === "string") return detail;
    if (Array.isArray(detail)) return detail.map((one) => `${(one.loc ?? []).slice(1).join(" ")}: ${one.msg}`).join("; ");
  } catch { /* no JSON: nothing to add to the status */ }
  return "";
}

/** fetch() that throws an ApiError for anything but success; status 0 is a service that does not answer. */
export async function ask(path, options = {}) {
  for (;;) {
    const mine = key.get();
    const headers = { ...options.headers, ...(mine ? { Authorization: `Bearer ${mine}` } : {}) };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0);
    }
    const date = Date.parse(answer.headers.get("Date"));
    if (Number.isFinite(date)) ahead = date - Date.now();
    if (answer.ok) return answer;
    if (answer.status === 401 && (await wantsKey(mine))) continue;
    const wait = Number(answer.headers.get("Retry-After"));
    throw new ApiError(answer.status, detailOf(await answer.text()), wait > 0 ? wait : null);
  }
}

const name = (model) => encodeURIComponent(model);
export const json = async (path, options) => (await ask(path, options)).json();
export const body = (method, value) => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

/** The values that are there, as the end of an address. */
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

export const models = () => json("v1/models");
export const inspections = (filters) => json(`v1/inspections${query(filters)}`);
export const inspection = (id) => json(`v1/inspections/${name(id)}`);
export const picture = async (id, what) => (await ask(`v1/inspections/${name(id)}/${what}`)).blob();
/** The picture of a typical good part, and its number where it is one of the record. */
export async function goodPart(model) {
  const answer = await ask(`v1/models/${name(model)}/good-part`);
  return { blob: await answer.blob(), part: Number(answer.headers.get("Part")) || null };
}
export const counts = (model, since, bucket) => json(`v1/models/${name(model)}/counts${query({ since, bucket })}`);
export async function rates(model) {
  const answer = await ask(`v1/models/${name(model)}/rates`);
  return { ...await answer.json(), tag: answer.headers.get("ETag") };
}
export const previewRates = (model, wanted) => json(`v1/models/${name(model)}/rates/preview`, body("POST", wanted));
/** `tag`: of the rates that were looked at; refused with 412 where somebody else moved them since. */
export function applyRates(model, wanted, tag) {
  const options = body("PUT", wanted);
  if (tag) options.headers["If-Match"] = tag;
  return json(`v1/models/${name(model)}/rates`, options);
}
export const confirm = (id, verdict, note, defect) => json(`v1/inspections/${name(id)}/operator`, body("PUT", { verdict, note, defect }));

export function inspect(model, file, map) {
  const form = new FormData();
  form.append("image", file, file.name);
  return json(`v1/models/${name(model)}/inspect${query({ map })}`, { method: "POST", body: form });
}
