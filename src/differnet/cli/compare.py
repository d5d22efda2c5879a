"""The command ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from differnet.cli.console import bars, err, guarded, out, print_json
from differnet.cli.options import Json, Preset, Set, Weights


def compare(
    data: Annotated[Path, typer.Argument(help="Data set, as for evaluate.")],
    methods: Annotated[
        str,
        typer.Option(
            help="Names with commas between: differnet, ocsvm, 1nn, mahalanobis, geotrans, ganomaly, dsebm, adgan, "
            "padim, patchcore, cflow, fastflow (the last four need 'differnet[compare]')."
        ),
    ] = "differnet,mahalanobis,1nn,ocsvm",
    layout: Annotated[str, typer.Option(help="As for evaluate.")] = "auto",
    category: Annotated[list[str] | None, typer.Option(help="Category; repeatable.")] = None,
    split: Annotated[Path | None, typer.Option(help="File naming the training images (mtd).")] = None,
    shots: Annotated[
        int | None, typer.Option(min=1, help="Train on this many images, drawn anew by each seed.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds: 0, 1, ...")] = 3,
    preset: Preset = "default",
    directory: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the table; finished cells are kept there.")
    ] = None,
    retime: Annotated[
        bool, typer.Option("--retime", help="Take times again that were taken on a busy or another machine.")
    ] = False,
    settings: Set = None,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Measure several methods on a labelled data set in one run: AUROC, pixel AUROC, AUPRO, time to fit and to score.

    Exits with 1 when a method failed; its row says why.
    """
    with guarded():
        from differnet.config import presets
        from differnet.data import datasets
        from differnet.data.square import with_mask_as_text
        from differnet.evaluation.comparison import table as comparison_table
        from differnet.evaluation.comparison.compare import compare as run

        if layout not in get_args(datasets.Layout):
            raise typer.BadParameter(f"{layout!r} is not one of {', '.join(get_args(datasets.Layout))}")
        tables = datasets.read(data, layout, category or (), split)  # type: ignore[arg-type]
        names = [name.strip() for name in methods.split(",") if name.strip()]
        resolved = presets.resolve(preset, with_mask_as_text(presets.parse_assignments(settings or [])))
        what = (tables, names, range(seeds), shots, directory, resolved, weights, retime)
        with bars(replace=True) as progress:
            found = run(*what, progress, _tell_result, _tell_failure)
        if directory:
            comparison_table.write(directory, found)
        if json:
            print_json(comparison_table.to_dict(found))
        else:
            _tell(comparison_table.rows(found), comparison_table.notes(found), directory)
    if found.failures:
        raise typer.Exit(1)


def _tell_result(result: Any, how: str) -> None:
    """Say on stderr how one cell went, or that it was there already."""
    case, times = result.case, result.times
    figure = "none" if result.image_auroc is None else f"{result.image_auroc:.4f}"
    note = {"measured": "", "kept": ", measured before", "timed again": ", timed again"}[how]
    err.print(
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
