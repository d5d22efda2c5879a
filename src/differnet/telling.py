"""What the commands say to people when they are done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from differnet.console import err, out, print_json, printable


def tell_fit(detector: Any, model: Path, json: bool) -> None:
    """Say what was learned and what to do next."""
    promise = detector.promise
    if json:
        from differnet.artifact import summarise

        print_json({"model": str(model), **summarise(detector.model)})
        return
    out.print(f"Fitted on {detector.model.train_count} good images.")
    if detector.model.choice:
        out.print(f"Found out from them: {detector.model.choice}.", markup=False, highlight=False)
        out.print(
            "To overrule it: --set rotation=full, --set pooling=whole, --set read_stages=all, --set length=1."
        )
    if promise:
        out.print(
            f"Threshold {promise.value:.4g} from {promise.count} held-out good images: a good part is "
            f"rejected with a probability of at most {promise.promised:.2%}."
        )
    out.print(f"Model file: {model}\nNext: differnet score {model} IMAGES --maps maps", markup=False)


def tell_rows(judged: Any, threshold: float | None) -> None:
    """List the verdicts and count them."""
    views = 0
    for row in judged:
        if row["error"] is not None:
            out.print("[yellow]skipped  [/]               ", end="")
            out.print(f"{printable(row['path'])}: {printable(row['error'])}", markup=False)
            continue
        views += row["views"]
        verdict = {True: "[red]defective[/]", False: "[green]good     [/]", None: "-        "}[
            row["is_defective"]
        ]
        p = "" if row["p_value"] is None else f"  p {row['p_value']:.4f}"
        out.print(f"{verdict} {row['score']:>12.2f}{p}  ", end="")
        out.print(printable(row["path"]), markup=False)
    limit = "no threshold" if threshold is None else f"threshold {threshold:.2f}"
    mean = f"{views / max(judged.count - judged.skipped, 1):.1f} views an image"
    skipped = f", {judged.skipped} skipped" if judged.skipped else ""
    err.print(f"{judged.count} images, {judged.flagged} defective{skipped}, {limit}, {mean}")


def tell_run(run: Any) -> None:
    """Say on stderr how one seed went."""
    err.print(
        f"seed {run.seed}: AUROC {run.image_auroc:.4f}, fit {run.fit_seconds:.0f} s, "
        f"score {1000 * run.score_seconds_per_image:.0f} ms an image"
    )


def tell_evaluation(document: dict[str, Any]) -> None:
    """Say the figures of one data set."""
    out.print(f"[bold]{document['dataset']}[/]")
    for name in ("image_auroc", "recall_without_false_alarms", "pixel_auroc"):
        values = [value for value in document[name] if value is not None]
        if values:
            each = ", ".join(f"{value:.4f}" for value in values)
            out.print(f"  {name:<28} {sum(values) / len(values):.4f}   ({each})")
    promised = document["promised_false_alarm_rate_mean"]
    if promised is not None:
        seen, recall = document["false_alarm_rate_mean"], document["recall_mean"]
        out.print(
            f"  at promised false alarms of {promised:.2%}: {_percent(seen)} seen, recall {_percent(recall)}"
        )
    for text in dict.fromkeys(choice["text"] for choice in document["choice"] if choice):
        out.print(f"  {text}", markup=False, highlight=False)
    _tell_early([early for early in document["early"] if early])
    out.print(
        f"  fit {document['fit_seconds']:.1f} s, score {1000 * document['score_seconds_per_image']:.0f} ms an image"
    )


def _tell_early(figures: list[dict[str, Any]]) -> None:
    if figures:
        known = {name: [one[name] for one in figures if one[name] is not None] for name in figures[0]}
        mean = {name: sum(values) / max(len(values), 1) for name, values in known.items()}
        out.print(
            f"  with views auto: {mean['views']:.1f} views an image ({mean['views_good']:.1f} of a good one), "
            f"{mean['changed']:.1f} verdicts differ, AUROC {mean['image_auroc']:.4f} "
            f"instead of {mean['image_auroc_all_views']:.4f}"
        )


def tell_demo(document: dict[str, Any]) -> None:
    """Say the demo's figures and what to open."""
    for name, figures in document["textures"].items():
        out.print(
            f"{name:<8} AUROC {figures['image_auroc']:.3f}  pixel AUROC {figures['pixel_auroc']:.3f}  "
            f"{figures['found']} of {figures['n_defective']} defects found, "
            f"{figures['false_alarms']} of {figures['n_good']} good tiles rejected"
        )
    out.print(f"mean     AUROC {document['image_auroc_mean']:.3f}   {document['seconds']:.0f} s in all")
    for sheet in document["open"]:
        out.print(f"Open {sheet}", markup=False)


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.2%}"


def tell_model(summary: dict[str, Any]) -> None:
    """Say what a model file is, one figure or setting a line."""
    for name, value in summary.items():
        if name == "config":
            for section, settings in value.items():
                for setting, chosen in settings.items():
                    out.print(f"{section + '.' + setting:<26} {_short(chosen)}", markup=False)
            continue
        told = value["text"] if name == "choice" and value else value
        out.print(f"{name:<26} {_short(told)}", markup=False, highlight=False)


def _short(value: Any) -> str:
    """Shorten lists and masks to one line."""
    if isinstance(value, list) and len(value) > 4:
        return f"{value[0]} ... {value[-1]} ({len(value)} values)"
    if isinstance(value, str) and value.startswith("png:"):
        return f"a mask of {len(value)} characters"
    return "none" if value is None else str(value)
