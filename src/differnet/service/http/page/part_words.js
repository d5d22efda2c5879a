// Which part it is, in words: serial, lot, station and free fields; and whether it fits a search.

import { el } from "./dom.js";
import { t } from "./language.js";

/** What is known of a part, as pairs of name and value. */
export function ofPart(row) {
  const named = [[t("serial"), row.serial], [t("lot"), row.lot], [t("station"), row.station]];
  return [...named.filter(([, value]) => value), ...Object.entries(row.fields ?? {})];
}

/** The same in a line; empty where nothing is known. */
export const partLine = (row) => ofPart(row).map(([name, value]) => `${name} ${value}`).join(" · ");

/** Whether the service would find a row by this piece of text. */
export function matches(row, text) {
  const wanted = text.trim().toLowerCase();
  const inside = [row.serial, row.lot, row.station, row.file_name, row.defect, row.note, ...Object.entries(row.fields ?? {}).flat()];
  return !wanted || inside.some((one) => one?.toLowerCase().includes(wanted));
}

/** Put the field for a search before another one. */
export function addSearch(next) {
  const field = el("input", { type: "search", id: "by-search", maxlength: "200", placeholder: t("serial, lot, file, note …") });
  next.before(el("label", { class: "by-search" }, `${t("Search")} `, field));
}
