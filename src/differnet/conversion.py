"""From a model that was fitted in floats to one in 8-bit integers, past a gate of good images."""

from __future__ import annotations

from dataclasses import replace

import torch

from differnet import artifact, gate
from differnet.artifact import Model
from differnet.config import presets
from differnet.data.images import ImageLike
from differnet.data.stream import Progress
from differnet.decision import thresholds
from differnet.errors import ConfigError, QuantizationError
from differnet.features.backbone import select
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.quantize import IMAGES
from differnet.features.describer import Describer, describer_of_graph
from differnet.features.seeds import generator
from differnet.fitting import map_scale
from differnet.preparing import quantized
from differnet.recalibrate import way_of
from differnet.record import check_unseen, record_of
from differnet.scorer import Scorer, scoring_views


def to_integers(
    model: Model,
    module: MultiScale,
    describer: Describer,
    good: list[ImageLike],
    device: str,
    progress: Progress,
) -> tuple[Model, Describer, gate.Gate]:
    """Return the model in integers, what describes for it, and the figures of the gate.

    Of the ``good`` images, which were not fitted to, some give the ranges of the integers; the others are what the
    gate looks at and what sets the threshold anew. Raises :class:`QuantizationError` when the gate refuses and
    :class:`ConfigError` for a model in integers and away from the CPU.
    """
    if device != "cpu":
        raise ConfigError(f"device = {device!r}: 8-bit integers run on the CPU; load it there")
    if model.precision == "int8":
        raise ConfigError("this detector computes in 8-bit integers already")
    settings = presets.resolve(model.config, {"precision": "int8", "runtime": "auto"})
    select.choose_precision(settings.backbone, "cpu")
    order = torch.randperm(len(good), generator=generator(model.seed, "ranges or gate")).tolist()
    count = min(IMAGES, len(good) // 2)
    ranges, others = [good[index] for index in order[:count]], [good[index] for index in order[count:]]
    gate.check_count(len(others), count)
    decision = settings.decision
    thresholds.check_count(len(others), decision.rate, decision.confidence)
    shown = scoring_views(settings.views, model.seed)
    record = record_of(others, None, way_of(describer, len(shown)), model.fitted_on, progress)
    check_unseen(others, record, model.fitted_on)
    graph = quantized(module, ranges, settings, model.seed, progress)
    small = describer_of_graph(graph, settings)
    floats = Scorer(model.flow, model.reading, describer, "cpu")
    before = floats.table(others, shown, progress)
    after = replace(floats, describer=small).table(others, shown, progress)
    promise = artifact.threshold(model) or thresholds.choose_threshold(
        before.mean(axis=1), decision.rate, decision.confidence
    )
    found = gate.compare(before.mean(axis=1), after.mean(axis=1), promise.value, promise.promised)
    if not found.is_passed:
        raise QuantizationError(f"8-bit integers are refused: {found}; fit anew with precision = 'int8'")
    changed = replace(
        model,
        config=settings,
        view_scores=after,
        calibrated_on=replace(record, way=way_of(small, len(shown))),
        map_scale=map_scale(model.flow, model.reading, module, small, settings, others, progress),
        runtime="openvino",
        precision="int8",
        graph=graph,
        probe=small.probe(),
    )
    return changed, small, found
