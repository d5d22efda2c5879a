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
_MOST_SHOWN = 12


@dataclass(frozen=True)
class Change:
    """A part whose verdict would be another."""

    id: str
    seq: int
    verdict_before: str
    verdict_after: str
    score: float


@dataclass(frozen=True)
class Consequences:
    """What other rates would have meant for the last parts that operators confirmed.

    ``defective``, ``good``: how many were confirmed as such. ``passing_before``, ``passing_after``: the defective ones
    that were or would be judged OK; ``held_before``, ``held_after``: the good ones judged "review" or NG.
    ``now_passing``, ``now_caught``: how many defective ones would pass, or be held, and were not before;
    ``now_spared``, ``now_held``: the same of good ones. ``passing``, ``caught``, ``spared``, ``held``: at most 12 of
    those each, the newest first.
    """

    defective: int
    good: int
    passing_before: int
    passing_after: int
    held_before: int
    held_after: int
    now_passing: int
    now_caught: int
    now_spared: int
    now_held: int
    passing: list[Change]
    caught: list[Change]
    spared: list[Change]
    held: list[Change]


@dataclass(frozen=True)
class Preview:
    """What other rates would have said of the ``last`` parts.

    ``promised``: the false-alarm rate that the new threshold promises. ``changed``: at most 50, the newest first, of
    ``changes``. ``estimated``: how many of the last were looked at in fewer views because their verdict was certain;
    with another threshold more might have been looked at, so theirs is the verdict of the views that were.
    ``confirmed``: what it would have meant for parts that operators confirmed.
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
    confirmed: Consequences | None = None


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


def consequences(now: Inspector, then: Inspector, rows: Iterable[Inspection]) -> Consequences:
    """Say what other rates would have meant for confirmed parts; ``rows``: those with a score, the newest first."""
    counts = {"good": [0, 0, 0], "defective": [0, 0, 0]}  # all, and those that pass before and after
    moved: dict[tuple[str, bool], list[Change]] = {
        (operator, passes): [] for operator in counts for passes in (True, False)
    }
    for row in rows:
        if row.operator is None:
            continue
        before, after = (rejudge(model.station, row).verdict or "OK" for model in (now, then))
        found = counts[row.operator]
        found[0] += 1
        found[1] += before == "OK"
        found[2] += after == "OK"
        changed = moved[row.operator, after == "OK"]
        if (before == "OK") != (after == "OK"):
            changed.append(Change(row.id, row.seq, before, after, row.score or 0.0))
    good, defective = counts["good"], counts["defective"]
    kinds = {"passing": ("defective", True), "caught": ("defective", False)}
    kinds |= {"spared": ("good", True), "held": ("good", False)}
    numbers: dict[str, int] = {f"now_{name}": len(moved[kind]) for name, kind in kinds.items()}
    shown: dict[str, list[Change]] = {name: moved[kind][:_MOST_SHOWN] for name, kind in kinds.items()}
    return Consequences(
        defective=defective[0],
        good=good[0],
        passing_before=defective[1],
        passing_after=defective[2],
        held_before=good[0] - good[1],
        held_after=good[0] - good[2],
        now_passing=numbers["now_passing"],
        now_caught=numbers["now_caught"],
        now_spared=numbers["now_spared"],
        now_held=numbers["now_held"],
        **shown,
    )


def preview(
    now: Inspector, then: Inspector, rows: Iterable[Inspection], confirmed: Iterable[Inspection] = ()
) -> Preview:
    """Compare what two inspectors say of the same scores; ``rows``, ``confirmed``: the newest first."""
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
        confirmed=consequences(now, then, confirmed),
    )
