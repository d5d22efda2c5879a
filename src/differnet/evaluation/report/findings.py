"""What the verdicts on many images come to: counts, shares with their intervals, and what another rate would do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from differnet.decision.light import Light
from differnet.decision.thresholds import images_needed, share_interval
from differnet.decision.verdict import Prediction, review_threshold
from differnet.detector import model as artifact
from differnet.detector.model import Model
from differnet.evaluation.metrics import auroc
from differnet.evaluation.recall import Recall, recalls
from differnet.evaluation.report import charts

RATES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1)
_RARE = 0.01


@dataclass(frozen=True)
class ReportedImage:
    """One image of the report. ``defect``: its label, "good" or a type of defect, nothing where it is not known.

    ``seen``: whether the model was fitted to it or calibrated on it, so that it says nothing of new parts.
    """

    name: str
    defect: str | None
    prediction: Prediction
    light: Light
    seen: bool = False


@dataclass(frozen=True)
class Share:
    """``count`` of ``total``, with the bounds of its exact 95 % interval."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share."""
        return self.count / self.total

    @property
    def bounds(self) -> tuple[float, float]:
        """The 95 % interval (Clopper and Pearson)."""
        return share_interval(self.count, self.total)


@dataclass(frozen=True)
class AtRate:
    """What the threshold of another false-alarm rate would do; ``threshold`` is nothing where it cannot be promised."""

    rate: float
    threshold: float | None
    alarms: Share | None
    found: Share | None


@dataclass(frozen=True)
class Findings:
    """Everything the report says in figures; what needs labels is nothing or empty without them."""

    counts: dict[str, int]
    new: int
    seen: int
    alarms: Share | None
    to_review: Share | None
    known: tuple[Recall, ...]
    auroc: float | None
    roc: charts.Curve | None
    precision_recall: charts.Curve | None
    histogram: charts.Histogram | None
    at_rates: tuple[AtRate, ...]
    outside: tuple[str, ...]


def find(model: Model, rows: Sequence[ReportedImage]) -> Findings:
    """Judge the judgements: of images that the model has not seen where labels count, of all of them else."""
    new = [row for row in rows if not row.seen]
    good = [row for row in new if row.defect == "good"]
    bad = [row for row in new if row.defect not in (None, "good")]
    theta = artifact.threshold(model)
    value = None if theta is None else theta.value
    scores = np.array([row.prediction.score for row in (*good, *bad)])
    labels = np.array([False] * len(good) + [True] * len(bad), dtype=bool)
    both = bool(good) and bool(bad)
    return Findings(
        counts=dict(Counter(row.prediction.verdict or "none" for row in rows)),
        new=len(new),
        seen=len(rows) - len(new),
        alarms=_share(good, "NG") if theta else None,
        to_review=_share(good, "review") if theta else None,
        known=tuple(
            recalls(
                [row.defect or "" for row in bad],
                [row.prediction.verdict for row in bad],
                [row.name for row in bad],
            )
        )
        if theta
        else (),
        auroc=auroc(scores, labels) if both else None,
        roc=charts.roc(scores, labels, value) if both else None,
        precision_recall=charts.precision_recall(scores, labels, value) if both else None,
        histogram=_histogram(model, new, good, bad, value) if rows else None,
        at_rates=tuple(_at_rate(model, rate, good, bad) for rate in RATES) if theta else (),
        outside=_outside(model, [row for row in new if row.defect in (None, "good")]),
    )


def _share(rows: Sequence[ReportedImage], verdict: str) -> Share | None:
    return Share(sum(row.prediction.verdict == verdict for row in rows), len(rows)) if rows else None


def _histogram(
    model: Model,
    new: Sequence[ReportedImage],
    good: Sequence[ReportedImage],
    bad: Sequence[ReportedImage],
    theta: float | None,
) -> charts.Histogram:
    unknown = [row for row in new if row.defect is None]
    groups: list[tuple[str, str, Any]] = []
    if len(model.view_scores):
        groups.append(("good, of the calibration", "calibration", model.calibration()))
    for name, kind, rows in (
        ("good", "good", good),
        ("defective", "defective", bad),
        ("these images", "unknown", unknown),
    ):
        if rows:
            groups.append((name, kind, np.array([row.prediction.score for row in rows])))
    return charts.histogram(groups or [("", "unknown", np.ones(1))], theta, review_threshold(model))


def _at_rate(
    model: Model, rate: float, good: Sequence[ReportedImage], bad: Sequence[ReportedImage]
) -> AtRate:
    """Return what the threshold of ``rate`` would do; the calibration images that are there may be too few for it."""
    decision = model.config.decision
    needed = images_needed(rate, decision.confidence)
    if len(model.view_scores) < needed:
        return AtRate(rate, None, None, None)
    promise = artifact.threshold(model, rate=rate)
    if promise is None:
        return AtRate(rate, None, None, None)
    value = promise.value
    shares = [
        Share(sum(row.prediction.score >= value for row in rows), len(rows)) if rows else None
        for rows in (good, bad)
    ]
    return AtRate(rate, value, shares[0], shares[1])


def _outside(model: Model, rows: Sequence[ReportedImage]) -> tuple[str, ...]:
    """Say how many images are darker, brighter, softer or sharper than all calibration images, beyond chance.

    Images of one group count as one, as if they were copies: fewer alarms than chance would allow.
    """
    record = model.calibrated_on
    if record is None or not rows:
        return ()
    said = []
    for name, known, words in (
        ("brightness", record.brightness, ("darker", "brighter")),
        ("sharpness", record.sharpness, ("less sharp", "sharper or noisier")),
    ):
        values = [getattr(row.light, name) for row in rows]
        counts = sum(v < min(known) for v in values), sum(v > max(known) for v in values)
        for count, word in zip(counts, words, strict=True):
            if _chance_of_outside(count, len(rows), record.groups) < _RARE:
                said.append(
                    f"{count} of {len(rows)} images are {word} than all {record.count} calibration images, "
                    "more than chance explains: what is promised for good parts may not hold here"
                )
    return tuple(said)


def _chance_of_outside(count: int, new: int, known: int) -> float:
    """Return how likely ``count`` or more of ``new`` values lie above all ``known`` ones, if all are exchangeable.

    The ``count`` largest of all of them are then new ones: (new / all) ((new - 1) / (all - 1)) ...

    >>> _chance_of_outside(1, 1, 99)
    0.01
    """
    return math.prod((new - i) / (new + known - i) for i in range(count))
