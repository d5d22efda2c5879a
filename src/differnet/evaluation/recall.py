"""What is found of known defects: recall with its interval, for each type; nothing here moves a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy import special

from differnet.errors import ConfigError
from differnet.evaluation.metrics import in_percent


@dataclass(frozen=True)
class Recall:
    """How many of the ``count`` known defects of one type are found.

    ``found``: judged NG; ``review``: left to a person besides; ``missed``: names of those judged OK. ``low``, ``high``:
    between which bounds the share of NG among all such defects lies, with ``confidence``, if these were drawn at
    random from them.
    """

    defect: str
    count: int
    found: int
    review: int
    missed: tuple[str, ...]
    low: float
    high: float
    confidence: float = 0.95

    def __str__(self) -> str:
        """Say the recall in words."""
        review = f", {self.review} more to review" if self.review else ""
        low, high = math.floor(100 * self.low + 1e-9), math.ceil(100 * self.high - 1e-9)
        return (
            f"{self.defect}: {self.found} of {self.count} found ({in_percent(self.found / self.count)}; "
            f"{self.confidence:.0%} interval {low}% to {high}%){review}, {len(self.missed)} missed"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self) | {"missed": list(self.missed), "recall": self.found / self.count}


def interval(found: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a share of which ``found`` of ``count`` were seen.

    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26, 1934: it holds the true share with at least that confidence. Raises :class:`ConfigError` for counts
    that cannot be.

    >>> [round(bound, 3) for bound in interval(9, 10)]
    [0.555, 0.997]
    """
    if not 0 <= found <= count or count < 1 or not 0 < confidence < 1:
        raise ConfigError(
            f"{found} of {count} at a confidence of {confidence}: no share of at least one image"
        )
    tail = (1 - confidence) / 2
    low = 0.0 if found == 0 else float(special.betaincinv(found, count - found + 1, tail))
    high = 1.0 if found == count else float(special.betaincinv(found + 1, count - found, 1 - tail))
    return low, high


def recalls(
    defects: Sequence[str], verdicts: Sequence[str | None], names: Sequence[str], confidence: float = 0.95
) -> list[Recall]:
    """Return the recall of each type of defect in the order of their names, and that of all of them last.

    ``defects``, ``verdicts`` ("NG", "review" or "OK") and ``names``: of each known defect. Empty for none.
    """
    rows = list(zip(defects, verdicts, names, strict=True))
    kinds = sorted(set(defects))
    parts = [(kind, [row for row in rows if row[0] == kind]) for kind in kinds]
    if len(kinds) > 1:
        parts.append(("all defects", rows))
    return [_recall(kind, part, confidence) for kind, part in parts]


def _recall(kind: str, rows: Sequence[tuple[str, str | None, str]], confidence: float) -> Recall:
    said = [verdict for _, verdict, _ in rows]
    missed = tuple(name for _, verdict, name in rows if verdict == "OK")
    found = said.count("NG")
    low, high = interval(found, len(rows), confidence)
    return Recall(
        kind, len(rows), found, said.count("review"), missed, low=low, high=high, confidence=confidence
    )
