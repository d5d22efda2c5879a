"""From the scores of an image's views to what the detector says of it: after all views, or as soon as it is certain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from differnet.decision import early_stop, thresholds
from differnet.decision.calibration import Calibrated
from differnet.decision.calibration import ViewScores as ViewScores
from differnet.decision.early_stop import LOOK
from differnet.errors import ConfigError, NotFittedError, counted, warn

Heat = npt.NDArray[np.float32]
Verdict = Literal["OK", "review", "NG"]
_TINY = 1e-100  # a threshold below is none to count percent of


class PredictionRecord(NamedTuple):
    """A prediction in plain numbers: what every row, table, page and answer is made of.

    See :class:`Prediction` for each; all are nothing where an image could not be judged.
    """

    score: float | None = None
    p_value: float | None = None
    threshold: float | None = None
    is_defective: bool | None = None
    views: int | None = None
    verdict: Verdict | None = None
    percent: float | None = None
    review_threshold: float | None = None


@dataclass(frozen=True)
class Prediction:
    """What the detector says of one image.

    ``score``: tau(x), eq. 5, the mean over ``views`` views. ``threshold``: theta, eq. 6; ``is_defective``: score >=
    threshold; both absent when no good images were held out. ``p_value``: the conformal p-value, the chance that a good
    image like those held out scores as high or higher, on average over calibration sets; not the chance that the part
    is good. ``review_threshold``: that of the higher false-alarm rate ``review_rate``; nothing without one.
    ``heat_map``: (H, W) of the image, 1 is the peak of a typical good image; on request only. ``note``: what of the
    image was not looked at, or not as it is (other pages, levels beyond white); nothing where all of it was.

    With ``views="auto"`` ``is_defective`` is that of all views, up to the error of stopping early
    (:mod:`differnet.decision.early_stop`), and so is the choice between "OK" and "review", by the same rule and with
    the same error; score and p-value are those of the views seen, and the p-value is not exact, since the scores had
    a part in when to stop.
    """

    score: float
    threshold: float | None = None
    is_defective: bool | None = None
    p_value: float | None = None
    views: int = 0
    review_threshold: float | None = None
    heat_map: Heat | None = field(default=None, repr=False, compare=False)
    note: str | None = field(default=None, repr=False, compare=False)

    @property
    def verdict(self) -> Verdict | None:
        """One of three answers: "NG" is defective, "review" is for a person to look at, "OK" is neither."""
        if self.is_defective is None:
            return None
        if self.is_defective:
            return "NG"
        return "OK" if self.review_threshold is None or self.score < self.review_threshold else "review"

    @property
    def percent(self) -> float | None:
        """The score of the views seen in percent of the threshold; defective from 100 on."""
        if self.threshold is None or self.threshold < _TINY:
            return None
        return 100 * (self.score / self.threshold)

    @property
    def record(self) -> PredictionRecord:
        """All of it but the heat map."""
        return PredictionRecord(*(getattr(self, name) for name in PredictionRecord._fields))


def after_all(model: Calibrated, scores: ViewScores) -> Prediction:
    """Judge the scores (k,) of exactly k views by the held-out images in as many.

    Raises :class:`ConfigError` when those were not scored in k views.
    """
    mean = float(scores.mean())
    promise = threshold_for(model, len(scores))
    if promise is None:
        return Prediction(mean, views=len(scores))
    p = thresholds.p_value(mean, model.standard.calibration(len(scores)))
    limit = review_threshold(model, len(scores))
    return Prediction(mean, promise.value, mean >= promise.value, p, len(scores), limit)


def as_soon_as_certain(model: Calibrated, looks: Iterable[ViewScores]) -> Prediction:
    """Take the view scores of one image look by look, in the order of the scoring views, until it is certain.

    With a review threshold a good part is looked at until it is certain on which side of that it lies, too: the bounds
    of the rule hold for every view and any threshold at once. Raises :class:`NotFittedError` without held-out images,
    whose scores say what certain means.
    """
    theta, limit = _needed_threshold(model), review_threshold(model)
    scores: ViewScores = np.empty(0)
    for seen in looks:
        scores = np.concatenate((scores, seen))
        verdict = model.standard.early_stop.verdict(scores, theta)
        if verdict is None or not (verdict or limit is None or _is_certain(model, scores, limit)):
            continue
        mean = float(scores.mean())
        p = thresholds.p_value(mean, model.standard.calibration(len(scores)))
        return Prediction(mean, theta, verdict, p, len(scores), limit)
    raise ConfigError(f"{len(scores)} views of {model.standard.usual_views} were given")


def _is_certain(model: Calibrated, scores: ViewScores, limit: float) -> bool:
    return model.standard.early_stop.verdict(scores, limit) is not None


def judge(model: Calibrated, scores: ViewScores, early: bool) -> Prediction:
    """Judge the scores (V,) of all views; ``early`` as ``views="auto"`` would, from as few of them as it takes."""
    if not early:
        return after_all(model, scores)
    return as_soon_as_certain(model, np.split(scores, range(LOOK, len(scores), LOOK)))


def check_early(model: Calibrated) -> None:
    """Refuse ``views="auto"`` where nothing says what certain means; warn where that is a weak promise."""
    _needed_threshold(model)
    rule = model.standard.early_stop
    promise = threshold_for(model)
    if promise and promise.guarantee == "cross-fitted":
        message = (
            f"the error of stopping early, {rule.error:.1%} to either side, is an estimate from {promise.count} "
            f"cross-fitted images over {promise.folds} folds, without a proof"
        )
    elif rule.error > early_stop.ERROR:
        message = (
            f"with {counted(len(model.standard.view_scores), 'held-out good image')}, stopping early judges a good "
            f"image otherwise than all views would with a probability of at most {rule.error:.1%} to either side"
        )
    else:
        return
    warn(message)


def _needed_threshold(model: Calibrated) -> float:
    promise = threshold_for(model)
    if promise is None:
        raise NotFittedError(
            "views='auto' needs held-out good images: fit with holdout above 0, or calibrate"
        )
    return promise.value


def review_threshold(model: Calibrated, views: int | None = None) -> float | None:
    """Return the value of :func:`review_promise`."""
    promise = review_promise(model, views)
    return None if promise is None else promise.value


def review_promise(model: Calibrated, views: int | None = None) -> thresholds.Threshold | None:
    """Return the threshold from which a person should look, for the mean of ``views`` views; never above theta.

    Its promise is of the share of good parts that are not "OK". Nothing without a ``review_rate`` or held-out images.
    """
    rate = model.standard.review_rate
    return None if rate is None else threshold_for(model, views, rate)


def threshold_for(
    model: Calibrated, views: int | None = None, rate: float | None = None
) -> thresholds.Threshold | None:
    """Return theta for the mean of ``views`` scoring views, or of the usual number, at ``rate`` or the usual one.

    Nothing when no images were held out; raises :class:`ConfigError` when they were not scored in ``views``.
    """
    return model.standard.threshold_for(views, rate)
