"""Judge a stream of images into rows, and write the rows as CSV or JSON lines as they come."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from differnet import storage
from differnet.detector import DifferNet
from differnet.errors import ConfigError
from differnet.features import Progress
from differnet.images import find, load
from differnet.pictures import save_overlay
from differnet.scorer import Count
from differnet.storage import write_whole
from differnet.verdict import Prediction

Row = dict[str, Any]
See = Callable[[Path, Prediction], float]
COLUMNS = ("path", "score", "p_value", "threshold", "is_defective", "views", "verdict", "percent")
_IN_MEMORY = 8 * 2**20
MAP_COLUMNS = ("overlay", "map")
DRIFT_COLUMNS = ("drift",)


def judge_all(
    detector: DifferNet,
    paths: Iterable[Path],
    maps: Path | None,
    progress: Progress,
    views: Count = None,
    see: See | None = None,
) -> Iterator[Row]:
    """Yield a row for every image at or below ``paths``, in order; nothing but the paths is held in memory.

    Overlays and raw maps go to ``maps`` if given. ``see`` gives the number for ``drift`` (:mod:`differnet.watch`).
    """
    found = [image for path in paths for image in find(path)]
    names = _map_names(found) if maps else []
    predictions = detector.predict_iter(found, maps is not None, views)
    for index, (path, prediction) in enumerate(zip(found, predictions, strict=True)):
        row: Row = {
            "path": str(path),
            "score": prediction.score,
            "p_value": prediction.p_value,
            "threshold": prediction.threshold,
            "is_defective": prediction.is_defective,
            "views": prediction.views,
            "verdict": prediction.verdict,
            "percent": prediction.percent,
        }
        if see:
            row["drift"] = see(path, prediction)
        if maps and prediction.heat_map is not None:
            row["overlay"] = str(maps / f"{names[index]}.png")
            row["map"] = str(maps / f"{names[index]}.npy")
            save_overlay(maps / f"{names[index]}.png", load(path), prediction.heat_map)
            buffer = io.BytesIO()
            np.save(buffer, prediction.heat_map)
            write_whole(maps / f"{names[index]}.npy", buffer.getvalue())
        progress("judging", index + 1, len(found))
        yield row


def check_target(table: Path | None) -> None:
    """Refuse a table of an unknown kind before any work is done."""
    if table is not None and table.suffix.lower() not in {".csv", ".jsonl"}:
        raise ConfigError(f"--out {table}: a name ending in .csv or .jsonl was wanted")
    if table is not None:
        storage.check_target(table)


class Table:
    """Rows on their way to a file, as CSV or JSON lines by its suffix."""

    def __init__(self, file: IO[str], suffix: str, extra: tuple[str, ...]) -> None:
        self._file = file
        self._csv = None
        if suffix == ".csv":
            self._csv = csv.DictWriter(file, COLUMNS + extra)
            self._csv.writeheader()

    def add(self, row: Row) -> None:
        """Write one row."""
        if self._csv:
            self._csv.writerow(row)
        else:
            self._file.write(json.dumps(row, allow_nan=False) + "\n")


@contextmanager
def writing(table: Path | None, extra: tuple[str, ...] = ()) -> Iterator[Table | None]:
    """Open ``table`` for rows with ``extra`` columns; it appears whole when the block ends, or not at all."""
    if table is None:
        yield None
        return
    with storage.growing(table) as file:
        yield Table(file, table.suffix.lower(), extra)


class Spool:
    """Rows put aside in constant memory (on disk when they are many) until all of them are there."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8")  # noqa: SIM115
        self.count = 0
        self.flagged = 0
        self.to_review = 0

    def add(self, row: Row) -> None:
        """Put one row aside and count it."""
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        self.count += 1
        self.flagged += bool(row["is_defective"])
        self.to_review += row["verdict"] == "review"

    def __iter__(self) -> Iterator[Row]:
        self._file.seek(0)
        return (json.loads(line) for line in self._file)


def _map_names(paths: Sequence[Path]) -> list[str]:
    """Name maps after the images, each with its number in front if any two share a stem."""
    stems = [path.stem for path in paths]
    if max(Counter(stems).values(), default=1) == 1:
        return stems
    return [f"{index:05}-{stem}" for index, stem in enumerate(stems)]
