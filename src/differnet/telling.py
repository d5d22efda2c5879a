"""What the commands say to people when they are done."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from differnet.console import err, out, print_json, printable

_COLOURED = {
    "NG": "[red]NG    [/]",
    "review": "[yellow]review[/]",
    "OK": "[green]OK    [/]",
    None: "-     ",
}


def tell_fit(detector: Any, model: Path, json: bool) -> None:
    """Say what was learned and what to do next."""
    promise = detector.promise
    if json:
        from differnet.detector.model import summarise

        print_json({"model": str(model), **summarise(detector.model)})
        return
    out.print(f"Fitted on {detector.model.train_count} good images.")
    if detector.model.choice:
        out.print(f"Found out from them: {detector.model.choice}.", markup=False, highlight=False)
        out.print(
            "To overrule it: --set rotation=full, --set pooling=whole, --set read_stages=all, --set length=1."
        )
    if promise:
        held = "" if promise.folds else "held-out "
        out.print(f"Threshold {promise.value:.4g} from {promise.count} {held}good images: {promise}.")
        _tell_review(detector.model)
    out.print(f"Model file: {model}\nNext: differnet score {model} IMAGES --maps maps", markup=False)


def tell_calibration(detector: Any, model: Path, known: list[Any], json: bool) -> None:
    """Say what the new threshold promises, what it was calibrated on, and how much of known defects is found."""
    from differnet.detector.model import summarise

    promise, record = detector.promise, detector.model.calibrated_on
    if json:
        found = {"known_defects": [one.to_dict() for one in known]} if known else {}
        print_json({"model": str(model), **summarise(detector.model), **found})
        return
    out.print(f"Threshold {promise.value:.4g} from {promise.count} good images: {promise}.")
    _tell_review(detector.model)
    out.print(
        f"Calibrated on {record.count} images of {record.groups} groups, {record.date}, {record.digest[:12]}."
    )
    _tell_known(known)
    out.print(f"Model file: {model}", markup=False)


def tell_report(found: Any, page: Path, json: bool) -> None:
    """Say how many of each verdict there were, what was found of known defects, and what to open."""
    alarms = found.alarms
    if json:
        document: dict[str, Any] = {"report": str(page), "counts": found.counts, "seen": found.seen}
        document["false_alarm_rate"] = None if alarms is None else alarms.value
        document["known_defects"] = [one.to_dict() for one in found.known]
        print_json({**document, "image_auroc": found.auroc})
        return
    out.print(", ".join(f"{count} {name}" for name, count in sorted(found.counts.items())))
    if alarms is not None:
        out.print(f"False alarms: {alarms.count} of {alarms.total} good images.")
    _tell_known(found.known)
    out.print(f"Open {page}", markup=False)


def _tell_known(known: Iterable[Any]) -> None:
    """Say how many of each type of defect are found, and name those that are missed."""
    for one in known:
        out.print(f"Known defects, {one}.", markup=False)
        for name in one.missed if one.defect != "all defects" else ():
            out.print(f"  missed: {name}", markup=False)


def _tell_review(model: Any) -> None:
    from differnet.decision.verdict import review_promise

    review = review_promise(model)
    if review is not None:
        said = "" if review.is_kept else f", where {review.rate:.4g} was wanted"
        out.print(
            f"From {review.value:.4g} on a person should look: {review}{said}.".replace("rejected", "not OK")
        )


def tell_rows(judged: Any, threshold: float | None) -> None:
    """List the verdicts and count them."""
    views = 0
    for row in judged:
        if row["error"] is not None:
            out.print("[yellow]skipped  [/]               ", end="")
            out.print(f"{printable(row['path'])}: {printable(row['error'])}", markup=False)
            continue
        views += row["views"]
        verdict = _COLOURED[row["verdict"]]
        p = "" if row["p_value"] is None else f"  p {row['p_value']:.4f}"
        percent = "" if row["percent"] is None else f" {int(row['percent']):>6}%"
        out.print(f"{verdict} {row['score']:>12.2f}{percent}{p}  ", end="")
        out.print(printable(row["path"]), markup=False)
    limit = "no threshold" if threshold is None else f"threshold {threshold:.2f}"
    mean = f"{views / max(judged.count - judged.skipped, 1):.1f} views an image"
    review = f", {judged.to_review} to review" if judged.to_review else ""
    skipped = f", {judged.skipped} skipped" if judged.skipped else ""
    err.print(f"{judged.count} images, {judged.flagged} defective{review}{skipped}, {limit}, {mean}")


def tell_run(run: Any) -> None:
    """Say on stderr how one seed went."""
    err.print(
        f"seed {run.seed}: AUROC {run.image_auroc:.4f}, fit {run.fit_seconds:.0f} s, "
        f"score {1000 * run.score_seconds_per_image:.0f} ms an image"
    )


def tell_evaluation(document: dict[str, Any]) -> None:
    """Say the figures of one data set."""
    out.print(Text(document["dataset"], style="bold"))
    for name in ("image_auroc", "recall_without_false_alarms", "pixel_auroc", "pixel_aupro"):
        values = [value for value in document[name] if value is not None]
        if values:
            each = ", ".join(f"{value:.4f}" for value in values)
            out.print(f"  {name:<28} {sum(values) / len(values):.4f}   ({each})")
    if document["image_auroc_spread"] is not None:
        out.print(f"  {'standard deviation over seeds':<28} {document['image_auroc_spread']:.4f}")
    promised = document["promised_false_alarm_rate_mean"]
    if promised is not None:
        seen, recall = document["false_alarm_rate_mean"], document["recall_mean"]
        folds = document["config"]["decision"]["folds"]
        how = f"false alarms of {promised:.2%}" + (
            f" (cross-fitted over {folds} folds, no proof)" if folds else ""
        )
        out.print(
            f"  at {'estimated' if folds else 'promised'} {how}: {_percent(seen)} seen, recall {_percent(recall)}"
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


def tell_cell(cell: Any, was_kept: bool) -> None:
    """Say on stderr how one cell of a table came out."""
    how = "kept from before" if was_kept else f"fit {cell.fit_seconds:.0f} s"
    which = f"{cell.dataset}, seed {cell.seed}, {cell.n_train} training images"
    err.print(f"{which}: AUROC {cell.auroc:.4f} ({how})", markup=False)


def _cell(value: str | float | None) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def tell_table(report: Any, paths: Iterable[Path]) -> None:
    """Show the table of a report, say what must be said of it, and what to open."""
    shown = Table(title=Text(report.title))
    for column in report.table.columns:
        shown.add_column(Text(column))
    for row in report.table.rows:
        shown.add_row(*(Text(_cell(value)) for value in row))
    out.print(shown)
    for note in report.notes:
        out.print(note, markup=False)
    for path in paths:
        out.print(f"Look at {path}", markup=False)
