"""The command ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from differnet.cli import options
from differnet.cli.console import bars, err, guarded, out, print_json, side


def compare(
    data: Annotated[Path, typer.Argument(help="Data set, as for evaluate.")],
    methods: options.Methods = "differnet,mahalanobis,1nn,ocsvm",
    layout: Annotated[str, typer.Option(help="As for evaluate.")] = "auto",
    category: Annotated[list[str] | None, typer.Option(help="Category; repeatable.")] = None,
    split: options.Split = None,
    shots: options.ComparedShots = None,
    seeds: options.ComparedSeeds = 3,
    preset: options.Preset = "default",
    directory: options.ComparedFolder = None,
    retime: options.Retime = False,
    config: options.ConfigFile = None,
    settings: options.Set = None,
    weights: options.Weights = None,
    json: options.Json = False,
) -> None:
    """Measure several methods on a labelled data set in one run: AUROC, pixel AUROC, AUPRO, time to fit and to score.

    Exits with 1 when a method failed; its row says why.
    """
    with guarded():
        from differnet.data import datasets
        from differnet.evaluation.comparison.compare import compare as run

        resolved = options.settings_of(preset, settings, config)
        tables = datasets.read(data, options.check_layout(layout), category or (), split)
        names = [name.strip() for name in methods.split(",") if name.strip()]
        with bars(replace=True) as progress:
            found = run(
                tables,
                names,
                range(seeds),
                shots=shots,
                directory=directory,
                preset=resolved,
                weights=weights,
                retime=retime,
                progress=progress,
                on_result=_tell_result,
                on_failure=_tell_failure,
            )
        _finish(found, directory, json)
    if found.failures:
        raise typer.Exit(1)


def _finish(found: Any, directory: Path | None, json: bool) -> None:
    """Write the table, if there is a folder for it, and show it."""
    from differnet.evaluation.comparison import table

    if directory:
        table.write(directory, found)
    if json:
        print_json(table.to_dict(found))
    else:
        _tell(table.rows(found), table.notes(found), directory)


def _tell_result(result: Any, how: str) -> None:
    """Say on stderr how one cell went, or that it was there already."""
    case, times = result.case, result.times
    figure = "none" if result.image_auroc is None else f"{result.image_auroc:.4f}"
    note = {"measured": "", "kept": ", measured before", "timed again": ", timed again"}[how]
    side.print(
        f"{case.category}, {case.method}, seed {case.seed}: AUROC {figure}, fit {times.fit_seconds:.1f} s, "
        f"score {times.score_milliseconds:.0f} ms an image{note}",
        markup=False,
    )


def _tell_failure(failure: Any) -> None:
    case = failure.case
    err.print(
        f"{case.category}, {case.method}, seed {case.seed}: failed: {failure.reason}\n{failure.details}",
        markup=False,
    )


def _tell(rows: list[Any], notes: list[str], directory: Path | None) -> None:
    from differnet.evaluation.comparison.table import HEADINGS

    table = Table(box=SIMPLE)
    for position, heading in enumerate(HEADINGS[:-1]):
        table.add_column(heading, justify="left" if position < 2 else "right", no_wrap=position < 2)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row.cells()[:-1]))
    out.print(table, soft_wrap=False)
    for method, note in dict.fromkeys((row.method, row.note) for row in rows if row.note):
        out.print(f"{method}: {note}.", markup=False)
    for note in notes:
        out.print(note, markup=False)
    if directory:
        out.print(f"Look at {directory}", markup=False)
