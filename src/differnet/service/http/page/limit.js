// How near a part is to the limit that decided, as a bar: the line in its middle is the limit.

import { svg } from "./dom.js";
import { ofLimit } from "./words.js";

const WIDE = 120, HIGH = 12; // the limit stands at the middle, twice of it at the end

/** The bar, or nothing where there is no limit; the words for it stand beside. */
export function limitBar(row) {
  const found = ofLimit(row);
  if (!found) return null;
  const length = Math.max(2, WIDE * Math.min(1, found.share / 2));
  return svg("svg", { class: "limit-bar", viewBox: `0 0 ${WIDE} ${HIGH}`, width: WIDE, height: HIGH, "aria-hidden": "true" },
    svg("rect", { class: "track", width: WIDE, height: HIGH, rx: 3 }),
    svg("rect", { class: `bar-${row.verdict ?? "none"}`, y: 2, width: length, height: HIGH - 4, rx: 2 }),
    svg("path", { class: "mark", d: `M${WIDE / 2} 0V${HIGH}` }));
}
