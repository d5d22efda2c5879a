// Pictures that are fetched with the key, when they come into sight, and kept for a while.

import { blob } from "./asking.js";

const MOST = 800; // pictures that are kept in memory
const kept = new Map();

function url(path) {
  if (!kept.has(path)) {
    const found = blob(path).then((data) => URL.createObjectURL(data));
    found.catch(() => kept.delete(path));
    kept.set(path, found);
    if (kept.size > MOST) {
      const [first, old] = kept.entries().next().value;
      kept.delete(first);
      old.then((one) => URL.revokeObjectURL(one), () => {});
    }
  }
  return kept.get(path);
}

async function draw(image) {
  try {
    image.src = await url(image.dataset.path);
  } catch {
    image.hidden = true; // the words beside it say what it is
  }
}

const sight = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) {
    sight.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "200px" });

/** Have an image element show a picture of the studio once it is in sight; returns the element. */
export function lazy(image, path) {
  image.dataset.path = path;
  sight.observe(image);
  return image;
}

/** Fetch anew what is asked for under these paths: another fit has other heat maps. */
export function forget(end) {
  for (const [path, old] of [...kept].filter(([path]) => path.includes(end))) {
    kept.delete(path);
    old.then((one) => URL.revokeObjectURL(one), () => {});
  }
}
