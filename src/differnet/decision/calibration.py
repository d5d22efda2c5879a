"""What the score of an image is judged by: the view scores of held-out good images, and the rates that were chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from differnet.decision.early_stop import LOOK, EarlyStop, early_stop
from differnet.decision.thresholds import Threshold, choose_threshold
from differnet.errors import ConfigError

ViewScores = npt.NDArray[np.float64]
Order = Literal["random", "even", "upright"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Standard:
    """The calibration of a detector, in whatever it runs.

    ``view_scores``: scores (M, V) of held-out good images in every scoring view, empty when none were held out.
    ``usual_views``: how many views an image is scored in. ``order``: fewer ``"random"`` views are the first of more;
    ``"even"`` ones are not; ``"upright"`` is a single view, whatever number is asked for. ``rate``, ``confidence``,
    ``review_rate``: see :class:`differnet.config.sections.Decision`. ``folds``: over how many the scores were
    cross-fitted.
    """

    view_scores: ViewScores
    usual_views: int
    order: Order
    rate: float
    confidence: float | None = None
    review_rate: float | None = None
    folds: int = 0
    _known: dict[tuple[int | None, float], Threshold] = field(default_factory=dict, init=False, repr=False)

    def calibration(self, views: int | None = None) -> ViewScores:
        """Return the scores (M,) of the held-out images in their first ``views`` views, or in all."""
        scores: ViewScores = self.view_scores[:, :views].mean(axis=1)
        return scores

    def threshold(self, views: int | None = None, rate: float | None = None) -> Threshold | None:
        """Return theta with its promise for the mean of the first ``views`` views, or of all.

        ``rate``: another than the usual. Nothing when no good images were held out.
        """
        if len(self.view_scores) == 0:
            return None
        key = views, rate or self.rate
        if key not in self._known:
            self._known[key] = choose_threshold(self.calibration(views), key[1], self.confidence, self.folds)
        return self._known[key]

    def threshold_for(self, views: int | None = None, rate: float | None = None) -> Threshold | None:
        """Return :meth:`threshold` for a number of ``views`` that somebody asked for.

        Raises :class:`ConfigError` when the held-out images were not scored in that many.
        """
        known, usual = self.view_scores.shape[1], self.usual_views
        views = 1 if self.order == "upright" and views is not None else views
        if len(self.view_scores) == 0 or views is None or views == usual:
            return self.threshold(rate=rate)
        if views > known or known != usual or self.order != "random":
            raise ConfigError(
                f"views = {views}: the threshold is for {usual} views; for a verdict on another number, "
                f"calibrate(good_images, views={views}) first"
            )
        return self.threshold(views, rate)

    @cached_property
    def early_stop(self) -> EarlyStop:
        """When it is certain before all views were seen; raises :class:`ConfigError` when that is not known."""
        if self.view_scores.shape[1] != self.usual_views:
            raise ConfigError(
                "views = 'auto' needs the scores of held-out images in every scoring view, which this model "
                "lacks: calibrate it on good images first"
            )
        return early_stop(self.view_scores, LOOK)


class Calibrated(Protocol):
    """Anything that has a standard: a model file, or the folder of an inspection station."""

    @property
    def standard(self) -> Standard:
        """What scores are judged by."""
