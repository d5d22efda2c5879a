"""Measure several methods on the same labelled data in one run: accuracy, time to fit, time to score.

A finished cell (method, category, seed, shots) is kept with all that it depended on, and is not measured again while
that is the same. A method that fails does not end the run.
"""

from __future__ import annotations

import math
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import sklearn

from differnet.config import presets
from differnet.data.datasets import Dataset
from differnet.data.samples import check_masks
from differnet.data.stream import Progress, silent
from differnet.detector.model import versions
from differnet.errors import (
    ConfigError,
    DifferNetError,
    DifferNetWarning,
    LayoutError,
    NumericalError,
    in_a_line,
)
from differnet.evaluation.baselines.catalogue import create
from differnet.evaluation.baselines.method import Localizer, Method, Remarking
from differnet.evaluation.comparison.cells import Cell, Failure, Kept, Result, Times
from differnet.evaluation.metrics import PixelFigures, auroc, pixel_figures
from differnet.evaluation.timing import Stopwatch, machine
from differnet.features.backbone.weights import digest_of_weights

How = Literal["measured", "kept", "timed again"]
OnResult = Callable[[Result, How], None]
OnFailure = Callable[[Failure], None]
_SAME_AUROC = 0.002  # of the same fit by another number of threads


@dataclass(frozen=True)
class Comparison:
    """All cells of a run, in the order of ``categories``, ``methods`` and seeds, those that failed by themselves."""

    categories: tuple[str, ...]
    methods: tuple[str, ...]
    results: tuple[Result, ...]
    failures: tuple[Failure, ...] = ()


def compare(
    tables: Sequence[Dataset],
    names: Sequence[str],
    seeds: Sequence[int] = (0, 1, 2),
    shots: int | None = None,
    directory: Path | None = None,
    preset: str | presets.Config = "default",
    weights: str | None = None,
    retime: bool = False,
    progress: Progress = silent,
    on_result: OnResult = lambda result, how: None,
    on_failure: OnFailure = lambda failure: None,
) -> Comparison:
    """Fit every method to the training images of every table once a seed, and score the test images.

    ``directory``: where finished cells are kept. ``preset`` and ``weights``: see
    :func:`differnet.evaluation.baselines.catalogue.create`. ``retime``: take the times of finished cells again unless
    they were taken on this machine while others left it alone. ``on_result`` and ``on_failure`` see every cell when
    it is there. Raises :class:`ConfigError` for unknown methods, :class:`MissingExtraError` for those whose package
    is missing, and :class:`LayoutError` for data that cannot be compared on, masks that do not fit their images among
    it, and :class:`OSError` for files that cannot be read, all before anything is measured.
    """
    _check(tables, names, seeds, shots)
    methods = {name: create(name, preset, weights) for name in dict.fromkeys(names)}
    kept = Kept(directory)
    digests = [digest_of(table, progress) for table in tables]
    if any(isinstance(method, Localizer) for method in methods.values()):
        for table in tables:
            check_masks(table.test)
    results: list[Result] = []
    failures: list[Failure] = []
    for table, data in zip(tables, digests, strict=True):
        for name, method in methods.items():
            depends = {"data": data, "settings": repr(method)} | _surroundings(weights)
            for seed in seeds:
                cell = Cell(name, table.name, seed, shots)
                told = _named(progress, f"{name}, seed {seed}: ")
                work = _Work(table, cell, depends, partial(create, name, preset, weights), told)
                try:
                    result, how = _finish(work, kept, retime)
                except Exception as error:  # whatever a method may raise, the others are to be measured
                    failures.append(_failure(cell, error))
                    on_failure(failures[-1])
                else:
                    results.append(result)
                    on_result(result, how)
    return Comparison(tuple(table.name for table in tables), tuple(methods), tuple(results), tuple(failures))


@dataclass(frozen=True)
class _Work:
    """A cell and what measures it; each fit has a new method, so that nothing of another stays in memory."""

    table: Dataset
    cell: Cell
    depends: Mapping[str, str]
    make: Callable[[], Method]
    progress: Progress


def _finish(work: _Work, kept: Kept, retime: bool) -> tuple[Result, How]:
    """Return the result of a cell, on disk if it is new."""
    known = kept.find(work.cell, work.depends)
    if known is not None and (not retime or known.times.can_stand(machine())):
        return known, "kept"
    if known is None:
        result = measure(work.make(), work.table, work.cell, work.depends, work.progress)
    else:
        result = _timed_again(known, work)
    kept.add(result)
    return result, "measured" if known is None else "timed again"


def _timed_again(known: Result, work: _Work) -> Result:
    times, found = _time(work.make(), work.table, work.cell, work.progress)
    if known.image_auroc is not None and abs((found or 0.0) - known.image_auroc) > _SAME_AUROC:
        warnings.warn(
            f"{work.cell.method}, seed {work.cell.seed}: AUROC {found} when it was timed again, {known.image_auroc} "
            f"before (by {known.times.machine}); the figure of before is kept",
            DifferNetWarning,
            stacklevel=4,
        )
    return replace(known, times=times)


def measure(
    method: Method, table: Dataset, cell: Cell, depends: Mapping[str, str], progress: Progress = silent
) -> Result:
    """Fit a method, score the test images one by one, and draw maps of those that are good or have a mask.

    Where maps fail the rest is kept, with the reason in the note. Raises :class:`NumericalError` for a score that is
    not finite.
    """
    times, found = _time(method, table, cell, progress)
    remarks = [method.remark] if isinstance(method, Remarking) and method.remark else []
    try:
        pixels = _pixels(method, table, progress)
    except Exception as error:  # whatever a method may raise, its scores are there
        pixels = PixelFigures(math.nan, math.nan)
        remarks.append(f"no figures of pixels: {in_a_line(error)}")
    return Result(
        cell=cell,
        image_auroc=found,
        pixel_auroc=_known(pixels.auroc),
        pixel_aupro=_known(pixels.aupro),
        train_count=len(table.train) if cell.shots is None else cell.shots,
        times=times,
        depends=dict(depends),
        note="; ".join(remarks),
    )


def _time(method: Method, table: Dataset, cell: Cell, progress: Progress) -> tuple[Times, float | None]:
    """Fit and score; return how long that took, and the AUROC."""
    chosen = table if cell.shots is None else table.shots(cell.shots, cell.seed)
    paths, test = [sample.path for sample in chosen.train], table.test
    watch = Stopwatch()
    method.fit(paths, cell.seed, progress, chosen.groups)
    fit_seconds = watch.seconds
    scores = []
    for sample in test:
        scores.append(method.score(sample.path))
        progress("scoring", len(scores), len(test))
    milliseconds = 1000 * (watch.seconds - fit_seconds) / len(test)
    times = Times(fit_seconds, milliseconds, watch.others(), machine())
    for sample, value in zip(test, scores, strict=True):
        if not math.isfinite(value):
            raise NumericalError(f"{cell.method}, seed {cell.seed}: the score of {sample.path} is {value}")
    return times, _known(auroc(np.array(scores), np.array([sample.is_defective for sample in test])))


def digest_of(table: Dataset, progress: Progress = silent) -> str:
    """Return :meth:`~differnet.data.samples.Dataset.digest`, and say how far it is."""
    return table.digest(lambda done, total: progress(f"reading {table.name}", done, total))


def _check(tables: Sequence[Dataset], names: Sequence[str], seeds: Sequence[int], shots: int | None) -> None:
    if not names or not seeds:
        raise ConfigError(f"{len(names)} methods and {len(seeds)} seeds: at least one of each is needed")
    for table in tables:
        if not table.train or not table.test:
            raise LayoutError(f"{table!r}: training and test images are both needed")
        if shots is not None:
            table.shots(shots, seeds[0])  # refuse at once


def _surroundings(weights: str | None) -> dict[str, str]:
    """Say what all methods of a run depend on besides data and settings."""
    known = versions() | {"scikit-learn": sklearn.__version__}
    return {
        "weights": digest_of_weights(weights),
        "versions": ", ".join(f"{k} {v}" for k, v in known.items()),
    }


def _pixels(method: Method, table: Dataset, progress: Progress) -> PixelFigures:
    if not isinstance(method, Localizer) or not any(sample.mask for sample in table.test):
        return PixelFigures(math.nan, math.nan)
    return pixel_figures(method.localize, table.test, progress, None)


def _failure(cell: Cell, error: Exception) -> Failure:
    is_known = isinstance(error, DifferNetError | OSError)
    return Failure(cell, in_a_line(error), "" if is_known else "".join(traceback.format_exception(error)))


def _named(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total: progress(name + stage, done, total)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
