"""Did the promise hold? Later good images say so, with an interval, and what to do where it did not."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from differnet.data.stream import Progress, silent
from differnet.decision.effective import EffectiveCount, effective_count
from differnet.decision.thresholds import Threshold, images_needed
from differnet.detector.detector import DifferNet
from differnet.detector.model import Model
from differnet.errors import ConfigError, NotFittedError, agreeing, counted
from differnet.features.look import Given, Good, looks_of
from differnet.features.sisters import together

Status = Literal["kept", "open", "broken"]
Step = Literal["nothing", "more pictures", "recalibrate", "regroup", "refit"]
_MOVED = 0.75  # chance that a new good image scores above one of the calibration: from here on all have moved
_FEW_GROUPS = 0.5


@dataclass(frozen=True)
class Advice:
    """What to do, and why."""

    step: Step
    reason: str


@dataclass(frozen=True)
class Audit:
    """How many of ``count`` later good images were rejected, where ``promised`` was promised.

    ``low``, ``high``: the 95 % interval of the false-alarm rate, by ``effective`` independent images. ``status``:
    "broken" where all of it lies above what was promised, "kept" where none does, else "open". ``chance``: of so many
    false alarms or more if the new images are like those of the calibration, whose luck is counted. ``moved``: the
    chance that a new image scores above one of the calibration, 0.5 where nothing changed.
    """

    count: int
    alarms: int
    promised: float
    low: float
    high: float
    status: Status
    chance: float
    moved: float
    effective: EffectiveCount
    advice: tuple[Advice, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self) | {"advice": [asdict(one) for one in self.advice], "text": str(self)}

    def __str__(self) -> str:
        """Say it in sentences."""
        said = {
            "kept": "the promise was kept",
            "open": "nothing speaks against the promise, and these pictures cannot show that it was kept",
            "broken": "the promise was not kept",
        }[self.status]
        lines = [
            f"{self.alarms} of {counted(self.count, 'good image')} rejected, {self.alarms / self.count:.2%} (95% "
            f"interval {self.low:.2%} to {self.high:.2%}), where at most {self.promised:.2%} was promised: {said}.",
            f"If they are like the calibration images, so many or more happen with a chance of {self.chance:.2g}.",
        ]
        if self.effective.is_less:
            lines.append(f"The {self.effective.in_words(self.promised)}.")
        return "\n".join([*lines, *(f"{one.step.capitalize()}: {one.reason}." for one in self.advice)])


def audit(
    detector: DifferNet,
    good: Good,
    groups: Sequence[Hashable] | None = None,
    progress: Progress = silent,
) -> Audit:
    """Judge ``good`` images of later, all of which a person found good, and compare with what was promised.

    ``groups``: of one part or shoot; looked for where they are not given. Raises :class:`NotFittedError` for a model
    without a threshold and :class:`ConfigError` for no images, groups that do not go with them, and images that the
    model was fitted to or calibrated on.
    """
    promise, looks = detector.promise, looks_of(good, detector.config)
    if promise is None:
        raise NotFittedError("the model has no threshold, so nothing was promised: calibrate it first")
    if not looks:
        raise ConfigError("no images were given; good images of later are needed to audit")
    if groups is not None and len(groups) != len(looks):
        raise ConfigError(f"{len(groups)} groups for {len(looks)} images; one each is needed")
    given = together(looks, groups, detector.config.decision, detector.seed, progress)
    _check_new(given, detector.model)
    scores, alarms = [], []
    for prediction in detector.predict_iter([look.image for look in looks]):
        scores.append(prediction.score)
        alarms.append(bool(prediction.is_defective))
        progress("judging good images", len(scores), len(looks))
    names: Sequence[Hashable] = range(len(looks)) if given.groups is None else given.groups
    return found(promise, detector.model.calibration(), np.array(scores), np.array(alarms), names)


def _check_new(given: Given, model: Model) -> None:
    known = {
        one for sources in (model.fitted_on, model.calibrated_on and model.calibrated_on.sources)
        for one in (sources.images if sources else ())
    }  # fmt: skip
    seen = [image for image in given.images if image.seen.digest in known]
    if seen:
        raise ConfigError(
            f"{len(seen)} of {counted(len(given.images), 'image')} {agreeing(len(seen), 'was', 'were')} fitted to or "
            f"calibrated on, such as {seen[0]}: they say nothing of new parts; give good images of later"
        )


def found(
    promise: Threshold,
    calibration: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    alarms: npt.NDArray[np.bool_],
    groups: Sequence[Hashable],
) -> Audit:
    """Compare the ``alarms`` (M,) among good images of those ``scores`` (M,) and ``groups`` with a promise."""
    count, rejected = len(scores), int(alarms.sum())
    effective = effective_count(scores, groups)
    low, high = interval(rejected * effective.value / count, effective.value)
    status: Status = "broken" if low > promise.promised else "kept" if high <= promise.promised else "open"
    moved = float(stats.mannwhitneyu(scores, calibration).statistic) / (count * len(calibration))
    above = max(round(promise.promised * (promise.count + 1)), 1) - 1
    if promise.confidence is not None:
        above = int((calibration >= promise.value).sum())
    like = stats.betabinom(max(int(effective.value), 1), above + 1, promise.count - above)
    chance = float(like.sf(math.floor(rejected * effective.value / count + 1e-9) - 1))
    advice = _advice(promise, status, moved, alarms, groups, effective)
    return Audit(
        count, rejected, promise.promised, low, high, status, chance, moved, effective, tuple(advice)
    )


def interval(successes: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided interval of Clopper and Pearson of a share, for counts that need not be whole.

    For dependent images both are those of as many independent ones (Korn and Graubard, "Confidence intervals for
    proportions with small expected number of positive counts", Survey Methodology 24, 1998).

    >>> [round(bound, 3) for bound in interval(9, 10)]
    [0.555, 0.997]
    """
    tail = (1 - confidence) / 2
    low = 0.0 if successes <= 0 else float(special.betaincinv(successes, trials - successes + 1, tail))
    high = (
        1.0 if successes >= trials else float(special.betaincinv(successes + 1, trials - successes, 1 - tail))
    )
    return low, high


def _advice(
    promise: Threshold,
    status: Status,
    moved: float,
    alarms: npt.NDArray[np.bool_],
    groups: Sequence[Hashable],
    effective: EffectiveCount,
) -> list[Advice]:
    if status == "kept":
        return [Advice("nothing", "the interval lies below what was promised")]
    if status == "open":
        wanted = images_needed(promise.promised, confidence=0.975) if promise.promised < 1 else 1
        return [
            Advice(
                "more pictures",
                f"it takes {wanted} good pictures without a false alarm, each of a part of its own, to show a rate of "
                f"at most {promise.promised:.2%}; these are worth {max(round(effective.value), 1)} such pictures",
            )
        ]
    return [*_of_groups(alarms, groups), _of_all(promise, moved, float(alarms.mean()), effective)]


def _of_groups(alarms: npt.NDArray[np.bool_], groups: Sequence[Hashable]) -> list[Advice]:
    several = len(set(groups))
    bad = {group for group, alarm in zip(groups, alarms, strict=True) if alarm}
    if several == len(groups) or not several > 1 or len(bad) > _FEW_GROUPS * several:
        return []
    return [
        Advice(
            "regroup",
            f"the {counted(int(alarms.sum()), 'false alarm')} come from {len(bad)} of {several} groups: parts or "
            "shoots differ by more than the pictures of one do; give the groups to fit and calibrate (--group-pattern, "
            "--group-table), and pictures of more of them",
        )
    ]


def _of_all(promise: Threshold, moved: float, share: float, effective: EffectiveCount) -> Advice:
    if share > 0.5:
        return Advice(
            "refit",
            "most good pictures are rejected, so the model does not know parts like these: a higher threshold would "
            "let defects pass as well; fit again with some of them among the good ones, and audit with others",
        )
    if moved >= _MOVED:
        needed = images_needed(promise.rate, promise.confidence)
        enough = "enough" if effective.value >= needed else f"too few for {promise.rate:.4g}"
        return Advice(
            "recalibrate",
            f"all scores have moved (a new good image scores above one of the calibration in {moved:.0%} of cases), "
            f"as with another lamp or focus: differnet calibrate MODEL on good pictures of now ({needed} needed; these "
            f"are worth {counted(max(round(effective.value), 1), 'independent one')}, {enough})",
        )
    return Advice(
        "refit",
        "most scores are as they were, and some parts are unlike all that were fitted to: fit again with pictures of "
        "such parts among the good ones, and audit with others",
    )
