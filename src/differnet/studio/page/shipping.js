// The model as a station: exported, and judging live at once.

import { exportModel, judge } from "./asking.js";
import { $ } from "./dom.js";
import { t } from "./language.js";
import { attempt } from "./saying.js";

export class Shipping {
  constructor(changed) {
    $("export-form").addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(async () => {
        await exportModel($("export-name").value, $("export-to").value.trim());
        changed();
      }, "export");
    });
    $("judge").addEventListener("click", () => attempt(async () => {
      await judge();
      changed();
    }, "judge"));
  }

  render({ live, job, fit, counts }) {
    const running = job?.outcome === "running";
    $("export-go").disabled = running || !fit;
    $("judge").disabled = running || counts.defects - counts.defects_unread < 1;
    const said = {
      off: t("Nothing judges live yet."),
      starting: t("The model {name} is being loaded …", { name: live.name }),
      on: t("The model {name} judges live.", { name: live.name }),
      failed: t("The model {name} could not be served: {error}", { name: live.name, error: live.error }),
    };
    const old = live.fit !== null && fit && live.fit !== fit.number ? t("It is of an earlier fit; export again to judge by the last one.") : "";
    $("live-said").textContent = [said[live.status], old].filter(Boolean).join(" ");
    $("live-more").textContent = [live.agreement && t("The station agrees with the model: {agreement}.", { agreement: live.agreement }), live.status === "on" && t("Station: {folder}.", { folder: live.station }), live.status === "failed" && live.is_serving && t("The model before it judges on."), live.note].filter(Boolean).join(" ");
    $("live-open").hidden = !live.is_serving;
    $("live-card").dataset.status = live.status;
  }
}
