// One key for each thing that is done often. They can be switched off, for people who speak to their computer.

import { $ } from "./dom.js";

const STORE = "differnet-keys-off";

export class Keys {
  /** `does`: what to call for which key, by the key's name in lower case. */
  constructor(does) {
    this.does = does;
    $("keys-on").checked = localStorage.getItem(STORE) === null;
    $("keys-on").addEventListener("change", () => this.remember());
    this.remember();
    $("open-help").addEventListener("click", () => $("help").showModal());
    $("help-close").addEventListener("click", () => $("help").close());
    addEventListener("keydown", (event) => this.press(event));
  }

  remember() {
    const on = $("keys-on").checked;
    if (on) localStorage.removeItem(STORE);
    else localStorage.setItem(STORE, "yes");
    document.body.classList.toggle("keys-off", !on);
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.repeat && event.key.length === 1) return;
    if (document.querySelector("dialog[open]")) return; // which has its own Esc
    const name = event.key.toLowerCase();
    const typing = event.target.closest?.("input:not([type=checkbox], [type=radio]), select, textarea");
    if (typing && name === "escape") event.target.blur();
    if (typing || !this.does[name] || (name.length === 1 && !$("keys-on").checked)) return;
    event.preventDefault();
    this.does[name]();
  }
}
