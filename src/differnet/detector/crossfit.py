"""Cross-fitting: where good images are scarce, each is scored by flows fitted to the other folds, and used to fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from differnet.data import groups
from differnet.data.stream import name_of
from differnet.decision.calibration import ViewScores
from differnet.detector.fitting import Fitter, unheard
from differnet.detector.model import Model
from differnet.detector.promise.split import folds_for
from differnet.detector.provenance import record_of
from differnet.detector.scoring import view_scores
from differnet.errors import warn
from differnet.features.look import Given


def fit(fitter: Fitter, good: Given, held: Given, bank: Tensor | None) -> Model:
    """Fit to ``good`` images and calibrate on those ``held`` out, or, with ``folds``, on the good ones themselves.

    Each is then scored by a flow that was fitted to the other folds; images are described once. What to look at, how
    far to train and the ranges of 8-bit integers were found out from all of them.
    :func:`differnet.detector.promise.split.split` refused what cannot be done.
    """
    if not fitter.settings.decision.folds:
        return fitter.fit(good, held, bank)
    return _cross_fit(fitter, good, bank)


def warn_when_unequal(folds: Sequence[Sequence[int]]) -> None:
    """Say where large groups make folds unequal: the flows of the folds then learn from unlike numbers of images."""
    sizes = [len(fold) for fold in folds]
    if max(sizes) > 2 * min(sizes):
        warn(
            f"the {len(sizes)} folds hold {min(sizes)} to {max(sizes)} images, since those of one group stay together: "
            "the scores of the large ones come from flows that learned from fewer, and are too high rather than too "
            "low; smaller groups, or fewer folds, make them alike"
        )


def _cross_fit(fitter: Fitter, good: Given, bank: Tensor | None) -> Model:
    count = len(good.images)
    names = range(count) if good.groups is None else good.groups
    count_of_folds = folds_for(good.groups if good.found else None, fitter.settings.decision.folds)
    folds = groups.folds_of(names, count_of_folds, fitter.seed)
    warn_when_unequal(folds)
    if bank is None:
        bank = fitter.describe_training(good.images)
    fitter.mark_kept(good.images, [])
    features = fitter.describe_held_out(good.images)
    alone = replace(fitter, checkpoint=None, on_epoch=unheard)
    scores: dict[int, ViewScores] = {}
    for number, fold in enumerate(folds, 1):
        others = [index for index in range(count) if index not in set(fold)]
        rows = None if bank is None else bank[others]
        fusion, _ = alone.train([good.images[i] for i in others], None, rows)
        for index in fold:
            name = name_of(good.images[index])
            scores[index] = view_scores(fusion, features[index], fitter.device, name)
        fitter.progress("cross-fitting", number, len(folds))
    model = fitter.fit(good, Given([]), bank)
    record = record_of(good.images, good.groups, fitter.way, None, fitter.progress, len(folds))
    table = np.stack([scores[index] for index in range(count)])
    return replace(model, view_scores=table, calibrated_on=record)
