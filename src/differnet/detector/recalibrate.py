"""A fitted model with another threshold, from other good images: no training, seconds instead of minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from differnet.config import presets
from differnet.data.stream import Progress
from differnet.decision import thresholds, verdict
from differnet.decision.drift import DriftMonitor
from differnet.decision.effective import EffectiveCount
from differnet.decision.thresholds import Threshold
from differnet.detector import model as artifact
from differnet.detector.model import Model
from differnet.detector.provenance import CalibrationRecord, Sources, Way, check_unseen, record_of
from differnet.detector.scoring import Scorer
from differnet.errors import ConfigError, agreeing, counted, warn
from differnet.features.describer import Describer
from differnet.features.look import Given
from differnet.features.sisters import together
from differnet.features.views import ViewSet

FEW = 5  # good images, of which a fit to so many says that they are


def changes(
    rate: float | None, views: int | None, confidence: float | None, review_rate: float | None
) -> dict[str, Any]:
    """Return what to replace in the settings: no confidence, or 0, takes it away; nothing keeps the others.

    A review rate of 0 takes that away.

    >>> changes(rate=0.05, views=None, confidence=None, review_rate=0)
    {'rate': 0.05, 'review_rate': None, 'confidence': None}
    """
    asked = {"rate": rate, "score_views": views, "review_rate": review_rate}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if review_rate == 0:
        given["review_rate"] = None
    return given | {"confidence": confidence or None}


def anew(
    model: Model,
    asked: Mapping[str, Any],
    given: Given,
    scorer: Scorer,
    shown: ViewSet,
    progress: Progress,
) -> tuple[Model, Threshold]:
    """Return ``model`` with the settings ``asked`` replaced and the scores of good images, and its threshold.

    It was not fitted to those; groups that are not given are looked for; they are scored in the views ``shown``. Raises
    :class:`ConfigError` for no images, for groups that do not go with them, for images that were fitted to, and, before
    any is looked at, for fewer than the wanted confidence needs.
    """
    settings, good, groups = presets.resolve(model.config, asked), given.images, given.groups
    decision = settings.decision
    if groups is not None and len(groups) != len(good):
        raise ConfigError(f"{len(groups)} groups for {len(good)} images; one each is needed")
    if good:
        thresholds.check_count(len(good), decision.rate, decision.confidence)
    given = together(good, groups, decision, model.seed, progress)
    record = record_of(good, given.groups, way_of(scorer.describer, len(shown)), model.fitted_on, progress)
    check_unseen(good, record, model.fitted_on)
    for image in good:
        image.keep = False  # it is scored now, and that is all
    scores = scorer.table(good, shown, progress)
    promise = thresholds.choose_threshold(scores.mean(axis=1), decision.rate, decision.confidence)
    changed = replace(
        model, view_scores=scores, config=settings, calibrated_on=record, sisters=given.found or model.sisters
    )
    return changed, promise


def way_of(describer: Describer, views: int) -> Way:
    """Return how a describer scores in that many views."""
    return Way(views, describer.runtime.name, describer.runtime.precision)


def check_way(model: Model, describer: Describer) -> None:
    """Refuse verdicts where scores are computed in another way than those that set the threshold: ConfigError."""
    if len(model.view_scores) == 0:
        return
    record = model.calibrated_on
    wanted = (record.way.runtime, record.way.precision) if record else (model.runtime, model.precision)
    found = describer.runtime.name, describer.runtime.precision
    if found != wanted:
        raise ConfigError(
            f"the threshold was calibrated on scores computed by {' in '.join(wanted)}, and here they are computed by "
            f"{' in '.join(found)}: it promises nothing for those; calibrate(good_images) here (differnet calibrate), "
            f"or score with {wanted[0]}"
        )


def warn_when_weak(model: Model, is_fitted_now: bool = False) -> None:
    """Warn of thresholds that are missing or promise less than they seem to.

    ``is_fitted_now``: the images to calibrate on were held out of those given to fit, and so of their folder, as they
    must be; nobody could do otherwise, so nothing is said of that.
    """
    record = model.calibrated_on
    promise, review = artifact.threshold(model), verdict.review_promise(model)
    warn_when_few(promise, model.effective)
    messages = [] if record is None else _doubts(record, model.fitted_on, is_fitted_now)
    if is_fitted_now and model.train_count <= FEW:
        messages.append(
            f"{counted(model.train_count, 'good image')} to fit to {agreeing(model.train_count, 'is', 'are')} very few"
            ": how good parts differ from each other cannot be learned from so few, and many good parts may be judged "
            "anomalous; 20 or more were wanted"
        )
    if review is not None and not review.is_kept:
        messages.append(
            f"{_few(review.count, 'good image')} for a review rate of {review.rate:.2%} as well: the review "
            f"threshold lies above all of them, and {review.promised:.2%} is what it comes to; "
            f"{counted(review.missing, 'more image')} would do"
        )
    for message in messages:
        warn(message)


def _doubts(record: CalibrationRecord, fitted: Sources | None, is_fitted_now: bool) -> list[str]:
    """Say why calibration images may not be what the promise takes them for: independent, and new to the model."""
    messages = []
    twice = set(record.sources.images) & set(fitted.images) if fitted and not record.folds else ()
    if twice:
        messages.append(
            f"{counted(len(twice), 'held-out good image')} {agreeing(len(twice), 'is', 'are')} pixel for pixel among "
            "those fitted to: their scores are too low, and so is the threshold; remove the copies"
        )
    if record.copies:
        apart = record.folds and not record.sources.keep_copies
        seen = ", and where one is in another fold, its copy was fitted to" if apart else ""
        messages.append(
            f"{record.copies} of the {record.count} images to calibrate on "
            f"{agreeing(record.copies, 'is a copy', 'are copies')} of others, pixel for pixel: they count as "
            f"independent images and are not{seen}; remove the copies"
        )
    if record.same_shoot and fitted and not is_fitted_now:
        known = (
            "come from the shoot that was fitted to (by their groups)"
            if record.sources.shares_group(fitted)
            else "lie in a folder that was fitted to, and may be of the same shoot"
        )
        messages.append(
            f"images to calibrate on {known}: what one shoot has in common, light, position, material, the model has "
            "learned, so they score lower than good parts of another day will, and more of those than promised may be "
            "rejected; calibrate on images of another shoot (differnet calibrate)"
        )
    return messages


def monitor_of(model: Model, alpha: float) -> DriftMonitor:
    """Return what watches a stream of images for a change against the calibration images; see
    :mod:`differnet.decision.drift`.

    Raises :class:`ConfigError` for a model file that does not say what it was calibrated on, and for cross-fitted
    scores; warns where the images depend on each other.
    """
    record = model.calibrated_on
    if record is None:
        raise ConfigError(
            "this model does not say how bright and sharp its calibration images were (none were held out, or it is "
            "from before that was noted): calibrate it on good images first"
        )
    if record.folds:
        raise ConfigError(
            f"the calibration scores are cross-fitted, by the flows of {record.folds} folds, and a stream is scored by "
            "another, which saw all of these images: they differ without any change; calibrate on good images that "
            "were not fitted to"
        )
    independent = min(record.groups, record.count - record.copies)
    if independent < record.count:
        warn(
            f"the {record.count} calibration images come to {counted(independent, 'group')} or different pictures, "
            f"and the chance of at most {alpha:.2%} of a false alarm counts each as independent: false alarms "
            "may be likelier"
        )
    return DriftMonitor(model.calibration(), record.brightness, record.sharpness, alpha, model.seed)


_NEARLY_ALL = 0.9  # of the images: where grouped ones are worth as much, nothing is said


def warn_when_few(threshold: Threshold | None, effective: EffectiveCount | None = None) -> None:
    """Warn when there is no threshold, or when it promises less than it seems to.

    So it does where the images were too few for the wanted rate, and where they are worth fewer independent ones (same
    part, same shoot) than they are: both promises take each image for an independent draw.
    """
    if threshold is None:
        messages = ["no good images were held out, so there is no threshold"]
    else:
        grouped = effective is not None and effective.value < _NEARLY_ALL * threshold.count
        messages = [
            *_too_few(threshold),
            *([_of_groups(threshold, effective)] if grouped and effective else []),
        ]
    for message in messages:
        warn(message)


def _too_few(threshold: Threshold) -> list[str]:
    if threshold.is_kept:
        return []
    if threshold.guarantee == "cross-fitted":
        return [
            f"{_few(threshold.count, 'cross-fitted good image')} to estimate a false-alarm rate of "
            f"{threshold.rate:.2%}: the threshold lies above all of their scores, and {threshold.promised:.2%} is the "
            f"estimate (no proof); {counted(threshold.missing, 'more image')} would do"
        ]
    return [
        f"{_few(threshold.count, 'held-out good image')} to promise a false-alarm rate of "
        f"{threshold.rate:.2%}: the threshold lies above all of them and promises {threshold.promised:.2%}; "
        f"{counted(threshold.missing, 'more held-out image')} would do"
    ]


def _few(count: int, noun: str) -> str:
    return f"{counted(count, noun)} {agreeing(count, 'is', 'are')} too few"


def _of_groups(threshold: Threshold, effective: EffectiveCount) -> str:
    known = {
        "marginal": "the promise on average over calibration sets",
        "conditional": f"a confidence of {threshold.confidence or 0:.4g}",
        "cross-fitted": "the estimate over folds",
    }[threshold.guarantee]
    worth = effective.in_words(threshold.rate, threshold.confidence)
    advice = "; give more groups of fewer images" if effective.is_less else ""
    return (
        f"the {threshold.count} images to calibrate on are of {counted(effective.groups, 'group')}, and {known} counts "
        f"each image as independent of the others: {worth}{advice}"
    )
