"""One table of a comparison: a row a method, as CSV, Markdown and JSON."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from differnet.data.files import write_whole
from differnet.data.spreadsheet import cells
from differnet.errors import agreeing, counted
from differnet.evaluation.baselines.catalogue import REMARKS
from differnet.evaluation.comparison.cells import Failure, Result
from differnet.evaluation.comparison.compare import Comparison

MEAN = "mean"
HEADINGS = ("data", "method", "AUROC", "pixel AUROC", "AUPRO", "fit, s", "ms an image", "note")
_LONGEST = 160  # letters of a reason


@dataclass(frozen=True)
class MethodFigures:
    """The figures of a method on a category, or their means over all categories; nothing where all seeds failed.

    Spreads are the sample standard deviation over seeds (which draw the training images, where there are shots),
    nothing for one seed. Times are means; ``others``: the largest share of the machine that others took meanwhile.
    """

    data: str
    method: str
    seeds: int
    auroc: float | None = None
    auroc_spread: float | None = None
    pixel_auroc: float | None = None
    pixel_auroc_spread: float | None = None
    pixel_aupro: float | None = None
    pixel_aupro_spread: float | None = None
    fit_seconds: float | None = None
    milliseconds_an_image: float | None = None
    others: float | None = None
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """Return the text of each of the ``HEADINGS``, empty where nothing is known."""
        times = ["" if t is None else f"{t:.1f}" for t in (self.fit_seconds, self.milliseconds_an_image)]
        figures = (
            (self.auroc, self.auroc_spread),
            (self.pixel_auroc, self.pixel_auroc_spread),
            (self.pixel_aupro, self.pixel_aupro_spread),
        )
        texts = [_with_spread(value, spread) for value, spread in figures]
        return (self.data, self.method, *texts, *times, self.note)


def rows(found: Comparison) -> list[MethodFigures]:
    """Return a row for every category and method, in order, and with several categories one for their mean."""
    table = [_row(category, method, found) for category in found.categories for method in found.methods]
    if len(found.categories) == 1:
        return table
    return table + [_mean(method, table, found) for method in found.methods]


def write(directory: Path, found: Comparison) -> list[Path]:
    """Write ``comparison.csv`` and ``comparison.md``."""
    table = rows(found)
    paths = [directory / "comparison.csv", directory / "comparison.md"]
    write_whole(paths[0], _csv(table).encode("utf-8", "surrogateescape"))
    write_whole(paths[1], _markdown(table, found).encode("utf-8", "surrogateescape"))
    return paths


def to_dict(found: Comparison) -> dict[str, Any]:
    """Return rows, cells and failures as JSON types."""
    return {
        "rows": [asdict(row) for row in rows(found)],
        "cells": [_values(result) for result in found.results],
        "failures": [_values(failure) for failure in found.failures],
        "n_fitted_to": {name: len(copies) for name, copies in found.copies.items()},
    }


def _values(one: Result | Failure) -> dict[str, Any]:
    values = asdict(one)
    return {"cell": values.pop("case"), **values}


def notes(found: Comparison) -> list[str]:
    """Say in sentences what the table was measured on and how."""
    results = found.results
    if not results:
        return ["Nothing could be measured."]
    seeds = sorted({result.case.seed for result in results})
    counts = sorted({result.train_count for result in results})
    shots = results[0].case.shots
    drawn = "all training images" if shots is None else f"{shots} training images, drawn by each seed"
    between = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    machines = dict.fromkeys(result.times.machine for result in results)
    versions = dict.fromkeys(result.depends["versions"] for result in results)
    return [
        f"Fitted to {drawn} ({between}), seeds {', '.join(map(str, seeds))}; figures are means over seeds, with the "
        "standard deviation where there are several.",
        "Images were scored one at a time, decoding included, without a map but where the note says with it; pixel "
        "AUROC and AUPRO (to 30 % false-positive pixels) where there are maps and masks.",
        f"{'; '.join(machines)}. {'; '.join(versions)}.",
        *(
            f"Too good: {counted(len(copies), 'test image')} of {name} {agreeing(len(copies), 'is', 'are')} for "
            f"training as well, as copies or by another path, such as {copies[0].name}."
            for name, copies in found.copies.items()
            if copies
        ),
    ]


def _row(category: str, method: str, found: Comparison) -> MethodFigures:
    mine = [r for r in found.results if (r.case.category, r.case.method) == (category, method)]
    failed = [f for f in found.failures if (f.case.category, f.case.method) == (category, method)]
    times = [result.times for result in mine]
    image, image_spread = _statistics(result.image_auroc for result in mine)
    pixel, pixel_spread = _statistics(result.pixel_auroc for result in mine)
    regions, regions_spread = _statistics(result.pixel_aupro for result in mine)
    return MethodFigures(
        data=category,
        method=method,
        seeds=len(mine),
        auroc=image,
        auroc_spread=image_spread,
        pixel_auroc=pixel,
        pixel_auroc_spread=pixel_spread,
        pixel_aupro=regions,
        pixel_aupro_spread=regions_spread,
        fit_seconds=_average(time.fit_seconds for time in times),
        milliseconds_an_image=_average(time.score_milliseconds for time in times),
        others=max((time.others for time in times if time.others is not None), default=None),
        note="; ".join([*_remark(method), *_said(mine), *_busy(mine), *_failed(failed, len(mine))]),
    )


def _mean(method: str, table: Sequence[MethodFigures], found: Comparison) -> MethodFigures:
    """Average over categories, where there is a figure of each; spreads are those of the mean, from seed to seed."""
    mine = [row for row in table if row.method == method]
    results = [result for result in found.results if result.case.method == method]
    categories = len(found.categories)
    missing = sum(row.seeds == 0 for row in mine)
    failed = [failure for failure in found.failures if failure.case.method == method]
    said = [*_remark(method), *_said(results), *_busy(results)]
    if missing:
        said.append(f"no mean: failed on {missing} of {categories}")
        return MethodFigures(MEAN, method, 0, note="; ".join(said))
    said += _failed(failed, len(results), "fits")
    seeds = dict.fromkeys(result.case.seed for result in results)
    of_seed = [[result for result in results if result.case.seed == seed] for seed in seeds]
    whole = [some for some in of_seed if len(some) == categories]
    _, image_spread = _statistics(_of_all(result.image_auroc for result in some) for some in whole)
    _, pixel_spread = _statistics(_of_all(result.pixel_auroc for result in some) for some in whole)
    _, regions_spread = _statistics(_of_all(result.pixel_aupro for result in some) for some in whole)
    return MethodFigures(
        data=MEAN,
        method=method,
        seeds=len(whole),
        auroc=_of_all(row.auroc for row in mine),
        auroc_spread=image_spread,
        pixel_auroc=_of_all(row.pixel_auroc for row in mine),
        pixel_auroc_spread=pixel_spread,
        pixel_aupro=_of_all(row.pixel_aupro for row in mine),
        pixel_aupro_spread=regions_spread,
        fit_seconds=_average(row.fit_seconds for row in mine),
        milliseconds_an_image=_average(row.milliseconds_an_image for row in mine),
        others=max((row.others for row in mine if row.others is not None), default=None),
        note="; ".join(said),
    )


def _remark(method: str) -> list[str]:
    return [REMARKS[method]] if method in REMARKS else []


def _said(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(_short(result.note) for result in results if result.note))


def _busy(results: Sequence[Result]) -> list[str]:
    shares = [result.times.others for result in results if result.times.is_busy]
    if not shares:
        return []
    return [f"times from a busy machine: others took up to {max(s for s in shares if s):.0%} of it"]


def _failed(failures: Sequence[Failure], measured: int, what: str = "seeds") -> list[str]:
    if not failures:
        return []
    return [f"failed for {len(failures)} of {measured + len(failures)} {what}: {_short(failures[0].reason)}"]


def _short(reason: str) -> str:
    return reason if len(reason) <= _LONGEST else reason[: _LONGEST - 3] + "..."


def _of_all(values: Iterable[float | None]) -> float | None:
    """Return the mean, nothing where any value is missing: a mean over fewer categories is another figure."""
    listed = list(values)
    return None if None in listed else _average(listed)


def _average(values: Iterable[float | None]) -> float | None:
    return _statistics(values)[0]


def _statistics(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Return mean and sample standard deviation of what is known."""
    known = [value for value in values if value is not None]
    spread = statistics.stdev(known) if len(known) > 1 else None
    return (statistics.fmean(known) if known else None), spread


def _with_spread(value: float | None, spread: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if spread is None else f"{value:.4f} ± {spread:.4f}"


def _csv(table: Sequence[MethodFigures]) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, [field.name for field in fields(MethodFigures)])
    writer.writeheader()
    writer.writerows(cells(asdict(row)) for row in table)
    return buffer.getvalue()


def _markdown(table: Sequence[MethodFigures], found: Comparison) -> str:
    lines = ["# Comparison", "", *_grid([HEADINGS, *(row.cells() for row in table)]), ""]
    return "\n".join([*lines, *(line + "\n" for line in notes(found))])


def _grid(texts: Sequence[Sequence[str]]) -> list[str]:
    head, *body = [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in texts]
    return [head, "|---|---|" + "---:|" * (len(texts[0]) - 3) + "---|", *body]
