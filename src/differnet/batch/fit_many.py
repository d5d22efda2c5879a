"""Many detectors from one table: one for every key, each fitted, measured and written by itself.

A key that fails says why and fails no other. What was fitted is kept beside its model file, with a digest of all that
it depends on, so that a run that was broken off goes on with the keys that are missing.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from differnet import __version__
from differnet.config import presets
from differnet.data.datasets import Dataset
from differnet.data.files import write_whole
from differnet.data.spreadsheet import cells
from differnet.data.tables import TableRow, read_rows, samples_of
from differnet.detector.detector import DifferNet
from differnet.detector.model import versions
from differnet.errors import DifferNetWarning, LayoutError, in_a_line
from differnet.evaluation.kept import Kept
from differnet.evaluation.measure import measure
from differnet.evaluation.metrics import known
from differnet.features.backbone.weights import digest_of_weights

_NEEDED = ("key", "path", "split", "label")
_OPTIONAL = ("defect", "mask", "group")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST = 80
_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))}


@dataclass(frozen=True)
class Wanted:
    """How every detector is fitted and measured; ``maps``: whether by heat maps too, where there are masks."""

    settings: presets.Config
    seed: int = 0
    weights: str | None = None
    device: str = "cpu"
    maps: bool = True


@dataclass(frozen=True)
class Job:
    """One key: its rows of the table, how its detector is made, and where it is written (``name`` in ``folder``)."""

    key: str
    name: str
    table: Path
    rows: tuple[TableRow, ...]
    folder: Path
    wanted: Wanted

    @property
    def model(self) -> Path:
        """The model file."""
        return self.folder / f"{self.name}.safetensors"

    @property
    def kept(self) -> Kept[KeyOutcome]:
        """Where the figures are kept, beside it."""
        return Kept(self.folder, KeyOutcome)


@dataclass(frozen=True)
class KeyOutcome:
    """What came of a key: a model and its figures, or the ``error``.

    ``image_auroc``, ``recall_without_false_alarms``: nothing where the test images are not of both kinds;
    ``false_alarm_rate`` and ``recall`` at the threshold, where there is one.
    """

    key: str
    model: str | None = None
    n_train: int = 0
    n_good: int = 0
    n_defective: int = 0
    image_auroc: float | None = None
    recall_without_false_alarms: float | None = None
    pixel_auroc: float | None = None
    pixel_aupro: float | None = None
    threshold: float | None = None
    false_alarm_rate: float | None = None
    recall: float | None = None
    fit_seconds: float | None = None
    error: str | None = None


def jobs_of(table: Path, folder: Path, wanted: Wanted) -> list[Job]:
    """Read a table with the columns key, path, split and label, and return a job for every key, sorted.

    Raises :class:`LayoutError` for a table that cannot be read; what is wrong with the rows of one key is found when
    that is fitted.
    """
    by_key: dict[str, list[TableRow]] = {}
    for row in read_rows(table, _NEEDED, _OPTIONAL):
        if not row["key"]:
            raise LayoutError(f"{table}: the row of {row['path']!r} has no key")
        by_key.setdefault(row.pop("key"), []).append(row)
    keys = sorted(by_key)
    names = safe_names(keys)
    return [Job(key, names[key], table, tuple(by_key[key]), folder / "models", wanted) for key in keys]


def safe_names(keys: Iterable[str]) -> dict[str, str]:
    """Return for each key a name for files: letters, digits, ``_``, ``.`` and ``-``, no two alike on any system.

    >>> safe_names(["brick", "line 4/left"])
    {'brick': 'brick', 'line 4/left': 'line_4_left-31537a5c'}
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for key in sorted(keys):
        name = _UNSAFE.sub("_", key)[:_LONGEST].strip(".")
        stem = name.partition(".")[0].lower()
        if name != key or stem in _DEVICES or name.lower() in taken:
            digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:8]
            name = f"{name or 'key'}-{digest}"
            name = f"_{name}" if stem in _DEVICES else name
        taken.add(name.lower())
        found[key] = name
    return found


def fit(job: Job) -> KeyOutcome:
    """Fit, measure and write the detector of a key, unless that was done before; an error is its outcome."""
    try:
        data = Dataset(job.name, samples_of(job.table, job.table.parent, job.rows))
        depends = _depends(job, data)
        before = job.kept.find_whole(job.name, depends)
        if before and job.model.is_file():  # figures stand only beside a whole model
            return before
        outcome = _fit(job, data)
        job.kept.add(job.name, depends, outcome)
        return outcome
    except Exception as error:  # whatever it was, it is of this key alone
        return KeyOutcome(job.key, error=in_a_line(error))


def outcome_of(job: Job, result: KeyOutcome | Exception) -> KeyOutcome:
    """Return the outcome of a job whose worker was lost as often as it was started, too."""
    return KeyOutcome(job.key, error=in_a_line(result)) if isinstance(result, Exception) else result


def summary(outcomes: Iterable[KeyOutcome]) -> list[KeyOutcome]:
    """Return outcomes in the order of keys, as they are written."""
    return sorted(outcomes, key=lambda outcome: outcome.key)


def write_summary(folder: Path, outcomes: Sequence[KeyOutcome], settings: presets.Config) -> list[Path]:
    """Write ``summary.csv`` and ``summary.json`` of all keys; returns both."""
    rows = [asdict(one) for one in outcomes]
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, [field.name for field in fields(KeyOutcome)])
    table.writeheader()
    table.writerows(cells(row) for row in rows)
    document = {
        "keys": rows,
        "models": sum(one.model is not None for one in outcomes),
        "failed": [one.key for one in outcomes if one.error is not None],
        "config": settings.to_dict(),
        "versions": versions(),
    }
    paths = [folder / "summary.csv", folder / "summary.json"]
    write_whole(paths[0], text.getvalue().encode("utf-8", "surrogateescape"))
    write_whole(paths[1], json.dumps(document, indent=2, allow_nan=False).encode())
    return paths


def _depends(job: Job, data: Dataset) -> str:
    wanted = job.wanted
    asked = [wanted.settings.to_dict(), wanted.seed, wanted.device, wanted.maps]
    asked.append(digest_of_weights(wanted.weights))
    text = json.dumps([data.digest(), asked, versions(), __version__, job.key], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _fit(job: Job, data: Dataset) -> KeyOutcome:
    if not data.train:
        raise LayoutError(f"{job.table}: no training image of key {job.key!r}")
    started, wanted = time.perf_counter(), job.wanted
    detector = DifferNet(wanted.settings, wanted.seed, wanted.weights, wanted.device)
    with warnings.catch_warnings():
        # how far thresholds can be trusted is in each model
        warnings.simplefilter("ignore", DifferNetWarning)
        detector.fit([sample.path for sample in data.train], groups=data.groups)
    seconds = time.perf_counter() - started
    found = measure(detector, data, job.wanted.maps)
    job.kept.file(job.name).unlink(missing_ok=True)  # it was of another model
    detector.save(job.model)
    return KeyOutcome(
        key=job.key,
        model=f"{job.folder.name}/{job.model.name}",
        n_train=len(data.train),
        n_good=int((~found.is_defective).sum()),
        n_defective=int(found.is_defective.sum()),
        image_auroc=known(found.image_auroc),
        recall_without_false_alarms=known(found.recall_without_false_alarms),
        pixel_auroc=known(found.pixels.auroc) if found.pixels else None,
        pixel_aupro=known(found.pixels.aupro) if found.pixels else None,
        threshold=detector.threshold,
        false_alarm_rate=found.false_alarm_rate,
        recall=found.recall,
        fit_seconds=seconds,
    )
