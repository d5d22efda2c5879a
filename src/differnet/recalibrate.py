"""A fitted model with another threshold, from other good images: no training, seconds instead of minutes."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from differnet import artifact, calibrate, config
from differnet.artifact import Model
from differnet.calibrate import Threshold
from differnet.drift import DriftMonitor
from differnet.errors import ConfigError, DifferNetWarning
from differnet.features import Describer, Progress
from differnet.images import ImageLike
from differnet.record import Way, check_unseen, record_of
from differnet.scorer import Scorer
from differnet.views import ViewSet

_CAN_BE_TAKEN_AWAY = ("confidence", "review_rate")


def changes(
    rate: float | None, views: int | None, confidence: float | None, review_rate: float | None
) -> dict[str, Any]:
    """Return what to replace in the settings: nothing keeps one, 0 takes a confidence or a review rate away.

    >>> changes(rate=0.05, views=None, confidence=None, review_rate=0)
    {'rate': 0.05, 'review_rate': None}
    """
    asked = {"rate": rate, "score_views": views, "confidence": confidence, "review_rate": review_rate}
    given = {name: value for name, value in asked.items() if value is not None}
    return {
        name: None if name in _CAN_BE_TAKEN_AWAY and value == 0 else value for name, value in given.items()
    }


def anew(
    model: Model,
    asked: Mapping[str, Any],
    good: list[ImageLike],
    groups: Sequence[Hashable] | None,
    scorer: Scorer,
    shown: ViewSet,
    progress: Progress,
) -> tuple[Model, Threshold]:
    """Return ``model`` with the settings ``asked`` replaced and the scores of ``good`` images, and its threshold.

    It was not fitted to those; they are scored in the views ``shown``. Raises :class:`ConfigError` for no images, for
    groups that do not go with them, for images that were fitted to, and, before any is looked at, for fewer than the
    wanted confidence needs.
    """
    settings = config.resolve(model.config, asked)
    decision = settings.decision
    if groups is not None and len(groups) != len(good):
        raise ConfigError(f"{len(groups)} groups for {len(good)} images; one each is needed")
    if good:
        calibrate.check_count(len(good), decision.rate, decision.confidence)
    check_unseen(good, model.fitted_on)
    scores = scorer.table(good, shown, progress)
    promise = calibrate.choose_threshold(scores.mean(axis=1), decision.rate, decision.confidence)
    record = record_of(good, groups, way_of(scorer.describer, len(shown)), model.fitted_on, progress)
    if record.same_shoot:
        _warn_of_same_shoot(groups is not None)
    return replace(model, view_scores=scores, config=settings, calibrated_on=record), promise


def _warn_of_same_shoot(by_groups: bool) -> None:
    known = "groups" if by_groups else "folder"
    warnings.warn(
        f"these images come from the shoot that was fitted to (by their {known}): what one shoot has in common, light, "
        "position, material, the model has learned, so they score lower than good parts of another day will, and more "
        "of those than promised may be rejected; calibrate on images of another shoot",
        DifferNetWarning,
        stacklevel=4,
    )


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


def warn_when_weak(model: Model) -> None:
    """Warn the caller's caller of a threshold that is missing or promises less than it seems to."""
    record, fitted = model.calibrated_on, model.fitted_on
    twice = set(record.sources.images) & set(fitted.images) if record and fitted and not record.folds else ()
    if twice:
        warnings.warn(
            f"{len(twice)} held-out good images are byte for byte among those fitted to: their scores are too low, and "
            "so is the threshold; remove the copies",
            DifferNetWarning,
            stacklevel=3,
        )
    calibrate.warn_when_few(artifact.threshold(model), None if record is None else record.groups)


def monitor_of(model: Model, alpha: float) -> DriftMonitor:
    """Return what watches a stream of images for a change against the calibration images; see :mod:`differnet.drift`.

    Raises :class:`ConfigError` for a model file that does not say what it was calibrated on.
    """
    record = model.calibrated_on
    if record is None:
        raise ConfigError(
            "this model does not say how bright and sharp its calibration images were (none were held out, or it is "
            "from before that was noted): calibrate it on good images first"
        )
    return DriftMonitor(model.calibration(), record.brightness, record.sharpness, alpha, model.seed)
