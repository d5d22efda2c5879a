"""Rates instead of thresholds: what another false-alarm rate would have said of the last parts.

Thresholds come from the scores of the calibration images by the code that chose those of the model
(:mod:`differnet.decision.thresholds`), and verdicts from them by the code that judges
(:mod:`differnet.decision.verdict`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from differnet.decision import verdict
from differnet.decision.calibration import Judge, Standard
from differnet.decision.thresholds import check_count
from differnet.errors import ConfigError, NotFittedError
from differnet.runtime.inspector import Inspector
from differnet.service.record.inspection import Inspection, Rates

_MOST_CHANGED = 50
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Change:
    """A part whose verdict would be another."""

    id: str
    seq: int
    verdict_before: str
    verdict_after: str
    score: float


@dataclass(frozen=True)
class Preview:
    """What other rates would have said of the ``last`` parts.

    ``promised``: the false-alarm rate that the new threshold promises. ``changed``: at most 50, the newest first, of
    ``changes``. ``estimated``: how many of the last were looked at in fewer views because their verdict was certain;
    with another threshold more might have been looked at, so theirs is the verdict of the views that were.
    """

    threshold: float
    review_threshold: float | None
    promised: float
    last: int
    before: dict[str, int]
    after: dict[str, int]
    changes: int
    estimated: int
    changed: list[Change] = field(default_factory=list)


def of(standard: Standard) -> Rates:
    """Return the rates of a calibration."""
    return Rates(standard.rate, standard.confidence, standard.review_rate)


def smallest_rate(standard: Standard, confidence: float | None) -> float | None:
    """Return the smallest false-alarm rate that the calibration images can promise; nothing without any.

    On average over calibration sets 1 / (n + 1), with a confidence c 1 - (1 - c)^(1 / n): the highest of n scores is
    then the threshold (:mod:`differnet.decision.thresholds`).
    """
    n = len(standard.view_scores)
    if n == 0:
        return None
    return 1 / (n + 1) if confidence is None else -math.expm1(math.log1p(-confidence) / n)


def with_rates(inspector: Inspector, rates: Rates) -> Inspector:
    """Return an inspector that shares the graphs and judges by other rates.

    Raises :class:`NotFittedError` without calibration images, and :class:`ConfigError` for rates that these cannot
    promise, or that do not fit each other.
    """
    standard = inspector.standard
    least = smallest_rate(standard, rates.confidence)
    if least is None:
        raise NotFittedError(
            "the model has no threshold, since no good images were held out: calibrate it first"
        )
    check_count(len(standard.view_scores), rates.rate, rates.confidence, standard.folds)
    if rates.review_rate is not None and not rates.rate < rates.review_rate < 1:
        raise ConfigError(
            f"review_rate = {rates.review_rate:.4g}: more than rate = {rates.rate:.4g} was wanted"
        )
    if rates.rate < least * (1 - _ROUNDING) and rates != of(standard):
        raise ConfigError(
            f"rate = {rates.rate:.4g}: {len(standard.view_scores)} calibration images can promise {least:.4g} or more; "
            "give a higher rate, or calibrate on more images"
        )
    other = copy.copy(inspector)
    changed = replace(standard, rate=rates.rate, confidence=rates.confidence, review_rate=rates.review_rate)
    other.station = replace(inspector.station, standard=changed)
    verdict.review_threshold(other.station)  # refuse at once
    return other


def rejudge(model: Judge, row: Inspection) -> verdict.Prediction:
    """Judge the score of a part anew; raises :class:`ConfigError` when the thresholds of its views are not known."""
    views = None if row.early else row.views
    theta = verdict.threshold_for(model, views)
    score = row.score or 0.0
    if theta is None:
        return verdict.Prediction(score, views=row.views)
    limit = verdict.review_threshold(model, views)
    return verdict.Prediction(
        score, theta.value, score >= theta.value, views=row.views, review_threshold=limit
    )


def preview(now: Inspector, then: Inspector, rows: Iterable[Inspection]) -> Preview:
    """Compare what two inspectors say of the same scores; ``rows``: the newest first."""
    old, new = (dict.fromkeys(("OK", "review", "NG"), 0) for _ in range(2))
    changed: list[Change] = []
    last, changes, estimated = 0, 0, 0
    for row in rows:
        before, after = (rejudge(model.station, row).verdict or "OK" for model in (now, then))
        old[before] += 1
        new[after] += 1
        last, estimated = last + 1, estimated + row.early
        if before != after:
            changes += 1
            if len(changed) < _MOST_CHANGED:
                changed.append(Change(row.id, row.seq, before, after, row.score or 0.0))
    promise = then.promise
    if promise is None:
        raise NotFittedError("the model has no threshold")
    limit = verdict.review_threshold(then.station)
    return Preview(promise.value, limit, promise.promised, last, old, new, changes, estimated, changed)
