"""The command line: what is here, and what :mod:`differnet.deciding` and the other commands have."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from differnet import __version__, deciding, options
from differnet.compare_command import compare
from differnet.console import bars, err, guarded, out, print_json
from differnet.export_command import export
from differnet.many_command import fit_many
from differnet.reproduce_command import reproduce
from differnet.runtime.memory import keep_large_tables_apart
from differnet.runtime.threads import use as use_threads
from differnet.score_command import score
from differnet.serve_command import export_good, make_key, serve
from differnet.telling import tell_demo, tell_evaluation, tell_fit, tell_model, tell_run
from differnet.watch_command import watch

app = typer.Typer(
    name="differnet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def main() -> None:
    """Run the command line; names that the terminal cannot write are escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    keep_large_tables_apart()
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


def fit(
    good: Annotated[Path, typer.Argument(help="Folder of good images.")],
    model: Annotated[Path, typer.Option("--out", "-o", help="Model file to write.")],
    preset: options.Preset = "default",
    seed: options.Seed = 0,
    rate: options.Rate = None,
    confidence: options.Confidence = None,
    review_rate: options.ReviewRate = None,
    group_pattern: options.GroupPattern = None,
    group_table: options.GroupTable = None,
    group_column: options.GroupColumn = "group",
    folds: Annotated[
        int | None, typer.Option(help="Few images: calibrate on all of them, by that many folds (5).")
    ] = None,
    ignore: Annotated[
        Path | None, typer.Option(help="Mask image: what is white does not matter and is not looked at.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder to keep progress in; run again to go on after a stop.")
    ] = None,
    settings: options.Set = None,
    weights: options.Weights = None,
    device: options.Device = "cpu",
    json: options.Json = False,
) -> None:
    """Learn from a folder of good images and write a model file."""
    with guarded():
        from differnet.config import presets
        from differnet.data import groups
        from differnet.data.datasets import find_good
        from differnet.data.files import check_target
        from differnet.detector.detector import DifferNet
        from differnet.flow.train import by_epoch

        asked: dict[str, Any] = {
            "rate": rate,
            "confidence": confidence,
            "review_rate": review_rate,
            "folds": folds,
        }
        asked |= {"ignore": ignore}
        values = presets.parse_assignments(settings or []) | {k: v for k, v in asked.items() if v is not None}
        detector = DifferNet(preset, seed, weights, device, **values)
        check_target(model)
        paths = find_good(good)
        with bars() as progress:
            detector.fit(
                paths,
                groups=groups.of_paths(paths, group_pattern, group_table, group_column, good),
                checkpoint=checkpoint,
                progress=progress,
                on_epoch=by_epoch(progress),
            )
        detector.save(model)
        tell_fit(detector, model, json)


def quantize(
    model: Annotated[Path, typer.Argument(help="Model file that was fitted in floats.")],
    good: Annotated[Path, typer.Argument(help="Folder of good images that it was not fitted to.")],
    target: Annotated[Path, typer.Option("--out", "-o", help="Model file to write.")],
    weights: options.Weights = None,
    json: options.Json = False,
) -> None:
    """Change a model to 8-bit integers, its backbone twice as fast, if good images show that its scores hold."""
    with guarded():
        from dataclasses import asdict

        from differnet.data.datasets import find_good
        from differnet.data.files import check_target
        from differnet.detector.detector import DifferNet

        check_target(target)
        detector = DifferNet.load(model, weights)
        with bars() as progress:
            gate = detector.quantize(find_good(good), progress)
        detector.save(target)
        if json:
            print_json({"model": str(target), "threshold": detector.threshold, **asdict(gate)})
        else:
            out.print(f"Passed: {gate}.\nModel file: {target}", markup=False)


def evaluate(
    data: Annotated[
        Path, typer.Argument(help="Data set: a folder, a table (.csv, .parquet), or elpv for the package.")
    ],
    layout: options.LayoutName = "auto",
    category: options.Category = None,
    split: options.Split = None,
    shots: options.Shots = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many seeds: 0, 1, ...; if not given, 1, or 3 with --shots.")
    ] = None,
    preset: options.Preset = "default",
    directory: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for figures, scores and pictures.")
    ] = None,
    maps: options.Maps = True,
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
        from differnet.config import presets
        from differnet.data import datasets
        from differnet.data.square import with_mask_as_text
        from differnet.evaluation import results

        resolved = presets.resolve(preset, with_mask_as_text(presets.parse_assignments(settings or [])))
        tables = datasets.read(data, options.check_layout(layout), category or (), split)
        count = seeds or (1 if shots is None else 3)
        asked = spread.Asked(resolved, range(count), shots, weights, device, maps)
        documents = []
        for table in tables:
            err.print(repr(table))
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
    json: options.Json = False,
) -> None:
    """Run the whole job on real photographs with drawn defects: fit, judge, show."""
    with guarded():
        from differnet.evaluation.demo import run_demo

        with bars() as progress:
            document = run_demo(directory, seed, progress)
        if json:
            print_json(document)
        else:
            tell_demo(document)


def info(
    model: options.Model,
    json: options.Json = False,
) -> None:
    """Say what a model file is and was made from."""
    with guarded():
        from differnet.detector.model import summarise
        from differnet.detector.model_file import load

        summary = summarise(load(model))
        if json:
            print_json(summary)
            return
        tell_model(summary)


app.command()(fit)
app.command()(score)
app.command()(quantize)
app.command()(evaluate)
app.command()(fit_many)
app.command()(reproduce)
app.command()(compare)
app.command()(demo)
app.command()(info)
app.command()(deciding.calibrate)
app.command()(deciding.report)
app.command()(export)
app.command()(serve)
app.command()(make_key)
app.command()(export_good)
app.command()(watch)
