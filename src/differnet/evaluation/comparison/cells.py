"""The cells of a comparison (method, category, seed, shots), what was measured of each, and where that is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from differnet.evaluation.kept import Kept

BUSY = 0.05  # of the machine's processors


@dataclass(frozen=True)
class Case:
    """What is measured at a time. ``shots``: how many training images are drawn by the seed; all where nothing."""

    method: str
    category: str
    seed: int
    shots: int | None

    def key(self, depends: Mapping[str, str]) -> str:
        """Return a digest of the case and of all that what is measured depends on."""
        text = json.dumps([asdict(self), dict(depends)], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


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

    case: Case
    image_auroc: float | None
    pixel_auroc: float | None
    pixel_aupro: float | None
    train_count: int
    times: Times
    depends: Mapping[str, str]
    note: str = ""

    @classmethod
    def revived(cls, values: dict[str, Any]) -> Result:
        """Return the result that was kept as ``values``."""
        parts = {"case": Case(**values["case"]), "times": Times(**values["times"])}
        return cls(**(values | parts))


@dataclass(frozen=True)
class Failure:
    """A cell that could not be measured: ``reason`` in a line, ``details`` where it is not an error made on purpose."""

    case: Case
    reason: str
    details: str = ""


def kept_in(directory: Path | None) -> Kept[Result]:
    """Return the store of finished cells in a folder of results; without a folder, one that keeps nothing."""
    return Kept(directory and directory / "cells", Result, Result.revived)
