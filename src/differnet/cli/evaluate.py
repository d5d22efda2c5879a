"""The commands that measure: evaluate, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from differnet.cli import options
from differnet.cli.console import bars, guarded, out, print_json, side
from differnet.errors import agreeing, counted


def evaluate(
    data: options.Labelled,
    layout: options.LayoutName = "auto",
    category: options.Category = None,
    split: options.Split = None,
    shots: options.Shots = None,
    seeds: options.Seeds = None,
    preset: options.Preset = "default",
    directory: options.Figures = None,
    maps: options.Maps = True,
    config: options.ConfigFile = None,
    settings: options.Set = None,
    weights: options.Weights = None,
    device: options.Device = "cpu",
    engine: options.Engine = "local",
    address: options.Address = None,
    json: options.Json = False,
) -> None:
    """Measure on a labelled data set: AUROC, recall without false alarms, pixel AUROC and AUPRO."""
    options.check_engine(engine, address)
    with guarded():
        from differnet.batch import executor, spread
        from differnet.data import datasets
        from differnet.evaluation import plots, results

        if directory is not None:
            plots.check_there()
        resolved = options.settings_of(preset, settings, config)
        tables = datasets.read(data, options.check_layout(layout), category or (), split)
        count = seeds or (1 if shots is None else 3)
        asked = spread.Asked(resolved, range(count), shots, weights, device, maps)
        documents = []
        for table in tables:
            side.print(repr(table))
        with executor.manned(engine, address, device) as crew:
            for result, panels in spread.evaluations(crew, tables, asked, tell_run, bars):
                files = results.Files(directory, result.dataset, len(tables) > 1)
                files.take(panels)
                documents.append(files.finish(result))
                if not json:
                    tell_evaluation(documents[-1])
        if json:
            print_json(results.combine(documents))
        elif directory:
            out.print(f"Look at {directory}")


def demo(
    directory: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for data, model and pictures.")
    ] = Path("demo-output"),
    seed: Annotated[int, typer.Option(min=0)] = 0,
    everything: Annotated[
        bool, typer.Option("--all", help="Irregular textures too, on which more is missed; twice as long.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Run the whole job on real photographs with drawn defects: fit, judge, show."""
    with guarded():
        from differnet.evaluation import demo, plots, showcase

        plots.check_there()
        textures = demo.TEXTURES if everything else showcase.SHOWN
        with bars() as progress:
            document = showcase.run_demo(directory, seed, progress, textures)
        if json:
            print_json(document)
        else:
            tell_demo(document)


def tell_run(run: Any) -> None:
    """Say on stderr how one seed went."""
    side.print(
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
    if document["n_fitted_to"]:
        number = document["n_fitted_to"]
        verb = agreeing(number, "was", "were")
        out.print(
            f"  too good: {counted(number, 'test image')} {verb} fitted to as well, as copies or by another path"
        )
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
    """Say the demo's figures, what to open and what to look at."""
    for name, figures in document["textures"].items():
        out.print(f"{name}: {_verdicts(figures)}")
        out.print(f"  AUROC {figures['image_auroc']:.3f}, pixel AUROC {figures['pixel_auroc']:.3f}")
    seconds = f"{document['seconds']:.0f} s in all"
    if document["not_run"]:
        seconds += f"; --all fits {' and '.join(document['not_run'])} too: irregular, so that more is missed"
    out.print(seconds)
    out.print(f"Open {' and '.join(document['open'])}", markup=False)
    out.print(
        "Good tiles come first, then clear defects, then hard ones, which a person may overlook too. "
        "A dashed frame is a wrong verdict; the heat should lie where the outline of the mask does."
    )


def _verdicts(figures: dict[str, Any]) -> str:
    alarms, good = figures["false_alarms"], figures["n_good"]
    hard = f", {figures['found_hard']} of {figures['n_hard']} hard ones" if figures["n_hard"] else ""
    return (
        f"{figures['found_clear']} of {figures['n_clear']} clear defects found{hard}, "
        f"{alarms or 'no'} false alarm{'' if alarms == 1 else 's'} among {good} good tiles"
    )


def _percent(value: float | None) -> str:
    from differnet.evaluation.metrics import in_percent

    return "none" if value is None else in_percent(value, 2)
