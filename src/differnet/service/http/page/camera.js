// The browser's camera: a live view, one picture on demand, or one every few seconds.

import { $, el, say } from "./dom.js";
import { t } from "./language.js";

const REFUSED = {
  NotAllowedError: t("The camera was refused. Allow it beside the address of this page, and start it again."),
  NotFoundError: t("No camera was found. Plug one in and start it again."),
  NotReadableError: t("The camera is used by another program. Close that and start it again."),
  OverconstrainedError: t("The chosen camera is gone. Choose another."),
};

export class Camera {
  /** `send(files)` is awaited before the next picture of a series is taken. */
  constructor(send) {
    Object.assign(this, { send, stream: null, timer: null, shot: 0 });
    $("camera-start").addEventListener("click", () => this.toggle());
    $("camera-take").addEventListener("click", () => this.take());
    $("camera-repeat").addEventListener("change", () => this.repeat());
    $("camera-seconds").addEventListener("change", () => this.repeat());
    $("camera-device").addEventListener("change", () => this.start());
  }

  toggle() {
    return this.stream ? this.stop() : this.start();
  }

  async start() {
    const chosen = $("camera-device").value;
    this.stop();
    if (!navigator.mediaDevices) {
      say(t("This browser gives its camera only to pages from https:// or from this very machine (127.0.0.1)."), { trouble: true, key: "camera" });
      return;
    }
    const wanted = { width: { ideal: 1920 }, height: { ideal: 1080 }, ...(chosen ? { deviceId: { exact: chosen } } : {}) };
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    } catch (error) {
      say(REFUSED[error.name] ?? t("The camera could not be started ({reason}).", { reason: error.message }), { trouble: true, key: "camera" });
      return;
    }
    this.stream.getVideoTracks()[0].addEventListener("ended", () => {
      say(t("The camera stopped. Start it again when it is back."), { trouble: true, key: "camera" });
      this.stop();
    });
    $("camera-view").srcObject = this.stream;
    await $("camera-view").play();
    await this.listDevices();
    this.render();
    this.repeat();
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    $("camera-view").srcObject = null;
    this.repeat();
    this.render();
  }

  async listDevices() {
    const all = (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === "videoinput");
    const mine = this.stream.getVideoTracks()[0].getSettings().deviceId;
    const options = all.map((one, i) => el("option", { value: one.deviceId, selected: one.deviceId === mine }, one.label || t("Camera {number}", { number: i + 1 })));
    $("camera-device").replaceChildren(...options);
  }

  render() {
    const on = Boolean(this.stream);
    $("camera").hidden = !on;
    $("camera-start").setAttribute("aria-pressed", String(on));
    $("camera-label").textContent = on ? t("Stop the camera") : t("Start the camera");
  }

  /** Send what the camera sees now, without loss. */
  async take() {
    const view = $("camera-view");
    if (!this.stream || !view.videoWidth) return;
    const canvas = el("canvas", { width: view.videoWidth, height: view.videoHeight });
    canvas.getContext("2d").drawImage(view, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    const stamp = new Date().toISOString().replace(/[:.]/g, "-");
    await this.send([new File([blob], `camera-${stamp}.png`, { type: "image/png" })]);
  }

  /** Start or end the series, as the box says. */
  repeat() {
    clearTimeout(this.timer);
    const run = (this.shot += 1);
    const seconds = Math.max(0.5, Number($("camera-seconds").value) || 5);
    const next = async () => {
      const began = performance.now();
      await this.take();
      if (run !== this.shot) return;
      this.timer = setTimeout(next, Math.max(100, 1000 * seconds - (performance.now() - began)));
    };
    if (this.stream && $("camera-repeat").checked) this.timer = setTimeout(next, 1000 * seconds);
  }
}
