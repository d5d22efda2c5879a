// What pages to print have in common.

import { el } from "./dom.js";
import { t } from "./language.js";
import { plain } from "./words.js";

export function wrong(error) {
  const words = error.status === 401 ? t("The service wants an API key. Give it on the operator's page, and open this page from there.") : plain(error);
  return [el("h1", {}, "differnet"), el("p", { role: "alert" }, words), el("p", {}, el("a", { href: "./" }, t("To the operator's page")))];
}

export const printing = () =>
  el("p", { class: "row no-print" }, el("button", { type: "button", class: "main", onclick: () => print() }, t("Print")), el("a", { href: "./" }, t("To the operator's page")));
