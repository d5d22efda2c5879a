"""The command ``reproduce``: a table or figure of the paper, from one command."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table
from rich.text import Text

from differnet.cli import options
from differnet.cli.console import bars, guarded, out, print_json, side

if TYPE_CHECKING:
    from differnet.data.datasets import Dataset
    from differnet.evaluation.paper.files import Origin
    from differnet.evaluation.paper.report import Report, Target


def reproduce(
    context: typer.Context,
    target: options.Target,
    data: options.PaperData,
    directory: options.PaperFolder = Path("reproduction"),
    layout: options.LayoutName = "auto",
    category: options.Category = None,
    split: options.Split = None,
    seeds: options.PaperSeeds = 3,
    shots: options.PaperShots = None,
    count: options.PaperCounts = None,
    preset: options.PaperPreset = None,
    config: options.ConfigFile = None,
    settings: options.Set = None,
    weights: options.Weights = None,
    device: options.Device = "cpu",
    engine: options.Engine = "local",
    address: options.Address = None,
    json: options.Json = False,
) -> None:
    """Make a table or figure of the paper: published figures beside own ones, by seed, of the last epoch.

    A run that was stopped goes on where it was: finished cells are not computed again.
    """
    options.check_engine(engine, address)
    with guarded():
        from differnet.batch import executor, spread
        from differnet.config import presets
        from differnet.data import datasets
        from differnet.evaluation.paper import cells, files, targets
        from differnet.evaluation.paper.report import Study

        chosen = _chosen(target, shots, count)
        name = preset or ("paper" if weights not in (None, "random") else chosen.preset)
        resolved = options.settings_of(presets.resolve(name, chosen.settings), settings, config)
        tables = datasets.read(data, options.check_layout(layout), category or (), split)
        _check_before_fits(tables, directory / target)
        said = _copies(tables)
        counts = tuple(sorted(set(count or targets.COUNTS)))
        with bars() as progress, executor.manned(engine, address, device) as crew:
            lab = cells.Lab(directory / "cells", weights, device, progress, tell_cell)
            study = Study(tuple(tables), resolved, range(seeds), shots, counts, lab.run)
            report = spread.made(crew, chosen.make, study, lab)
        report = dataclasses.replace(report, notes=(*report.notes, *said))
        _finish(report, directory / target, files.Origin(_command(context), name, resolved), json)


def _chosen(target: str, shots: int | None, count: list[int] | None) -> Target:
    """Return a target by its name; refuses numbers of images that it would not look at."""
    from differnet.evaluation.paper.targets import TARGETS

    if target not in TARGETS:
        raise typer.BadParameter(f"{target!r} is not one of {options.TARGETS}")
    chosen = TARGETS[target]
    if shots is not None and not chosen.takes_shots:
        raise typer.BadParameter(f"{target} draws the numbers of --count; --shots is not for it")
    if count and not chosen.takes_counts:
        raise typer.BadParameter(f"--count is for fig7, not for {target}; --shots draws fewer images")
    return chosen


def _copies(tables: Sequence[Dataset]) -> list[str]:
    """Warn of test images that are for training as well, and return what was said."""
    from differnet.evaluation import copies

    with bars(replace=True) as progress:
        found = [(table, copies.before_fits(table, progress)) for table in tables]
    for one in found:
        copies.tell(*one)
    return [copies.sentence(*one) for one in found if one[1]]


def _check_before_fits(tables: Sequence[Dataset], target: Path) -> None:
    """Refuse what would be refused after hours: data that say nothing, and files that cannot be written."""
    from differnet.data.files import check_target
    from differnet.evaluation import plots
    from differnet.evaluation.paper.cells import check_kinds

    plots.check_there()
    for table in tables:
        side.print(repr(table), markup=False)
        check_kinds(table)
    for suffix in (".csv", ".md", ".png"):
        check_target(target.with_name(target.name + suffix))


def _finish(report: Report, target: Path, origin: Origin, json: bool) -> None:
    """Write table, page and picture, and show the table."""
    from differnet.evaluation.paper import files

    paths = files.write(target.parent, target.name, report, origin)
    if json:
        print_json(files.to_dict(target.name, report, origin))
    else:
        tell_table(report, paths)


def _command(context: typer.Context) -> str:
    """Return the command line again, of paths the name alone: a page is read on other machines."""
    words = ["differnet", "reproduce"]
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if source is None or source.name != "COMMANDLINE" or parameter.name == "json":
            continue
        value: Any = context.params[str(parameter.name)]
        for one in value if isinstance(value, (list, tuple)) else [value]:
            text = Path(one).name if isinstance(one, Path) or parameter.name == "weights" else str(one)
            words += [text] if parameter.param_type_name == "argument" else [parameter.opts[0], text]
    return shlex.join(words)


def tell_cell(cell: Any, was_kept: bool) -> None:
    """Say on stderr how one cell of a table came out."""
    how = "kept from before" if was_kept else f"fit {cell.fit_seconds:.0f} s"
    which = f"{cell.dataset}, seed {cell.seed}, {cell.n_train} training images"
    side.print(f"{which}: AUROC {cell.auroc:.4f} ({how})", markup=False)


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
