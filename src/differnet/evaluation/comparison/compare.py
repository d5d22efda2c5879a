"""Measure several methods on the same labelled data in one run: accuracy, time to fit, time to score.

A finished cell (method, category, seed, shots) is kept with all that it depended on, and is not measured again while
that is the same. A method that fails does not end the run.
"""

from __future__ import annotations

import itertools
import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, cast

import sklearn

from differnet.config import presets
from differnet.data.datasets import Dataset
from differnet.data.samples import check_masks
from differnet.data.stream import Progress, silent
from differnet.decision.verdict import Heat, Prediction
from differnet.detector.model import versions
from differnet.errors import ConfigError, DifferNetError, LayoutError, NumericalError, in_a_line, warn
from differnet.evaluation import copies
from differnet.evaluation.baselines.catalogue import create
from differnet.evaluation.baselines.method import Localizer, Method, Remarking
from differnet.evaluation.comparison.cells import Case, Failure, Result, Times, kept_in
from differnet.evaluation.kept import Kept
from differnet.evaluation.measure import measure
from differnet.evaluation.metrics import known
from differnet.evaluation.timing import Stopwatch, machine
from differnet.features.backbone.weights import digest_of_weights

How = Literal["measured", "kept", "timed again"]
OnResult = Callable[[Result, How], None]
OnFailure = Callable[[Failure], None]
_SAME_AUROC = 0.002  # of the same fit by another number of threads


@dataclass(frozen=True)
class Comparison:
    """All cells of a run, in the order of ``categories``, ``methods`` and seeds, those that failed by themselves.

    ``copies``: the test images of a category that are for training as well.
    """

    categories: tuple[str, ...]
    methods: tuple[str, ...]
    results: tuple[Result, ...]
    failures: tuple[Failure, ...] = ()
    copies: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)


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
    kept = kept_in(directory)
    kept.check("cell")
    digests = {table: digest_of(table, progress) for table in tables}
    has_maps = any(isinstance(method, Localizer) for method in methods.values())
    check_masks([sample for table in tables for sample in table.test] if has_maps else ())
    copied = _copies(tables, progress)
    results, failures = list[Result](), list[Failure]()
    around = _surroundings(weights)
    for table, (name, method), seed in itertools.product(tables, methods.items(), seeds):
        depends = {"data": digests[table], "settings": repr(method)} | around
        case, make = Case(name, table.name, seed, shots), partial(create, name, preset, weights)
        work = _Work(table, case, depends, make, _named(progress, f"{name}, seed {seed}: "))
        try:
            result, how = _finish(work, kept, retime)
        except Exception as error:  # whatever a method may raise, the others are to be measured
            failures.append(_failure(work.case, error))
            on_failure(failures[-1])
        else:
            results.append(result)
            on_result(result, how)
    return Comparison(tuple(copied), tuple(methods), tuple(results), tuple(failures), copied)


@dataclass(frozen=True)
class _Work:
    """A cell and what measures it; each fit has a new method, so that nothing of another stays in memory."""

    table: Dataset
    case: Case
    depends: Mapping[str, str]
    make: Callable[[], Method]
    progress: Progress


def _finish(work: _Work, kept: Kept[Result], retime: bool) -> tuple[Result, How]:
    """Return the result of a cell, on disk if it is new."""
    key = work.case.key(work.depends)
    before = kept.find_whole(key[:16], key)
    if before is not None and (not retime or before.times.can_stand(machine())):
        return before, "kept"
    result = _measured(work, maps=True) if before is None else _timed_again(before, work)
    kept.add(key[:16], key, result)
    return result, "measured" if before is None else "timed again"


def _timed_again(before: Result, work: _Work) -> Result:
    again = _measured(work, maps=False)
    if before.image_auroc is not None and abs((again.image_auroc or 0.0) - before.image_auroc) > _SAME_AUROC:
        warn(
            f"{work.case.method}, seed {work.case.seed}: AUROC {again.image_auroc} when it was timed again, "
            f"{before.image_auroc} before (by {before.times.machine}); the figure of before is kept"
        )
    return replace(before, times=again.times)


class _Timed:
    """A fitted method as what can be measured; when the last image is scored it notes what others took meanwhile.

    Raises :class:`NumericalError` for a score that is not finite.
    """

    def __init__(self, method: Method, case: Case, watch: Stopwatch) -> None:
        self.others: float | None = None
        self._method = method
        self._case = case
        self._watch = watch

    def predict_iter(self, images: Sequence[Path]) -> Iterator[Prediction]:
        for path in images:
            value = self._method.score(path)
            if not math.isfinite(value):
                raise NumericalError(
                    f"{self._case.method}, seed {self._case.seed}: the score of {path} is {value}"
                )
            yield Prediction(value)
        self.others = self._watch.others()

    def localize(self, image: Path) -> Heat:
        return cast(Localizer, self._method).localize(image)  # no others are asked


def _measured(work: _Work, maps: bool) -> Result:
    """Fit a new method, score the test images one by one, and draw maps where it has them.

    Where maps fail the rest is kept, with the reason in the note.
    """
    method, table, case = work.make(), work.table, work.case
    chosen = table if case.shots is None else table.shots(case.shots, case.seed)
    watch = Stopwatch()
    method.fit([sample.path for sample in chosen.train], case.seed, work.progress, chosen.groups)
    fit_seconds, timed = watch.seconds, _Timed(method, case, watch)
    found = measure(timed, table, maps and isinstance(method, Localizer), work.progress, may_fail=True)
    remarks = [method.remark] if isinstance(method, Remarking) and method.remark else []
    if found.map_failure:
        remarks.append(f"no figures of pixels: {found.map_failure}")
    milliseconds = 1000 * found.score_seconds / len(table.test)
    return Result(
        case=case,
        image_auroc=known(found.image_auroc),
        pixel_auroc=known(found.pixels.auroc) if found.pixels else None,
        pixel_aupro=known(found.pixels.aupro) if found.pixels else None,
        train_count=len(chosen.train),
        times=Times(fit_seconds, milliseconds, timed.others, machine()),
        depends=dict(work.depends),
        note="; ".join(remarks),
    )


def digest_of(table: Dataset, progress: Progress = silent) -> str:
    """Return :meth:`~differnet.data.samples.Dataset.digest`, and say how far it is."""
    return table.digest(lambda done, total: progress(f"reading {table.name}", done, total))


def _copies(tables: Sequence[Dataset], progress: Progress) -> dict[str, tuple[Path, ...]]:
    """Return the test images of each table that are for training as well, and warn of them."""
    found = {table.name: copies.before_fits(table, progress) for table in tables}
    for table in tables:
        copies.tell(table, found[table.name])
    return found


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


def _failure(case: Case, error: Exception) -> Failure:
    is_known = isinstance(error, DifferNetError | OSError)
    return Failure(case, in_a_line(error), "" if is_known else "".join(traceback.format_exception(error)))


def _named(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total: progress(name + stage, done, total)
