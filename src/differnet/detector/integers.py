"""From a model that was fitted in floats to one in 8-bit integers, past a gate of good images."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from differnet.config import presets
from differnet.config.settled import Settled, settle
from differnet.data.stream import Progress
from differnet.decision import thresholds
from differnet.decision.calibration import ViewScores
from differnet.detector import model as artifact
from differnet.detector.fitting import map_scale
from differnet.detector.model import Model
from differnet.detector.prepare import quantized
from differnet.detector.promise.split import part
from differnet.detector.provenance import check_groups, check_unseen, record_of
from differnet.detector.recalibrate import way_of
from differnet.detector.scoring import Scorer, scoring_views
from differnet.errors import ConfigError, QuantizationError, counted
from differnet.features.backbone import select
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.quantize import IMAGES
from differnet.features.describer import Describer, describer_of_graph
from differnet.features.look import Given, Look
from differnet.features.seeds import generator
from differnet.features.sisters import together

FEWEST = 20
MOST_SHIFT = 0.05
LEAST_CORRELATION = 0.95


def to_integers(
    model: Model,
    module: MultiScale,
    describer: Describer,
    good: Given,
    device: str,
    progress: Progress,
) -> tuple[Model, Describer, Gate]:
    """Return the model in integers, what describes for it, and the figures of the gate.

    Of the ``good`` images, which were not fitted to, some give the ranges of the integers; the others are what the
    gate looks at and what sets the threshold anew; images of one group stay together. Raises
    :class:`QuantizationError` when the gate refuses and :class:`ConfigError` for a model in integers, away from the
    CPU, and for groups that are all too large.
    """
    settings = _settings_in_integers(model, device)
    shown = scoring_views(settings.views, model.seed)
    good, ranges, others = _parts(good, settings, model.seed, progress)
    record = record_of(others.images, others.groups, way_of(describer, len(shown)), model.fitted_on, progress)
    check_unseen(others.images, record, model.fitted_on)
    graph = quantized(module, ranges, settings, model.seed, progress)
    small = describer_of_graph(graph, settings)
    floats = Scorer(model.fusion, describer, "cpu")
    before = floats.table(others.images, shown, progress)
    after = replace(floats, describer=small).table(others.images, shown, progress)
    found = _gate(model, before, after)
    changed = replace(
        model,
        config=settings.config,
        view_scores=after,
        calibrated_on=replace(record, way=way_of(small, len(shown))),
        runtime="openvino",
        precision="int8",
        graph=graph,
        probe=small.probe(),
        sisters=good.found or model.sisters,
    )
    scale = map_scale(changed, module, small, others.images, progress)
    return replace(changed, map_scale=scale), small, found


def _parts(good: Given, settings: Settled, seed: int, progress: Progress) -> tuple[Given, list[Look], Given]:
    """Return the images with their groups, those that give the ranges, and the others; refuses too few of these."""
    decision = settings.decision
    check_groups(good.images, good.groups)
    good = together(good.images, good.groups, decision, seed, progress)
    ranges, others = _shared_out(good, seed)
    check_count(len(others), len(ranges))
    thresholds.check_count(len(others), decision.rate, decision.confidence)
    return good, [good.images[index] for index in ranges], part(good, others)


def _shared_out(good: Given, seed: int) -> tuple[list[int], list[int]]:
    """Return the positions of images that give the ranges, at most half, and of the others, in a random order."""
    order = torch.randperm(len(good.images), generator=generator(seed, "ranges or gate")).tolist()
    count = min(IMAGES, len(order) // 2)
    if good.groups is None:
        return order[:count], order[count:]
    members: dict[Hashable, list[int]] = {}
    for index in order:
        members.setdefault(good.groups[index], []).append(index)
    ranges: list[int] = []
    for one in members.values():
        if len(ranges) + len(one) <= count:
            ranges += one
    if not ranges:
        raise ConfigError(
            f"{counted(len(order), 'good image')} of {counted(len(members), 'group')}, each too large for the ranges: "
            "give images of more groups"
        )
    taken = set(ranges)
    return ranges, [index for index in order if index not in taken]


def _settings_in_integers(model: Model, device: str) -> Settled:
    """Return the settings of a model with integers in the place of floats, if they can be had here."""
    if device != "cpu":
        raise ConfigError(f"device = {device!r}: 8-bit integers run on the CPU; load it there")
    if model.precision == "int8":
        raise ConfigError("this detector computes in 8-bit integers already")
    settings = settle(presets.resolve(model.config, {"precision": "int8", "runtime": "auto"}))
    select.choose_precision(settings.backbone, "cpu")
    return settings


def _gate(model: Model, before: ViewScores, after: ViewScores) -> Gate:
    """Compare scores (M, V) in floats and integers; raises :class:`QuantizationError` when integers are refused."""
    decision, scores = model.config.decision, before.mean(axis=1)
    promise = artifact.threshold(model) or thresholds.choose_threshold(
        scores, decision.rate, decision.confidence
    )
    found = compare(scores, after.mean(axis=1), promise.value, promise.promised)
    if not found.is_passed:
        raise QuantizationError(f"8-bit integers are refused: {found}; fit anew with precision = 'int8'")
    return found


@dataclass(frozen=True)
class Gate:
    """How the scores of the same good images differ between floats and integers.

    ``shift``: the median of |tau_int8 / tau_f32 - 1|. ``correlation``: Spearman's, over images. ``flagged``: how many
    of ``count`` images the threshold of the floats rejects in integers, where ``rate`` of them were promised.
    """

    count: int
    shift: float
    correlation: float
    flagged: int
    rate: float

    @property
    def allowed(self) -> int:
        """The most rejections that a false-alarm rate of ``rate`` explains with 99 % confidence."""
        from scipy import stats  # half a second, which only this needs

        return int(stats.binom.ppf(0.99, self.count, self.rate))

    @property
    def is_passed(self) -> bool:
        """Whether integers may take the place of floats."""
        return (
            self.shift <= MOST_SHIFT
            and self.correlation >= LEAST_CORRELATION
            and self.flagged <= self.allowed
        )

    def __str__(self) -> str:
        return (
            f"on {self.count} good images the scores move by {self.shift:.1%} (at most {MOST_SHIFT:.0%} is let "
            f"pass), their order agrees to {self.correlation:.3f} (at least {LEAST_CORRELATION}), and the threshold "
            f"rejects {self.flagged} (at most {self.allowed})"
        )


def check_count(count: int, others: int = 0) -> None:
    """Refuse to decide by fewer than ``FEWEST`` images, beside the ``others`` that give the ranges."""
    if count < FEWEST:
        raise QuantizationError(
            f"{count + others} good images, of which {others} give the ranges; at least {FEWEST} more, none of them "
            "fitted to, are wanted for the decision"
        )


def compare(
    floats: npt.NDArray[np.float64], integers: npt.NDArray[np.float64], threshold: float, rate: float
) -> Gate:
    """Compare scores (M,) of the same good images; raises :class:`QuantizationError` for fewer than ``FEWEST``."""
    from scipy import stats

    check_count(len(floats))
    shift = float(np.median(np.abs(integers / floats - 1)))
    correlation = float(stats.spearmanr(floats, integers).statistic)
    flagged = int(np.count_nonzero(integers >= threshold))
    return Gate(len(floats), shift, -1.0 if math.isnan(correlation) else correlation, flagged, rate)
