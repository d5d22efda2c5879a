"""The command line: fit, score, quantize, evaluate, demo, info."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from differnet import __version__
from differnet.console import bars, err, guarded, out, print_json, print_json_rows
from differnet.telling import tell_demo, tell_evaluation, tell_fit, tell_model, tell_rows, tell_run
from differnet.threads import use as use_threads

app = typer.Typer(
    name="differnet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Preset = Annotated[str, typer.Option(help="Settings to start from: default, fast, turned or paper.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Replace one setting, e.g. epochs=20; repeatable."),
]
Weights = Annotated[
    str | None, typer.Option(help="File of backbone weights (.pth or .safetensors), for use offline.")
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")]


def main() -> None:
    """Run the command line; names that the terminal cannot write are escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"differnet {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[  # noqa: ARG001  its callback has done it
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads to compute with (default: all cores).")
    ] = None,
) -> None:
    """Visual defect detection from good images alone (DifferNet, WACV 2021)."""
    with guarded():
        use_threads(threads)


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
    ignore: Annotated[
        Path | None, typer.Option(help="Mask image: what is white does not matter and is not looked at.")
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

        asked = {"rate": rate, "ignore": ignore}
        values = config.parse_assignments(settings or []) | {k: v for k, v in asked.items() if v is not None}
        detector = DifferNet(preset, seed, weights, device, **values)
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
        tell_fit(detector, model, json)


@app.command()
def score(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    paths: Annotated[list[Path], typer.Argument(help="Images or folders.")],
    table: Annotated[Path | None, typer.Option("--out", "-o", help="Write rows to .csv or .jsonl.")] = None,
    maps: Annotated[Path | None, typer.Option(help="Folder for overlays (PNG) and raw maps (NPY).")] = None,
    views: Annotated[
        str | None,
        typer.Option(help="Views an image: a number, or auto to stop as soon as the verdict is certain."),
    ] = None,
    on_error: Annotated[
        str,
        typer.Option(
            help="What an image that cannot be judged does: fail, or skip with a row that says why."
        ),
    ] = "fail",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run to --out that was broken off.")
    ] = False,
    all_pages: Annotated[
        bool, typer.Option("--all-pages", help="Judge every page of a TIFF, not the first.")
    ] = False,
    fail_on_defect: Annotated[bool, typer.Option(help="Exit with 1 when an image was flagged.")] = False,
    weights: Weights = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Judge images: score, p-value, verdict, and heat maps on request. Exits with 3 when images were skipped."""
    with guarded():
        from differnet import rows
        from differnet.detector import DifferNet
        from differnet.errors import NotFittedError
        from differnet.verdict import threshold_for

        if on_error not in get_args(rows.OnError):
            raise typer.BadParameter(f"--on-error {on_error}: fail or skip was wanted")
        if resume and table is None:
            raise typer.BadParameter("--resume goes on with a table: name it with --out")
        rows.check_target(table)
        detector = DifferNet.load(model, weights, device)
        if fail_on_defect and detector.threshold is None:
            raise NotFittedError(f"--fail-on-defect: {model} has no threshold (it was fitted with holdout=0)")
        count = _count(views)
        found = rows.inputs(paths, on_error, all_pages)  # type: ignore[arg-type]
        options = {"views": count, "maps": maps and str(maps), "on-error": on_error, "device": device}
        with bars() as progress, rows.collecting(table, model, options, resume, maps is not None) as judged:
            rows.check_done(judged, found)
            for row in rows.judge_all(detector, found, maps, progress, count, on_error, judged.count):  # type: ignore[arg-type]
                judged.add(row)
        promise = threshold_for(detector.model, None if count == "auto" else count)
        theta = None if promise is None else promise.value
        if json:
            head = {"model": str(model), "threshold": theta, "skipped": judged.skipped}
            print_json_rows(head, "images", judged)
        else:
            tell_rows(judged, theta)
    if judged.skipped:
        raise typer.Exit(3)
    if fail_on_defect and judged.flagged:
        raise typer.Exit(1)


@app.command()
def quantize(
    model: Annotated[Path, typer.Argument(help="Model file that was fitted in floats.")],
    good: Annotated[Path, typer.Argument(help="Folder of good images that it was not fitted to.")],
    target: Annotated[Path, typer.Option("--out", "-o", help="Model file to write.")],
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Change a model to 8-bit integers, its backbone twice as fast, if good images show that its scores hold."""
    with guarded():
        from dataclasses import asdict

        from differnet.datasets import find_good
        from differnet.detector import DifferNet
        from differnet.storage import check_target

        check_target(target)
        detector = DifferNet.load(model, weights)
        with bars() as progress:
            gate = detector.quantize(find_good(good), progress)
        detector.save(target)
        if json:
            print_json({"model": str(target), "threshold": detector.threshold, **asdict(gate)})
        else:
            out.print(f"Passed: {gate}.\nModel file: {target}", markup=False)


@app.command()
def evaluate(
    data: Annotated[Path, typer.Argument(help="Data set: a folder, or elpv for the installed package.")],
    layout: Annotated[str, typer.Option(help="auto, folder, mvtec, mtd or elpv.")] = "auto",
    category: Annotated[
        list[str] | None, typer.Option(help="MVTec category, or mono or poly; repeatable.")
    ] = None,
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
        from differnet.frame import with_mask_as_text

        if layout not in get_args(datasets.Layout):
            raise typer.BadParameter(f"{layout!r} is not one of {', '.join(get_args(datasets.Layout))}")
        resolved = config.resolve(preset, with_mask_as_text(config.parse_assignments(settings or [])))
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
                    on_run=tell_run,
                )
            documents.append(files.finish(result))
            if not json:
                tell_evaluation(documents[-1])
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
            tell_demo(document)


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
        tell_model(summary)


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


def _count(views: str | None) -> Any:
    """Read ``--views``: nothing, a number, or auto."""
    if views is None or views == "auto":
        return views
    if not views.isdecimal() or int(views) < 1:
        raise typer.BadParameter(f"--views {views}: a number from 1, or auto, was wanted")
    return int(views)
