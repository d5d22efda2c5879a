"""Measure several methods on the same labelled data in one run: accuracy, time to fit, time to score.

A finished cell (method, category, seed, shots) is kept as a JSON line with all that it depended on, and is not measured
again while that is the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import sklearn

from differnet import config
from differnet.artifact import versions
from differnet.baselines.catalogue import create
from differnet.baselines.method import Localizer, Method
from differnet.datasets import Dataset
from differnet.errors import ConfigError, DifferNetWarning, LayoutError, NumericalError
from differnet.features import Progress, silent
from differnet.metrics import PixelAuroc, auroc
from differnet.storage import check_target

CELLS = "cells.jsonl"


@dataclass(frozen=True)
class Cell:
    """What is measured at a time. ``shots``: how many training images are drawn by the seed; all where nothing."""

    method: str
    category: str
    seed: int
    shots: int | None


@dataclass(frozen=True)
class Result:
    """A measured cell.

    ``image_auroc`` is nothing where the test images are of one kind; ``pixel_auroc`` where the method has no maps
    or the data no masks. ``score_milliseconds``: an image, decoding included, one at a time, without a map.
    ``depends``: what the figures depend on, machine and versions among it.
    """

    cell: Cell
    image_auroc: float | None
    pixel_auroc: float | None
    fit_seconds: float
    score_milliseconds: float
    train_count: int
    depends: Mapping[str, str]


OnResult = Callable[[Result, bool], None]


def compare(
    tables: Sequence[Dataset],
    names: Sequence[str],
    seeds: Sequence[int] = (0, 1, 2),
    shots: int | None = None,
    directory: Path | None = None,
    preset: str | config.Config = "default",
    weights: str | None = None,
    progress: Progress = silent,
    on_result: OnResult = lambda result, was_kept: None,
) -> list[Result]:
    """Fit every method to the training images of every table once a seed, and score the test images.

    ``directory``: where finished cells are kept. ``preset`` and ``weights``: see
    :func:`differnet.baselines.catalogue.create`. ``on_result`` sees every cell, and whether it was there already.
    Raises :class:`ConfigError` for unknown methods and :class:`LayoutError` for data that cannot be compared on, both
    before anything is measured.
    """
    _check(tables, names, seeds, shots)
    methods = {name: create(name, preset, weights) for name in dict.fromkeys(names)}
    kept = Kept(directory)
    results = []
    for table in tables:
        data = digest_of(table, progress)
        for name, method in methods.items():
            depends = {"data": data, "settings": repr(method)} | _surroundings(weights)
            for seed in seeds:
                cell = Cell(name, table.name, seed, shots)
                result = kept.find(cell, depends)
                was_kept = result is not None
                if result is None:
                    fresh = create(name, preset, weights)  # so that nothing of another fit stays in memory
                    result = measure(fresh, table, cell, depends, _named(progress, f"{name}, seed {seed}: "))
                    kept.add(result)
                results.append(result)
                on_result(result, was_kept)
    return results


def measure(
    method: Method, table: Dataset, cell: Cell, depends: Mapping[str, str], progress: Progress = silent
) -> Result:
    """Fit a method, score the test images one by one, and draw maps of those that are good or have a mask.

    Raises :class:`NumericalError` for a score that is not finite.
    """
    chosen = table if cell.shots is None else table.shots(cell.shots, cell.seed)
    test = table.test
    started = time.perf_counter()
    method.fit([sample.path for sample in chosen.train], cell.seed, progress)
    fitted = time.perf_counter()
    scores = []
    for sample in test:
        scores.append(method.score(sample.path))
        progress("scoring", len(scores), len(test))
    seconds = time.perf_counter() - fitted
    for sample, value in zip(test, scores, strict=True):
        if not math.isfinite(value):
            raise NumericalError(f"{cell.method}, seed {cell.seed}: the score of {sample.path} is {value}")
    labels = np.array([sample.is_defective for sample in test])
    return Result(
        cell=cell,
        image_auroc=_known(auroc(np.array(scores), labels)),
        pixel_auroc=_pixel_auroc(method, table, progress),
        fit_seconds=fitted - started,
        score_milliseconds=1000 * seconds / len(test),
        train_count=len(chosen.train),
        depends=dict(depends),
    )


class Kept:
    """The cells that are finished, in a file of JSON lines in a folder; without a folder, none."""

    def __init__(self, directory: Path | None) -> None:
        self._path = None if directory is None else directory / CELLS
        self._results: list[Result] = []
        if self._path:
            check_target(self._path)
            if self._path.exists():
                self._read(self._path)

    def find(self, cell: Cell, depends: Mapping[str, str]) -> Result | None:
        """Return what was measured of a cell when all that it depends on was the same."""
        for result in self._results:
            if result.cell == cell and result.depends == depends:
                return result
        return None

    def add(self, result: Result) -> None:
        """Keep a finished cell, on disk before this returns."""
        self._results.append(result)
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(result), allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def _read(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            try:
                values = json.loads(line)
                self._results.append(Result(**(values | {"cell": Cell(**values["cell"])})))
            except (ValueError, TypeError, KeyError) as error:
                warnings.warn(
                    f"{path}: line {number} is no finished cell ({error}); it is passed over and measured again",
                    DifferNetWarning,
                    stacklevel=2,
                )
        if text and not text.endswith("\n"):  # cut off while it was written
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")


def digest_of(table: Dataset, progress: Progress = silent) -> str:
    """Return the SHA-256 of the files of all images and masks, with what each is for."""
    total = hashlib.sha256()
    for index, sample in enumerate(table.samples, 1):
        total.update(
            f"{sample.path.name} {sample.split} {sample.defect}\n".encode("utf-8", "surrogateescape")
        )
        for path in (sample.path, sample.mask):
            total.update(b"none" if path is None else hashlib.sha256(path.read_bytes()).digest())
        progress(f"reading {table.name}", index, len(table.samples))
    return total.hexdigest()


def machine() -> str:
    """Name the processor and the number of its cores, which times depend on."""
    model = platform.processor() or platform.machine()
    known = Path("/proc/cpuinfo")
    if known.exists():
        names = [line for line in known.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


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
    file = None if weights is None else Path(weights)
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file and file.is_file() else str(weights)
    known = versions() | {"scikit-learn": sklearn.__version__}
    return {
        "weights": digest,
        "versions": ", ".join(f"{k} {v}" for k, v in known.items()),
        "machine": machine(),
    }


def _pixel_auroc(method: Method, table: Dataset, progress: Progress) -> float | None:
    shown = [sample for sample in table.test if sample.mask is not None or not sample.is_defective]
    if not isinstance(method, Localizer) or not any(sample.mask for sample in shown):
        return None
    total = PixelAuroc()
    for index, sample in enumerate(shown, 1):
        heat = method.localize(sample.path)
        total.add(heat, sample.true_mask(heat.shape))
        progress("drawing maps", index, len(shown))
    return _known(total.value())


def _named(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total: progress(name + stage, done, total)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
