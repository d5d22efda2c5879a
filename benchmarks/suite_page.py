"""The page of ``suite.py``: means over the sets, a table for each, and what they were measured by."""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from differnet.data.files import write_whole
from differnet.evaluation.baselines import peers
from report import machine
from suite_cell import MOST_REMEMBERED, OURS, SIZE, Cell, Figures

METHODS = (OURS, "padim", "patchcore")
BUSY = 0.1  # processors that others may take before times are marked
IN_BRACKETS = re.compile(r" \([^()]*\)")  # what a choice was made by
_LONGEST = 160  # letters of a reason
_NUMBERS = [field.name for field in fields(Figures) if field.name not in ("machine", "said")]
HEAD = (
    "| method | AUROC | recall without a false alarm | pixel AUROC | AUPRO | false alarms: seen / promised, % "
    "| fit, s | ms an image | GiB | others | note |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"
)
Values = dict[str, float | None]


@dataclass(frozen=True)
class Shown:
    """A data set on the page: images to fit to, good, defective, and those with masks; cells by method and seed.

    ``unread``: why it could not be read, where that is so.
    """

    name: str
    is_demo: bool
    counts: tuple[int, ...]
    cells: dict[str, tuple[Cell, ...]]
    unread: str = ""

    def figures(self, method: str) -> list[Figures]:
        """Return what was measured, a seed each."""
        return [cell.figures for cell in self.cells.get(method, ()) if cell.figures]


def over_seeds(found: Sequence[Figures]) -> Values:
    """Return the mean of each figure over seeds, of memory and of what others took the largest."""
    values = {name: [getattr(one, name) for one in found] for name in _NUMBERS}
    largest = {name: _most(values[name]) for name in ("peak_gib", "others")}
    return {name: _mean(each) for name, each in values.items()} | largest


def over_sets(sets: Sequence[Shown], method: str) -> Values:
    """Return the mean of each figure over those sets that have it; each set counts once."""
    each = [over_seeds(one.figures(method)) for one in sets if one.figures(method)]
    values = {name: [of_set[name] for of_set in each] for name in _NUMBERS}
    largest = {name: _most(values[name]) for name in ("peak_gib", "others")}
    return {name: _mean(all_of_it) for name, all_of_it in values.items()} | largest


def in_short(cell: Cell) -> str:
    """Say in a line how a cell went."""
    one = cell.figures
    if one is None:
        return cell.failure
    auroc = "none" if one.auroc is None else f"{one.auroc:.4f}"
    return f"AUROC {auroc}, fit {one.fit_seconds:.1f} s, {one.score_milliseconds:.1f} ms an image"


def write(options: argparse.Namespace, sets: Sequence[Shown]) -> None:
    """Write ``suite.md``."""
    real, demo = [one for one in sets if not one.is_demo], [one for one in sets if one.is_demo]
    lines = ["# Many sets", "", f"`{_command(options)}`", "", *INTRODUCTION.splitlines(), "", *_means(real)]
    for one in real:
        lines += _section(one)
    if demo:
        lines += ["## Textures of the demo", "", "Drawn defects on photographs; not in any mean above.", ""]
        for one in demo:
            lines += _section(one)
    machines = {figures.machine for one in sets for method in one.cells for figures in one.figures(method)}
    lines += [f"Measured on {'; '.join(sorted(machines)) or 'no machine yet'}.", "", machine(), ""]
    write_whole(options.out / "suite.md", "\n".join(lines).encode())


def _command(options: argparse.Namespace) -> str:
    """Return the command without names of folders, which are nobody's business."""
    parts = ["python benchmarks/suite.py"]
    parts += ["--suite FOLDER"] if options.suite else []
    parts += ["--mtd FOLDER --mtd-split FILE"] if options.mtd else []
    parts += [f"--{name}" for name in ("elpv", "demo") if getattr(options, name)]
    parts += [f"--set {assignment}" for assignment in options.set]
    return " ".join(parts)


def _methods(sets: Sequence[Shown]) -> list[str]:
    return list(dict.fromkeys(method for one in sets for method, cells in one.cells.items() if cells))


def _means(sets: Sequence[Shown]) -> list[str]:
    """Return the means over what each method was measured on, and those over what all were measured on."""
    methods = [method for method in _methods(sets) if any(one.figures(method) for one in sets)]
    if not methods:
        return []
    own = {method: [one for one in sets if one.figures(method)] for method in methods}
    common = [one for one in sets if all(one.figures(method) for method in methods)]
    lines = ["## Means over sets", "", HEAD]
    for method in methods:
        masks = sum(over_seeds(one.figures(method))["pixel_auroc"] is not None for one in own[method])
        note = f"{len(own[method])} of {len(sets)} sets, pixels on {masks}"
        lines.append(_row(method, over_sets(own[method], method), note))
    if common and any(len(some) > len(common) for some in own.values()):
        names = ", ".join(one.name for one in common)
        lines += ["", f"Over the sets on which all of these were measured: {names}.", ""]
        lines += [
            HEAD,
            *(_row(method, over_sets(common, method), "") for method in methods),
        ]
    return [*lines, ""]


def _section(one: Shown) -> list[str]:
    lines = [f"## {one.name}", ""]
    if one.unread:
        return [*lines, f"Not measured: {one.unread}", ""]
    train, good, defective, masks = one.counts
    lines += [
        f"{train} images to fit to; {good} good, {defective} defective ({masks} with masks) to judge.",
        "",
    ]
    methods = _methods([one])
    if not methods:
        return [*lines, "Not measured yet.", ""]
    rows = [_row_of_set(one, method) for method in methods]
    return [*lines, HEAD, *rows, ""]


def _row_of_set(one: Shown, method: str) -> str:
    found = one.figures(method)
    said = [IN_BRACKETS.sub("", figures.said) for figures in found]
    said += [f"seed {cell.seed}: {cell.failure}" for cell in one.cells[method] if not cell.figures]
    note = "; ".join(dict.fromkeys(_short(reason) for reason in said if reason))
    return _row(method, over_seeds(found), note, [figures.auroc for figures in found])


def _row(first: str, of: Values, note: str, each: Sequence[float | None] = ()) -> str:
    auroc = "" if of["auroc"] is None else f"**{of['auroc']:.4f}**"
    if len(each) > 1:
        auroc += f" ({', '.join(_text(value, '.4f') for value in each)})"
    busy = "*" if of["others"] is not None and of["others"] > BUSY else ""
    seen, promised = (
        _text(None if v is None else 100 * v, ".1f") for v in (of["false_alarms"], of["promised"])
    )
    times = [_text(of[name], ".1f") + busy for name in ("fit_seconds", "score_milliseconds")]
    cells = [
        first,
        auroc,
        *(_text(of[name], ".3f") for name in ("recall", "pixel_auroc", "pixel_aupro")),
        f"{seen} / {promised}" if seen or promised else "",
        *(times if of["fit_seconds"] is not None else ("", "")),
        _text(of["peak_gib"], ".1f"),
        _text(of["others"], ".2f"),
        note.replace("|", "/"),
    ]
    return f"| {' | '.join(cells)} |"


def _short(reason: str) -> str:
    return reason if len(reason) <= _LONGEST else reason[: _LONGEST - 3] + "..."


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return statistics.fmean(known) if known else None


def _most(values: Iterable[float | None]) -> float | None:
    return max(_known(values), default=None)


INTRODUCTION = f"""\
The default preset as it stands, without an option for any set, last epoch, beside anomalib's PaDiM and PatchCore by
the code of `differnet compare`: the same images and backbone weights, but at our size, {SIZE} x {SIZE}. PatchCore
remembers 1 % of the patches, and looks at more than {MOST_REMEMBERED} images at {peers.SIZE} x {peers.SIZE}, anomalib's
default, since choosing patches takes a time that grows with the square of their number.
**The defaults were chosen by these very sets**: the figures say how well one setting can suit them all, and promise
nothing for others.

Means over seeds, each AUROC in brackets. *Recall without a false alarm*: the share of defective images above every good
one. *False alarms*: the share of good test images rejected, and what the threshold promised. Pixels: AUROC, and AUPRO
up to 30 % false-positive pixels, where there are masks. Fit and score by the clock, decoding included; `differnet`
decodes ahead while it scores, the others score one image at a time and draw its map with it. Its fit finds the scale
of maps, too, where maps are drawn. *GiB*: the largest resident set of a process that did all of this. *Others*: how
many processors other programs took meanwhile; of both the largest is shown. Times marked * are from a machine of which
others took more than {BUSY:g} processors.
"""
