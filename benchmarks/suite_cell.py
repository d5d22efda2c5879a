"""One cell of ``suite.py``: one method fitted to one data set with one seed, in a process of its own.

Usage: python benchmarks/suite_cell.py JOB_FILE, which ``suite.py`` writes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import sklearn

import differnet
from differnet.config import presets
from differnet.data import datasets
from differnet.data.datasets import Dataset
from differnet.decision.verdict import Heat, Prediction
from differnet.detector.model import versions
from differnet.errors import ConfigError, MissingExtraError, NumericalError, in_a_line
from differnet.evaluation.baselines import peers
from differnet.evaluation.baselines.catalogue import create
from differnet.evaluation.baselines.method import Localizer, Method, Remarking
from differnet.evaluation.demo import cell_of
from differnet.evaluation.evaluate import evaluate
from differnet.evaluation.kept import Kept
from differnet.evaluation.measure import measure
from differnet.evaluation.metrics import known
from differnet.evaluation.timing import Stopwatch, machine
from differnet.features.backbone.weights import digest_of_weights
from differnet.runtime.memory import keep_large_tables_apart

OURS = "differnet"
CORESET = 0.01
SIZE = presets.DEFAULT.backbone.sizes[0]  # of the squares that other methods look at
MOST_REMEMBERED = 150  # images of which PatchCore chooses its patches at that size in about ten minutes
PACKAGE = Path(differnet.__file__).parent
OF_OURS = ("config", "data", "decision", "detector", "features", "flow", "runtime")
OF_MEASURING = ("evaluate", "measure", "metrics", "demo")
PEERS = ("padim", "patchcore", "cflow", "fastflow")
OF_PEERS = ("data", "features/backbone", "evaluation/baselines")


@dataclass(frozen=True)
class Place:
    """A data set and where it is: read as ``layout`` from ``root``, the ``category`` of it, if it has any.

    ``is_demo``: textures of the demo, whose tiles overlap and belong together by the cell they were cut from.
    """

    name: str
    root: str
    layout: datasets.Layout
    category: str | None = None
    split_file: str | None = None
    is_demo: bool = False

    def read(self) -> Dataset:
        """Read the table of samples."""
        categories = () if self.category is None else (self.category,)
        data = replace(datasets.read(self.root, self.layout, categories, self.split_file)[0], name=self.name)
        if not self.is_demo:
            return data
        return replace(data, samples=tuple(replace(s, group=cell_of(s.path)) for s in data.samples))


@dataclass(frozen=True)
class Job:
    """What a cell is measured by.

    ``limit``: the minutes it may take, of methods that have such a limit; ``size``: of the squares that anomalib's
    methods look at, in pixels.
    """

    place: Place
    method: str
    seed: int
    maps: bool
    settings: dict[str, Any]
    weights: str | None
    folder: str
    limit: float | None = None
    size: int = SIZE

    @property
    def name(self) -> str:
        """The name of the cell."""
        return f"{self.place.name}-{self.method}-{self.seed}-{'maps' if self.maps else 'scores'}"

    @property
    def config(self) -> presets.Config:
        """The default preset, with other settings for trials alone."""
        return presets.resolve("default", self.settings)

    def make(self) -> Method:
        """Return the method, as ``differnet compare`` has it, but at ``size``, with a coreset of 1 % for PatchCore."""
        if self.method == "padim":
            return peers.Padim(self.weights, self.size)
        if self.method == "patchcore":
            return peers.Patchcore(self.weights, self.size, coreset_ratio=CORESET, distances=math.inf)
        return create(self.method, self.config, self.weights)

    def key(self, data: str) -> str:
        """Return a digest of all that the figures depend on; ``data`` is that of the images and masks."""
        depends = [self.name, data, self._shown(), _digest_of_weights(self.weights), _sources(self.method)]
        text = json.dumps([*depends, versions(), sklearn.__version__], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def _shown(self) -> str:
        try:
            return repr(self.make())
        except MissingExtraError as error:
            return in_a_line(error)


@dataclass(frozen=True)
class Figures:
    """What was measured; nothing where the data or the method do not have it.

    ``others``: how many processors were taken by others meanwhile, on average, nothing where the system does not
    tell. ``peak_gib``: the largest resident set of the process. ``said``: what must be said of this cell.
    """

    auroc: float | None
    recall: float | None
    pixel_auroc: float | None
    pixel_aupro: float | None
    false_alarms: float | None
    promised: float | None
    fit_seconds: float
    score_milliseconds: float
    peak_gib: float
    others: float | None
    machine: str
    said: str = ""


@dataclass(frozen=True)
class Cell:
    """A finished cell: ``figures``, or the ``failure`` in a line.

    ``limit``: the minutes after which it was broken off, where that is why it failed.
    """

    place: str
    method: str
    seed: int
    figures: Figures | None
    failure: str = ""
    limit: float | None = None

    @classmethod
    def revived(cls, values: dict[str, Any]) -> Cell:
        """Return the cell that was kept as ``values``."""
        figures = values["figures"] and Figures(**values["figures"])
        return cls(**(values | {"figures": figures}))


def kept_in(folder: str | Path) -> Kept[Cell]:
    """Return the store of finished cells below a folder."""
    return Kept(Path(folder) / "cells", Cell, Cell.revived)


def run(job: Job, key: str) -> Cell:
    """Measure a cell and keep it under ``key``; an error becomes its failure."""
    try:
        data = job.place.read()
        if job.key(data.digest()) != key:
            raise ConfigError("sources, versions or data have changed since the run began: start it again")
        watch = Stopwatch()
        found = _ours(job, data) if job.method == OURS else _other(job, data)
        share = watch.others()
        others = None if share is None else share * (os.cpu_count() or 1)
        figures = replace(found, peak_gib=_peak_gib(), others=others)
        cell = Cell(job.place.name, job.method, job.seed, figures)
    except Exception as error:  # whatever a method may raise, the others are to be measured
        cell = failed(job, in_a_line(error))
    kept_in(job.folder).add(job.name, key, cell)
    return cell


def size_for(method: str, images: int) -> int:
    """Return the size for another method: ours, or anomalib's default where that would take too long."""
    return peers.SIZE if method == "patchcore" and images > MOST_REMEMBERED else SIZE


def failed(job: Job, reason: str, limit: float | None = None) -> Cell:
    """Return a cell that could not be measured; the folder of the data is left out of the reason."""
    return Cell(
        job.place.name, job.method, job.seed, None, reason.replace(f"{Path(job.place.root)}/", ""), limit
    )


def _ours(job: Job, data: Dataset) -> Figures:
    run = evaluate(data, job.config, (job.seed,), weights=job.weights, maps=job.maps).runs[0]
    return Figures(
        auroc=known(run.image_auroc),
        recall=known(run.recall_without_false_alarms),
        pixel_auroc=run.pixel_auroc,
        pixel_aupro=run.pixel_aupro,
        false_alarms=run.false_alarm_rate,
        promised=run.promised_false_alarm_rate,
        fit_seconds=run.fit_seconds,
        score_milliseconds=1000 * run.score_seconds_per_image,
        peak_gib=0.0,
        others=None,
        machine=machine(),
        said="" if run.choice is None else str(run.choice),
    )


class _OneByOne:
    """A fitted method as what can be measured. Raises :class:`NumericalError` for a score that is not finite."""

    def __init__(self, method: Method) -> None:
        self._method = method

    def predict_iter(self, images: Sequence[Path]) -> Iterator[Prediction]:
        for path in images:
            value = self._method.score(path)
            if not math.isfinite(value):
                raise NumericalError(f"the score of {path} is {value}")
            yield Prediction(value)

    def localize(self, image: Path) -> Heat:
        return cast(Localizer, self._method).localize(image)  # no others are asked


def _other(job: Job, data: Dataset) -> Figures:
    method, watch = job.make(), Stopwatch()
    method.fit([sample.path for sample in data.train], job.seed, groups=data.groups)
    fit_seconds = watch.seconds
    found = measure(_OneByOne(method), data, job.maps and isinstance(method, Localizer), may_fail=True)
    said = [f"{method.size} x {method.size} pixels"] if isinstance(method, peers.Peer) else []
    said += [method.remark] if isinstance(method, Remarking) and method.remark else []
    if found.map_failure:
        said.append(f"no figures of pixels: {found.map_failure}")
    return Figures(
        auroc=known(found.image_auroc),
        recall=known(found.recall_without_false_alarms),
        pixel_auroc=known(found.pixels.auroc) if found.pixels else None,
        pixel_aupro=known(found.pixels.aupro) if found.pixels else None,
        false_alarms=None,
        promised=None,
        fit_seconds=fit_seconds,
        score_milliseconds=1000 * found.score_seconds / len(data.test),
        peak_gib=0.0,
        others=None,
        machine=machine(),
        said="; ".join(said),
    )


def _peak_gib() -> float:
    """Return the largest resident set of this process: ``ru_maxrss`` has that of the one that started it, too."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


@cache
def _digest_of_weights(weights: str | None) -> str:
    return digest_of_weights(weights)


@cache
def _sources(method: str) -> str:
    """Return a digest of the sources that the figures of a method come from, this file's included."""
    parts = OF_PEERS if method in PEERS else OF_OURS if method == OURS else (*OF_OURS, "evaluation/baselines")
    paths = [path for part in parts for path in (PACKAGE / part).rglob("*.py")]
    paths += [PACKAGE / "evaluation" / f"{name}.py" for name in OF_MEASURING]
    return hashlib.sha256(b"".join(p.read_bytes() for p in [Path(__file__), *sorted(paths)])).hexdigest()


def main() -> None:
    """Measure the cell of a job's file."""
    values = json.loads(Path(sys.argv[1]).read_text())
    key = values.pop("key")
    job = Job(**(values | {"place": Place(**values["place"])}))
    os.environ["TQDM_DISABLE"] = "1"
    keep_large_tables_apart()  # as the command does
    print(json.dumps(asdict(run(job, key))), flush=True)


if __name__ == "__main__":
    main()
