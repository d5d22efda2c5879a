// The line to the service: server-sent events read by fetch(), so that the key can be sent, and a watch over the line.
// A connection that died without a word is found by silence: the service says something at least every few seconds.

import { ask, isWaitingForKey } from "./api.js";

const QUIET = 6000; // then ask whether it is there
const DEAD = 10000; // then nothing on the page may look live
const GRACE = 1000; // for an end that is mended at once, such as a proxy's

export class Stream {
  /** `onEvent(type, data)`; `onLink("live" | "lost")`, upon each change, "live" also after each mended gap;
   * `onRefused(error)`: the service answers, but will not be listened to. */
  constructor(onEvent, onLink, onRefused) {
    Object.assign(this, { onEvent, onLink, onRefused, last: null, link: "starting", heard: performance.now(), run: 0 });
    setInterval(() => this.watch(), 1000);
    addEventListener("offline", () => this.lose());
    addEventListener("online", () => this.open(this.model));
  }

  /** Listen for one model from now on. */
  open(model) {
    if (model !== this.model) this.last = null;
    this.model = model;
    this.stop?.abort();
    this.listen(++this.run);
  }

  async listen(run) {
    for (let wait = 0; run === this.run; wait = Math.min(wait + 1000, 5000)) {
      await new Promise((done) => setTimeout(done, wait));
      if (run !== this.run) return;
      try {
        await this.read(run);
        wait = -1000; // it was open: try at once
      } catch (error) {
        if (run === this.run && error.status > 0) this.onRefused(error); // else the light says it
      }
      if (run === this.run) this.ending ??= setTimeout(() => this.lose(), GRACE);
    }
  }

  async read(run) {
    this.stop = new AbortController();
    const headers = { Accept: "text/event-stream", ...(this.last ? { "Last-Event-ID": this.last } : {}) };
    const answer = await ask(`events?model=${encodeURIComponent(this.model)}`, { headers, signal: this.stop.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    this.hear();
    for (let text = ""; ; ) {
      const { value, done } = await reader.read();
      if (done || run !== this.run) return;
      this.hear();
      const parts = (text + value.replaceAll("\r", "")).split("\n\n");
      text = parts.pop();
      parts.forEach((part) => this.take(part));
    }
  }

  take(block) {
    const event = { type: "message", data: [] };
    for (const line of block.split("\n")) {
      const [, field, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
      if (field === "event") event.type = value;
      else if (field === "id") this.last = value;
      else if (field === "data") event.data.push(value);
    }
    if (event.data.length) this.onEvent(event.type, JSON.parse(event.data.join("\n")));
  }

  hear() {
    clearTimeout(this.ending);
    this.ending = null;
    this.heard = performance.now();
    this.tell("live");
  }

  lose() {
    this.ending = null;
    this.tell("lost");
  }

  tell(link) {
    if (link === this.link) return;
    this.link = link;
    this.onLink(link);
  }

  async watch() {
    if (!this.model || isWaitingForKey()) this.heard = performance.now();
    const silence = performance.now() - this.heard;
    if (silence > DEAD && this.link !== "lost") this.lose();
    if (silence < QUIET || this.probing) return;
    this.probing = true;
    try {
      const answer = await fetch("health", { cache: "no-store", signal: AbortSignal.timeout(3000) });
      if (answer.ok && silence > DEAD) this.open(this.model); // it is there, but this connection is dead
    } catch {
      this.stop?.abort();
      this.lose();
    }
    this.probing = false;
  }
}
