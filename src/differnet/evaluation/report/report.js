
"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const rows = read("rows"), setup = read("setup"), body = document.querySelector("#table tbody");
  const [NAME, LABEL, VERDICT, SCORE, PERCENT, P, SEEN] = [0, 1, 2, 3, 4, 5, 6];
  const RANK = { NG: 2, review: 1, OK: 0 };
  const state = { key: null, down: true, verdict: "", label: "", wrong: false, text: "", start: 0 };
  const byId = (id) => document.getElementById(id);
  const cache = new Map();
  const names = new Intl.Collator(undefined, { numeric: true });
  let shown = [];

  const make = (tag, name, text) => {
    const one = document.createElement(tag);
    if (name) one.className = name;
    if (text !== undefined) one.textContent = text;
    return one;
  };

  // The pictures of a stretch of images are read when one of them is shown first; a few stretches are kept.
  const pictures = (index) => {
    const chunk = Math.floor(index / setup.page);
    if (!cache.has(chunk)) {
      if (cache.size >= 60) cache.delete(cache.keys().next().value);
      cache.set(chunk, read("pictures-" + chunk));
    }
    return cache.get(chunk)[index % setup.page];
  };

  // An image fills a box as far as its aspect ratio lets it; what lies over it follows.
  const fill = (image, width, height) => image.decode().then(() => {
    const scale = Math.min(width / image.naturalWidth, height / image.naturalHeight);
    image.style.width = `${Math.max(scale * image.naturalWidth, 4)}px`;
    image.style.height = `${Math.max(scale * image.naturalHeight, 4)}px`;
  }, () => undefined);

  const layers = (sources, alt, width = 150, height = 76) => {
    const stack = make("button", "stack");
    stack.type = "button";
    stack.setAttribute("aria-label", alt);
    sources.forEach(([source, name], number) => {
      if (!source) return;
      const image = make("img", name);
      image.loading = "lazy";
      image.decoding = "async";
      image.alt = number ? "" : alt;
      image.src = source;
      stack.append(image);
      if (!number) fill(image, width, height);
    });
    return stack;
  };

  const isWrong = (row) => row[LABEL] !== null && row[VERDICT] !== null && row[VERDICT] !== "review"
    && (row[LABEL] === "good") !== (row[VERDICT] === "OK");
  const digits = (value) => (value === null ? "–" : Number(value.toPrecision(4)).toString());
  const percent = (value) => (value === null ? "–" : (value < 1000 ? Math.floor(value) : Number(value.toPrecision(2))) + " %");
  const chance = (value) => (value === null ? "–" : value < 0.001 ? value.toExponential(1) : value.toFixed(value < 0.01 ? 4 : 3));

  // The same words as on the page at the line: the limit that decided, rounded down, so that 100 % is over it.
  const ofLimit = (row) => {
    const toReview = row[VERDICT] !== "NG" && setup.review !== null, limit = toReview ? setup.review : setup.threshold;
    if (limit === null || !(limit > 0)) return "No limit";
    return `${Math.floor((100 * row[SCORE]) / limit + 1e-9)} % of the limit${toReview ? " to review" : ""}`;
  };

  const line = (index) => {
    const row = rows[index], [image, heat, mask] = pictures(index), one = make("tr");
    const cell = (content, name) => {
      const place = make("td", name);
      if (typeof content === "string") place.textContent = content; else if (content) place.append(content);
      one.append(place);
      return place;
    };
    const open = (button) => { button.addEventListener("click", () => enlarge(index)); return button; };
    one.dataset.index = index;
    one.addEventListener("click", (event) => event.target.closest("button") || enlarge(index));
    cell(open(layers([[image, "picture"], [mask, "mask"]], row[NAME])));
    if (setup.maps) cell(open(layers([[image, "picture"], [heat, "heat-layer"]], "heat map of " + row[NAME])));
    cell(row[VERDICT] === null ? "–" : make("span", "badge " + row[VERDICT], row[VERDICT]));
    const file = cell(row[NAME], "file");
    if (row[SEEN]) file.append(" ", make("span", "seen", "(seen)"));
    if (setup.labelled) cell(row[LABEL], isWrong(row) ? "wrong" : "");
    cell(digits(row[SCORE]), "n");
    cell(percent(row[PERCENT]), "n");
    cell(chance(row[P]), "n");
    return one;
  };

  const compare = (a, b) => {
    if (state.key === null) return a - b; // as they were written: what was judged wrongly first
    const value = (index) => (state.key === VERDICT ? RANK[rows[index][VERDICT]] ?? -1 : rows[index][state.key]);
    const x = value(a), y = value(b);
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const order = typeof x === "string" ? names.compare(x, y) : x - y;
    return (state.down ? -order : order) || rows[b][SCORE] - rows[a][SCORE] || a - b;
  };

  const isChosen = (row, verdict) => (!verdict || row[VERDICT] === verdict)
    && (!state.label || row[LABEL] === state.label)
    && (!state.wrong || isWrong(row))
    && (!state.text || row[NAME].toLowerCase().includes(state.text));

  const draw = () => {
    const part = shown.slice(state.start, state.start + setup.page);
    body.replaceChildren(...part.map(line));
    if (!part.length) {
      const place = make("td", "empty", "No image is like that.");
      place.colSpan = 9;
      const one = make("tr");
      one.append(place);
      body.append(one);
    }
    byId("where").textContent = shown.length
      ? `${state.start + 1} to ${state.start + part.length} of ${shown.length}` : "0 of 0";
    byId("before").disabled = state.start === 0;
    byId("next").disabled = state.start + setup.page >= shown.length;
  };

  const refresh = () => {
    shown = rows.map((_, index) => index).filter((index) => isChosen(rows[index], state.verdict)).sort(compare);
    state.start = 0;
    document.querySelectorAll("#table th[data-key]").forEach((head) => {
      if (Number(head.dataset.key) === state.key) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    document.querySelectorAll(".chips button").forEach((chip) => {
      chip.setAttribute("aria-pressed", String(chip.value === state.verdict));
      const count = rows.filter((row) => isChosen(row, chip.value)).length;
      chip.textContent = `${chip.value || "all"} ${count}`;
    });
    draw();
  };

  const enlarge = (index) => {
    const [image, heat, mask] = pictures(index), row = rows[index], stack = make("div", "trio");
    const wide = Math.min(innerWidth * (innerWidth < 600 ? 0.8 : 0.4), 560), high = innerHeight * 0.66;
    const add = (sources) => stack.append(layers(sources, row[NAME], wide, high));
    add([[image, "picture"], [mask, "mask"]]);
    if (setup.maps) add([[image, "picture"], [heat, "heat"]]);
    document.querySelector("#large .stack, #large .trio").replaceWith(stack);
    const label = row[LABEL] === null ? "" : `, label ${row[LABEL]}`;
    document.querySelector("#large figcaption").textContent =
      `${row[NAME]}: ${row[VERDICT] ?? "no verdict"}. ${setup.says[row[VERDICT] ?? "none"]} ${ofLimit(row)}${label}, score ${digits(row[SCORE])}, p ${chance(row[P])}`;
    if (!byId("large").open) byId("large").showModal();
  };

  const verdicts = ["", "NG", "review", "OK"].filter((one) => !one || rows.some((row) => row[VERDICT] === one));
  verdicts.forEach((verdict) => {
    const chip = make("button");
    chip.type = "button";
    chip.value = verdict;
    chip.addEventListener("click", () => { state.verdict = verdict; refresh(); });
    document.querySelector(".chips").append(chip);
  });
  [...new Set(rows.map((row) => row[LABEL]))].filter((label) => label !== null).sort().forEach((label) => {
    const option = make("option", "", label);
    option.value = label;
    byId("label").append(option);
  });
  if (!setup.labelled) {
    document.querySelectorAll("#wrong-label, #label-label, th.labelled").forEach((one) => one.remove());
  }
  document.querySelectorAll("#table th[data-key] button").forEach((button) => button.addEventListener("click", () => {
    const key = Number(button.parentElement.dataset.key);
    state.down = state.key === key ? !state.down : key === VERDICT || key === SCORE || key === PERCENT;
    state.key = key;
    refresh();
  }));
  byId("label")?.addEventListener("change", (event) => { state.label = event.target.value; refresh(); });
  byId("wrong")?.addEventListener("change", (event) => { state.wrong = event.target.checked; refresh(); });
  byId("heat")?.addEventListener("change", (event) => { byId("table").classList.toggle("no-heat", !event.target.checked); });
  byId("search").addEventListener("input", (event) => { state.text = event.target.value.toLowerCase(); refresh(); });
  const turn = (step) => { state.start += step * setup.page; draw(); byId("images").scrollIntoView(); };
  byId("before").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("large").addEventListener("click", (event) => { if (event.target === byId("large")) byId("large").close(); });
  refresh();
})();
