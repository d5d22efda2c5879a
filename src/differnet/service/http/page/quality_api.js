// Asking the service for what a team does with verdicts: the review, figures, kinds of defects, files to take away.

import { ask, body, json, key, query } from "./api.js";
import { el } from "./dom.js";

const of = (model) => `v1/models/${encodeURIComponent(model)}`;

export const review = (model, since, after, limit) => json(`${of(model)}/review${query({ since, after_seq: after, limit })}`);
export const escapes = (model, span) => json(`${of(model)}/escapes${query(span)}`);
export const defects = (model, span) => json(`${of(model)}/defects${query(span)}`);
export const shifts = (model, span) => json(`${of(model)}/shifts${query(span)}`);
export const scores = (model, span) => json(`${of(model)}/scores${query(span)}`);
export const rateChanges = (model) => json(`${of(model)}/rates/history`);
export const defectClasses = () => json("v1/defect-classes");
export const changesOf = (id) => json(`v1/inspections/${id}/changes`);
export const thumbnail = async (id) => (await ask(`v1/inspections/${id}/thumbnail`)).blob();

/** What an operator says; what `word` does not name stays as it was. */
export const say = (id, word) => json(`v1/inspections/${id}/operator`, body("PUT", word));

/** Have the browser save a file; with a key it is fetched first, since a link cannot send one. */
export async function save(path, name) {
  const link = el("a", { href: path, download: name });
  if (key.get()) link.href = URL.createObjectURL(await (await ask(path)).blob());
  document.body.append(link);
  link.click();
  link.remove();
  if (key.get()) setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A small picture that is fetched with the key; nothing is shown where it was not kept. */
export function small(id, alt) {
  const image = el("img", { class: "small", alt, width: 96, height: 96 });
  thumbnail(id).then((blob) => {
    const url = URL.createObjectURL(blob);
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
  }, () => image.classList.add("gone"));
  return image;
}
