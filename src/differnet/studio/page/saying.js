// What the studio says: errors, times and numbers in plain words.

import { say } from "./dom.js";
import { t } from "./language.js";

/** What went wrong, as the studio says it. */
export function reason(error) {
  if (!error.status) return t("The studio does not answer. Check that it runs; the page keeps trying.");
  if (error.status === 401) return t("The studio wants an API key.");
  return error.detail || t("The studio failed (error {status}); its log says why.", { status: error.status });
}

/** Do what a person asked for; what goes wrong is said, and false returned. */
export async function attempt(work, key) {
  try {
    await work();
    return true;
  } catch (error) {
    say(reason(error), { trouble: true, key });
    return false;
  }
}

/** Seconds in words. */
export function duration(seconds) {
  if (seconds < 1) return t("a moment");
  if (seconds < 90) return t("{count} s", { count: Math.ceil(seconds) });
  return t("{count} min", { count: Math.ceil(seconds / 60) });
}

export const counted = (count, one, many) => t(count === 1 ? one : many, { count });

/** Texts of the page itself: what is marked by data-t is said in the language that was chosen. */
export function translate(root) {
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.textContent.trim());
  for (const node of root.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.getAttribute("aria-label")));
}
