"""The cells of a comparison (method, category, seed, shots), what was measured of each, and where that is kept."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from differnet.data.files import check_target
from differnet.errors import DifferNetWarning

CELLS = "cells.jsonl"
BUSY = 0.05  # of the machine's processors


@dataclass(frozen=True)
class Cell:
    """What is measured at a time. ``shots``: how many training images are drawn by the seed; all where nothing."""

    method: str
    category: str
    seed: int
    shots: int | None


@dataclass(frozen=True)
class Times:
    """How long a fit took, and the score of an image, decoding included, one at a time, without a map.

    ``others``: the share of the machine's processors that was taken by others meanwhile; nothing where the system does
    not tell. ``machine``: processor, cores and threads.
    """

    fit_seconds: float
    score_milliseconds: float
    others: float | None
    machine: str

    @property
    def is_busy(self) -> bool:
        """Whether others took so much that the times should not be published."""
        return self.others is not None and self.others > BUSY

    def can_stand(self, machine: str) -> bool:
        """Whether there is no reason to take these times again on ``machine``."""
        return self.others is not None and not self.is_busy and self.machine == machine


@dataclass(frozen=True)
class Result:
    """A measured cell.

    ``image_auroc`` is nothing where the test images are of one kind; ``pixel_auroc`` and ``pixel_aupro`` where the
    method has no maps, the data no masks, or a map failed. ``depends``: what they depend on, versions among it.
    ``note``: what must be said of this cell.
    """

    cell: Cell
    image_auroc: float | None
    pixel_auroc: float | None
    pixel_aupro: float | None
    train_count: int
    times: Times
    depends: Mapping[str, str]
    note: str = ""


@dataclass(frozen=True)
class Failure:
    """A cell that could not be measured: ``reason`` in a line, ``details`` where it is not an error made on purpose."""

    cell: Cell
    reason: str
    details: str = ""


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
        """Return what was measured last of a cell when all that it depends on was the same."""
        for result in reversed(self._results):
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
                parts = {"cell": Cell(**values["cell"]), "times": Times(**values["times"])}
                self._results.append(Result(**(values | parts)))
            except (ValueError, TypeError, KeyError) as error:
                warnings.warn(
                    f"{path}: line {number} is no finished cell ({error}); it is passed over and measured again",
                    DifferNetWarning,
                    stacklevel=2,
                )
        if text and not text.endswith("\n"):  # cut off while it was written
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")
