// The job that runs: how far it is, how long it will take yet, and a button that ends it.

import { cancel, fit } from "./asking.js";
import { $, el, say } from "./dom.js";
import { t } from "./language.js";
import { attempt, duration } from "./saying.js";

const NAMES = { fit: "Fitting", judge: "Judging known defects", export: "Exporting" };
const SAID = { done: "Done", failed: "Failed", cancelled: "Cancelled; nothing is left of it" };

export class Run {
  constructor(changed) {
    this.changed = changed;
    $("fit-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    $("cancel").addEventListener("click", () => attempt(async () => {
      $("cancel").disabled = true;
      await cancel();
      changed();
    }, "cancel"));
  }

  /** Begin to fit with what stands in the fields. */
  start() {
    const percent = $("fit-rate").valueAsNumber;
    const preset = $("fit-preset").value;
    const wanted = { rate: Number.isFinite(percent) ? percent / 100 : null, preset: preset === this.own ? null : preset };
    return attempt(async () => {
      await fit(wanted);
      this.changed();
    }, "fit");
  }

  render(state) {
    const { job, counts, waiting, fewest } = state;
    const running = job?.outcome === "running";
    if (this.own === undefined) {
      this.own = state.preset;
      $("fit-rate").value = String(Number((100 * state.rate).toPrecision(6)));
      $("fit-preset").replaceChildren(...state.presets.map((name) => el("option", { value: name, ...(name === this.own ? { selected: true } : {}) }, name)));
    }
    $("fit-go").disabled = running || waiting > 0 || counts.used < fewest;
    $("fit-why").textContent = counts.used < fewest ? t("At least {fewest} good pictures are wanted; here are {count}.", { fewest, count: counts.used }) : t("Fits to {count} good pictures, a fifth of them held out to set the threshold.", { count: counts.used });
    $("job").hidden = !job;
    if (!job) return;
    this.tell(job, running);
    const said = `${job.number} ${job.outcome}`;
    if (this.said === `${job.number} running` && said !== this.said) this.announce(job);
    this.said = said;
  }

  /** Say how a job has ended, wherever on the page a person is by then. */
  announce(job) {
    const text = t("{name}: {outcome}.", { name: t(NAMES[job.kind]), outcome: t(SAID[job.outcome]) });
    if (job.outcome === "failed") say(`${text} ${job.error}`, { trouble: true, key: "job" });
    else say(text, { key: "job" });
  }

  tell(job, running) {
    const share = job.total ? job.done / job.total : 0;
    $("job-name").textContent = t(NAMES[job.kind]);
    $("job-stage").textContent = running ? t("{stage}: {done} of {total}", { stage: t(job.stage), done: job.done, total: job.total }) : t(SAID[job.outcome]);
    const whole = job.seconds + (job.seconds_left ?? 0);
    $("job-bar").value = running ? (whole > 0 ? Math.max(job.seconds / whole, 0.02) : share) : job.outcome === "done" ? 1 : 0;
    $("job-time").textContent = running ? t("{gone} so far, about {left} left", { gone: duration(job.seconds), left: duration(job.seconds_left) }) : t("after {gone}", { gone: duration(job.seconds) });
    $("cancel").hidden = !running;
    if (!running) $("cancel").disabled = false;
    $("job-error").hidden = !job.error || job.outcome !== "failed";
    $("job-error").textContent = job.error ?? "";
    $("job").dataset.outcome = job.outcome;
  }
}
