// What the page says, in the language of whoever looks at it.
// English stands in the code; every other language is one file of languages/, by the English text.

const STORE = "differnet-language";
export const LANGUAGES = { en: "English", de: "Deutsch", es: "Español", zh: "中文" };

const known = (name) => Object.hasOwn(LANGUAGES, name ?? "");
const short = (tag) => tag.toLowerCase().split("-")[0];

/** What was chosen on this page, else the first language of the browser that there is. */
function chosen() {
  const own = localStorage.getItem(STORE);
  return known(own) ? own : navigator.languages.map(short).find(known) ?? "en";
}

async function words(name) {
  if (name === "en") return {};
  try {
    return (await import(`./languages/${name}.js`)).default;
  } catch {
    return {}; // English is better than nothing
  }
}

export const language = chosen();
/** For numbers and times: the browser's own region where it speaks this language. */
export const locale = navigator.languages.find((tag) => short(tag) === language) ?? language;
const dictionary = await words(language);

/** The text in the language chosen, with {names} put in. */
export function t(text, values = {}) {
  return (dictionary[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Use another language from now on: the page is loaded again. */
export function speak(name) {
  localStorage.setItem(STORE, name);
  location.reload();
}

const SPOKEN = ["aria-label", "title", "alt", "placeholder"];

/** Put what stands in the HTML into the language chosen; what is marked translate="no" stays. */
function translate(root) {
  const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const text = node.data.trim();
    if (/\p{L}/u.test(text) && !node.parentElement.closest("[translate=no], kbd, script, style")) {
      node.data = node.data.replace(text, () => t(text));
    }
  }
  for (const name of SPOKEN) {
    for (const node of root.querySelectorAll(`[${name}]`)) if (node.getAttribute(name)) node.setAttribute(name, t(node.getAttribute(name)));
  }
}

document.documentElement.lang = language;
translate(document.documentElement);
