// Looking closer: zoom and pan of the picture by wheel, pinch, drag, buttons and keys, up to single pixels.
// All that lies in a pane moves as one: the picture, the heat over it, and the good part beside it.

import { $ } from "./dom.js";
import { t } from "./language.js";

const STEP = 1.25; // of a key or button
const WHEEL = 0.0016; // of a pixel that the wheel was turned
const CLOSEST = 8; // screen pixels to one of the picture
const PAN = 60; // screen pixels that an arrow key moves

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Zoom {
  constructor() {
    Object.assign(this, { scale: 1, x: 0, y: 0, fingers: new Map(), last: null });
    this.pane = $("pane");
    const stack = $("stack");
    stack.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stack.addEventListener("dblclick", (event) => this.toggle(this.place(event)));
    stack.addEventListener("pointerdown", (event) => this.down(event));
    stack.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) stack.addEventListener(name, (event) => this.up(event));
    stack.addEventListener("keydown", (event) => this.press(event));
    const buttons = { "zoom-in": () => this.by(STEP * STEP), "zoom-out": () => this.by(1 / (STEP * STEP)), "zoom-one": () => this.one(), "zoom-fit": () => this.reset() };
    for (const [id, does] of Object.entries(buttons)) $(id).addEventListener("click", does);
    $("picture").addEventListener("load", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(stack);
    this.draw();
  }

  /** How many times larger than in the pane the picture is when one of its pixels is one of the screen. */
  get atOne() {
    const image = $("picture"), { clientWidth: width, clientHeight: height } = this.pane;
    if (!image.naturalWidth || !width || !height) return 1;
    return 1 / (Math.min(width / image.naturalWidth, height / image.naturalHeight) * devicePixelRatio);
  }

  get closest() {
    return Math.max(4, CLOSEST * this.atOne);
  }

  reset() {
    this.to(1, 0, 0);
  }

  /** One pixel of the picture is one of the screen. */
  one(at = this.middle()) {
    this.by(this.atOne / this.scale, at);
  }

  toggle(at) {
    if (this.scale > 1.01) this.reset();
    else this.by((this.atOne > 1.05 ? this.atOne : 2) / this.scale, at);
  }

  /** Make it so many times larger, about a place in the pane. */
  by(factor, at = this.middle()) {
    const scale = clamp(this.scale * factor, Math.min(1, this.atOne), this.closest);
    const real = scale / this.scale;
    this.to(scale, at.x - real * (at.x - this.x), at.y - real * (at.y - this.y));
  }

  pan(right, down) {
    this.to(this.scale, this.x + right, this.y + down);
  }

  to(scale, x, y) {
    const { clientWidth: width, clientHeight: height } = this.pane;
    const kept = (place, side) => (scale < 1 ? (side - side * scale) / 2 : clamp(place, side - side * scale, 0));
    Object.assign(this, { scale, x: kept(x, width), y: kept(y, height) });
    this.draw();
  }

  /** Two panes lie as the pictures in them become larger: side by side, or one below the other. */
  arrange() {
    const stack = $("stack"), image = $("picture"), { clientWidth: width, clientHeight: height } = stack;
    if (!image.naturalWidth) return;
    const fitted = (across, down) => Math.min(width / across / image.naturalWidth, height / down / image.naturalHeight);
    stack.classList.toggle("rows", stack.classList.contains("two") && fitted(1, 2) > fitted(2, 1));
  }

  draw() {
    this.arrange();
    const shape = this.scale === 1 ? "" : `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    const { atOne } = this;
    for (const image of $("stack").querySelectorAll(".pane > img")) {
      image.style.transform = shape;
      image.classList.toggle("pixels", this.scale > 2 * atOne);
    }
    const isClose = this.scale > 1;
    $("stack").classList.toggle("close", isClose);
    $("zoom-says").textContent = $("picture").naturalWidth ? t("{percent} % of its size", { percent: Math.round((100 * this.scale) / atOne) }) : "";
    $("zoom-fit").disabled = this.scale === 1;
    $("zoom-out").disabled = this.scale <= Math.min(1, atOne) + 1e-6;
    $("zoom-in").disabled = this.scale >= this.closest - 1e-6;
  }

  middle() {
    return { x: this.pane.clientWidth / 2, y: this.pane.clientHeight / 2 };
  }

  /** Where in its pane a pointer is: the panes have the same size and show the same place. */
  place(event) {
    const box = (event.target.closest?.(".pane") ?? this.pane).getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  wheel(event) {
    if (event.ctrlKey || event.deltaY < 0 || this.scale > 1) event.preventDefault(); // else the page scrolls
    else return;
    const turned = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1) * (event.ctrlKey ? 5 : 1);
    const factor = Math.exp(-WHEEL * turned);
    if (this.scale * factor < 1 && this.scale > 1) this.reset();
    else this.by(factor, this.place(event));
  }

  down(event) {
    if (event.button !== 0 || event.target.closest("button")) return;
    this.fingers.set(event.pointerId, this.place(event));
    if (this.scale > 1 || this.fingers.size > 1) $("stack").setPointerCapture(event.pointerId);
    this.last = this.grip();
  }

  move(event) {
    if (!this.fingers.has(event.pointerId)) return;
    const box = this.pane.getBoundingClientRect();
    this.fingers.set(event.pointerId, { x: event.clientX - box.left, y: event.clientY - box.top });
    const now = this.grip(), { last } = this;
    this.last = now;
    if (!last) return;
    if (now.apart && last.apart) this.by(now.apart / last.apart, last);
    if (this.scale > 1) this.pan(now.x - last.x, now.y - last.y);
  }

  up(event) {
    if (this.fingers.delete(event.pointerId)) this.last = this.fingers.size ? this.grip() : null;
  }

  /** The middle of the fingers, and how far apart two are. */
  grip() {
    const all = [...this.fingers.values()], [a, b] = all;
    const mean = (name) => all.reduce((sum, one) => sum + one[name], 0) / all.length;
    return { x: mean("x"), y: mean("y"), apart: b ? Math.hypot(a.x - b.x, a.y - b.y) : 0 };
  }

  /** Arrows move a picture that is larger than its pane; else they are for the list. */
  press(event) {
    const ways = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const way = ways[event.key];
    if (!way || this.scale <= 1 || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.pan(PAN * way[0], PAN * way[1]);
  }

  /** What keys do it, for the table of keys. */
  keys() {
    return { "+": () => this.by(STEP), "=": () => this.by(STEP), "-": () => this.by(1 / STEP), 0: () => this.reset(), 1: () => this.one() };
  }
}
