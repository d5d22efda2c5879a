// Asking the studio; key and errors as on the operator's page.

import { ask, body, json as answered, query } from "./api.js";

const HOME = "v1/studio/";
const json = (path, options) => answered(HOME + path, options);

export const state = () => json("state");
export const pictures = (kind) => json(`pictures?kind=${kind}`);
export const scores = () => json("scores");
export const folders = (path) => json(`folders${query({ path })}`);
export const addFolder = (path, kind) => json("folders", body("POST", { path, kind }));
export const removeFolder = (path, kind) => json(`folders${query({ path, kind })}`, { method: "DELETE" });
export const upload = (file, kind, name, defect) =>
  json(`upload${query({ name, kind, defect })}`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
export const confirmed = () => json("confirmed");
export const takeConfirmed = (model) => json("confirmed", body("POST", { model }));
/** Leave pictures out, or take them again: so many at a time as a request may have. */
export async function leaveOut(ids, isLeftOut) {
  for (let at = 0; at < ids.length; at += 2000) await json("left-out", body("PUT", { ids: ids.slice(at, at + 2000), left_out: isLeftOut }));
}
export const fit = (wanted) => json("fit", body("POST", wanted));
export const judge = () => json("judge", { method: "POST" });
export const exportModel = (name, to) => json("export", body("POST", { name, to: to || null }));
export const cancel = () => json("cancel", { method: "POST" });
export const blob = async (path) => (await ask(HOME + path)).blob();
