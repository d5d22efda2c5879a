// What the page says, in the language of whoever looks at it.

/** The text in the language chosen, with {names} put in. */
export function t(text, values = {}) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
