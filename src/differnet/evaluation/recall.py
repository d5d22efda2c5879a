"""What is found of known defects: recall with its interval, for each type; nothing here moves a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from differnet.decision.thresholds import share_interval
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
    low, high = share_interval(found, len(rows), confidence)
    return Recall(
        kind, len(rows), found, said.count("review"), missed, low=low, high=high, confidence=confidence
    )
