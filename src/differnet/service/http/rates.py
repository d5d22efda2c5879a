"""Rates instead of thresholds: what another false-alarm rate would have said of the last parts.

Thresholds come from the scores of the calibration images by the code that chose those of the model
(:mod:`differnet.decision.thresholds`), and verdicts from them by the code that judges
(:mod:`differnet.decision.verdict`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from differnet.decision import verdict
from differnet.decision.calibration import Calibrated
from differnet.errors import NotFittedError
from differnet.runtime.inspector import Inspector
from differnet.service.record.inspection import Inspection

_MOST_CHANGED = 50


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


def rejudge(model: Calibrated, row: Inspection) -> verdict.Prediction:
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
    return Preview(
        threshold=promise.value,
        review_threshold=verdict.review_threshold(then.station),
        promised=promise.promised,
        last=last,
        before=old,
        after=new,
        changes=changes,
        estimated=estimated,
        changed=changed,
    )
