"""One table of a comparison: a row a method, as CSV, Markdown and JSON."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from differnet.compare import Result
from differnet.storage import write_whole

MEAN = "mean"
HEADINGS = ("data", "method", "AUROC", "spread", "pixel AUROC", "fit, s", "ms an image")


@dataclass(frozen=True)
class Row:
    """The figures of a method on a category, or their means over all categories.

    ``auroc_spread``: the sample standard deviation over seeds, nothing for one seed. Times are means.
    """

    data: str
    method: str
    seeds: int
    auroc: float | None
    auroc_spread: float | None
    pixel_auroc: float | None
    fit_seconds: float
    milliseconds_an_image: float

    def cells(self) -> tuple[str, ...]:
        """Return the text of each of the ``HEADINGS``, empty where nothing is known."""
        known = (self.auroc, self.auroc_spread, self.pixel_auroc)
        figures = ["" if value is None else f"{value:.4f}" for value in known]
        return (
            self.data,
            self.method,
            *figures,
            f"{self.fit_seconds:.1f}",
            f"{self.milliseconds_an_image:.1f}",
        )


def rows(results: Sequence[Result]) -> list[Row]:
    """Return a row for every category and method, in order, and with several categories one for their mean."""
    categories = list(dict.fromkeys(result.cell.category for result in results))
    methods = list(dict.fromkeys(result.cell.method for result in results))
    table = [_row(c, m, _of(results, c, m)) for c in categories for m in methods if _of(results, c, m)]
    if len(categories) == 1:
        return table
    return table + [
        _mean(method, [row for row in table if row.method == method], results) for method in methods
    ]


def write(directory: Path, results: Sequence[Result]) -> list[Path]:
    """Write ``comparison.csv`` and ``comparison.md``."""
    table = rows(results)
    paths = [directory / "comparison.csv", directory / "comparison.md"]
    write_whole(paths[0], _csv(table).encode("utf-8", "surrogateescape"))
    write_whole(paths[1], _markdown(table, results).encode("utf-8", "surrogateescape"))
    return paths


def to_dict(results: Sequence[Result]) -> dict[str, Any]:
    """Return rows and cells as JSON types."""
    return {
        "rows": [asdict(row) for row in rows(results)],
        "cells": [asdict(result) | {"depends": dict(result.depends)} for result in results],
    }


def notes(results: Sequence[Result]) -> list[str]:
    """Say in sentences what the table was measured on and how."""
    seeds = sorted({result.cell.seed for result in results})
    counts = sorted({result.train_count for result in results})
    shots = results[0].cell.shots
    drawn = "all training images" if shots is None else f"{shots} training images, drawn by each seed"
    between = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    machines = dict.fromkeys(result.depends["machine"] for result in results)
    versions = dict.fromkeys(result.depends["versions"] for result in results)
    return [
        f"Fitted to {drawn} ({between}), seeds {', '.join(map(str, seeds))}; the spread is the standard deviation over "
        "seeds.",
        "Images were scored one at a time, decoding included; pixel AUROC where there are maps and masks.",
        f"{'; '.join(machines)}. {'; '.join(versions)}.",
    ]


def _of(results: Iterable[Result], category: str, method: str) -> list[Result]:
    return [r for r in results if (r.cell.category, r.cell.method) == (category, method)]


def _row(category: str, method: str, found: Sequence[Result]) -> Row:
    each = [result.image_auroc for result in found if result.image_auroc is not None]
    return Row(
        data=category,
        method=method,
        seeds=len(found),
        auroc=_average(each),
        auroc_spread=statistics.stdev(each) if len(each) > 1 else None,
        pixel_auroc=_average([result.pixel_auroc for result in found]),
        fit_seconds=statistics.fmean(result.fit_seconds for result in found),
        milliseconds_an_image=statistics.fmean(result.score_milliseconds for result in found),
    )


def _mean(method: str, found: Sequence[Row], results: Sequence[Result]) -> Row:
    """Average over categories; the spread is that of the mean over categories, from seed to seed."""
    mine = [result for result in results if result.cell.method == method]
    seeds = dict.fromkeys(result.cell.seed for result in mine)
    by_seed = [_average([r.image_auroc for r in mine if r.cell.seed == seed]) for seed in seeds]
    each = [value for value in by_seed if value is not None]
    return Row(
        data=MEAN,
        method=method,
        seeds=len(seeds),
        auroc=_average([row.auroc for row in found]),
        auroc_spread=statistics.stdev(each) if len(each) > 1 else None,
        pixel_auroc=_average([row.pixel_auroc for row in found]),
        fit_seconds=statistics.fmean(row.fit_seconds for row in found),
        milliseconds_an_image=statistics.fmean(row.milliseconds_an_image for row in found),
    )


def _average(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _csv(table: Sequence[Row]) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, [field.name for field in fields(Row)])
    writer.writeheader()
    writer.writerows(asdict(row) for row in table)
    return buffer.getvalue()


def _markdown(table: Sequence[Row], results: Sequence[Result]) -> str:
    lines = ["# Comparison", "", *_grid([HEADINGS, *(row.cells() for row in table)]), ""]
    return "\n".join([*lines, *(line + "\n" for line in notes(results))])


def _grid(texts: Sequence[Sequence[str]]) -> list[str]:
    head, *body = [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in texts]
    return [head, "|---|---|" + "---:|" * (len(texts[0]) - 2), *body]
