"""The command line: fit, score, evaluate, demo, info."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from differnet import __version__
from differnet.console import bars, err, guarded, out, print_json

app = typer.Typer(
    name="differnet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Preset = Annotated[str, typer.Option(help="Settings to start from: default or paper.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Replace one setting, e.g. epochs=20; repeatable."),
]
Weights = Annotated[
    str | None, typer.Option(help="File of backbone weights (.pth or .safetensors), for use offline.")
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")]


def main() -> None:
    """Run the command line."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"differnet {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Visual defect detection from good images alone (DifferNet, WACV 2021)."""


@app.command()
def fit(
    good: Annotated[Path, typer.Argument(help="Folder of good images.")],
    model: Annotated[Path, typer.Option("--out", "-o", help="Model file to write.")],
    preset: Preset = "default",
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    rate: Annotated[float | None, typer.Option(help="False-alarm rate wanted (default 0.01).")] = None,
    group_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression over paths; images with equal matches are held out together."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder to keep progress in; run again to go on after a stop.")
    ] = None,
    settings: Set = None,
    weights: Weights = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Learn from a folder of good images and write a model file."""
    with guarded():
        from differnet import config
        from differnet.datasets import find_good
        from differnet.detector import DifferNet
        from differnet.features import by_epoch
        from differnet.storage import check_target

        values = config.parse_assignments(settings or []) | ({} if rate is None else {"rate": rate})
        detector = DifferNet(config.resolve(preset, values), seed, weights, device)
        check_target(model)
        paths = find_good(good)
        with bars() as progress:
            detector.fit(
                paths,
                groups=None if group_pattern is None else _groups(paths, group_pattern),
                checkpoint=checkpoint,
                progress=progress,
                on_epoch=by_epoch(progress),
            )
        detector.save(model)
        _tell_fit(detector, model, json)


@app.command()
def score(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    paths: Annotated[list[Path], typer.Argument(help="Images or folders.")],
    table: Annotated[Path | None, typer.Option("--out", "-o", help="Write rows to .csv or .jsonl.")] = None,
    maps: Annotated[Path | None, typer.Option(help="Folder for overlays (PNG) and raw maps (NPY).")] = None,
    fail_on_defect: Annotated[bool, typer.Option(help="Exit with 1 when an image was flagged.")] = False,
    weights: Weights = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Judge images: score, p-value, verdict, and heat maps on request."""
    with guarded():
        from differnet import rows
        from differnet.detector import DifferNet
        from differnet.errors import NotFittedError

        rows.check_target(table)
        detector = DifferNet.load(model, weights, device)
        if fail_on_defect and detector.threshold is None:
            raise NotFittedError(f"--fail-on-defect: {model} has no threshold (it was fitted with holdout=0)")
        with bars() as progress:
            judged = rows.judge_all(detector, paths, maps, progress)
        if table:
            rows.write(table, judged)
        if json:
            print_json({"model": str(model), "threshold": detector.threshold, "images": judged})
        else:
            _tell_rows(judged, detector.threshold)
    if fail_on_defect and any(row["is_defective"] for row in judged):
        raise typer.Exit(1)


@app.command()
def evaluate(
    data: Annotated[Path, typer.Argument(help="Data set.")],
    layout: Annotated[str, typer.Option(help="auto, folder, mvtec or mtd.")] = "auto",
    category: Annotated[list[str] | None, typer.Option(help="MVTec category; repeatable.")] = None,
    split: Annotated[Path | None, typer.Option(help="File naming the training images (mtd).")] = None,
    shots: Annotated[int | None, typer.Option(min=1, help="Train on this many random images.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds: 0, 1, ...")] = 1,
    preset: Preset = "default",
    directory: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for figures, scores and pictures.")
    ] = None,
    maps: Annotated[bool, typer.Option(help="Compute pixel AUROC where masks exist.")] = True,
    settings: Set = None,
    weights: Weights = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measure on a labelled data set: AUROC, recall without false alarms, pixel AUROC."""
    with guarded():
        from differnet import config, datasets, evaluation_files
        from differnet.evaluate import evaluate as run

        if layout not in ("auto", "folder", "mvtec", "mtd"):
            raise typer.BadParameter(f"{layout!r} is not one of auto, folder, mvtec, mtd")
        resolved = config.resolve(preset, config.parse_assignments(settings or []))
        tables = datasets.read(data, layout, category or (), split)  # type: ignore[arg-type]
        documents = []
        for dataset in tables:
            err.print(repr(dataset))
            files = evaluation_files.Files(directory, dataset, len(tables) > 1)
            with bars() as progress:
                result = run(
                    dataset,
                    resolved,
                    range(seeds),
                    shots,
                    weights,
                    device,
                    maps,
                    progress,
                    files.on_map,
                    on_run=_tell_run,
                )
            documents.append(files.finish(result))
            if not json:
                _tell_evaluation(documents[-1])
        if json:
            print_json(evaluation_files.combine(documents))
        elif directory:
            out.print(f"Look at {directory}")


@app.command()
def demo(
    directory: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for data, model and pictures.")
    ] = Path("demo-output"),
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json: Json = False,
) -> None:
    """Run the whole job on real photographs with drawn defects: fit, judge, show."""
    with guarded():
        from differnet.showcase import run_demo

        with bars() as progress:
            document = run_demo(directory, seed, progress)
        if json:
            print_json(document)
        else:
            _tell_demo(document)


@app.command()
def info(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    json: Json = False,
) -> None:
    """Say what a model file is and was made from."""
    with guarded():
        from differnet.artifact import load, summarise

        summary = summarise(load(model))
        if json:
            print_json(summary)
            return
        for name, value in summary.items():
            out.print(f"{name:<26} {_short(value)}", markup=False)


def _groups(paths: list[Path], pattern: str) -> list[str]:
    from differnet.errors import ConfigError

    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--group-pattern {pattern!r} is not a regular expression: {error}") from error
    found = [expression.search(str(path)) for path in paths]
    missing = [path for path, match in zip(paths, found, strict=True) if match is None]
    if missing:
        raise ConfigError(
            f"--group-pattern {pattern!r} matches not in {len(missing)} paths, such as {missing[0]}"
        )
    return ["\0".join(match.groups() or (match.group(),)) for match in found if match]


def _tell_fit(detector: Any, model: Path, json: bool) -> None:
    promise = detector.promise
    if json:
        from differnet.artifact import summarise

        print_json({"model": str(model), **summarise(detector.model)})
        return
    out.print(f"Fitted on {detector.model.train_count} good images.")
    if promise:
        out.print(
            f"Threshold {promise.value:.4g} from {promise.count} held-out good images: a good part is "
            f"rejected with a probability of at most {promise.promised:.2%}."
        )
    out.print(f"Model file: {model}\nNext: differnet score {model} IMAGES --maps maps", markup=False)


def _tell_rows(judged: list[dict[str, Any]], threshold: float | None) -> None:
    for row in judged:
        verdict = {True: "[red]defective[/]", False: "[green]good     [/]", None: "-        "}[
            row["is_defective"]
        ]
        p = "" if row["p_value"] is None else f"  p {row['p_value']:.4f}"
        out.print(f"{verdict} {row['score']:>12.2f}{p}  ", end="")
        out.print(row["path"], markup=False)
    flagged = sum(bool(row["is_defective"]) for row in judged)
    limit = "no threshold" if threshold is None else f"threshold {threshold:.2f}"
    err.print(f"{len(judged)} images, {flagged} defective, {limit}")


def _tell_run(run: Any) -> None:
    err.print(
        f"seed {run.seed}: AUROC {run.image_auroc:.4f}, fit {run.fit_seconds:.0f} s, "
        f"score {1000 * run.score_seconds_per_image:.0f} ms an image"
    )


def _tell_evaluation(document: dict[str, Any]) -> None:
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
    out.print(
        f"  fit {document['fit_seconds']:.1f} s, score {1000 * document['score_seconds_per_image']:.0f} ms an image"
    )


def _tell_demo(document: dict[str, Any]) -> None:
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


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > 4:
        return f"{value[0]} ... {value[-1]} ({len(value)} values)"
    return "none" if value is None else str(value)
