"""The backbone in 8-bit integers, its ranges taken from views of good images (NNCF's post-training quantisation).

Integers move the features, so a flow belongs to the very graph whose features it was fitted to: the two travel
together in the model file. Ranges are the true least and largest values: NNCF's default, the mean over images,
clips what is unusual, which is what a detector looks for.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from differnet.errors import QuantizationError
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.openvino_runtime import Graph, convert, run_graph
from differnet.features.backbone.torch_runtime import TorchRuntime
from differnet.runtime.engines import core
from differnet.runtime.memory import give_back

IMAGES = 24  # good images that give the ranges, one group of views each
_LEAST_COSINE = 0.9


def quantize(
    module: MultiScale, group: Callable[[int], Tensor], count: int, on_step: Callable[[int], None]
) -> Graph:
    """Return ``module`` in 8-bit integers, with ranges from ``count`` groups of views (B, 3, S, T), values 0..255.

    ``group`` renders one of them anew whenever it is asked, so that they are never all in memory; ``on_step`` is
    told of each. Raises :class:`QuantizationError` when the new features point elsewhere than
    PyTorch's: a cosine below 0.9 on the first group.
    """
    core()  # first, so that NNCF finds no telemetry either, and that its own ends before
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    def pixels(index: int) -> Any:
        on_step(index + 1)
        return group(index).numpy()

    nncf.set_log_level(logging.ERROR)
    first = group(0)
    data = nncf.Dataset(range(count), pixels)
    with contextlib.redirect_stdout(io.StringIO()):  # NNCF draws progress bars there
        quantized = nncf.quantize(
            convert(module, (first.shape[-2], first.shape[-1])),
            data,
            subset_size=count,
            preset=nncf.QuantizationPreset.MIXED,
            fast_bias_correction=False,  # the fast one is coarser, see docs/decisions.md
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
            ),
        )
    graph = Graph.of(quantized)
    del quantized, data
    give_back()
    cosine = alignment(run_graph(graph).features([first]), TorchRuntime(module).features([first]))
    if not cosine >= _LEAST_COSINE:
        raise QuantizationError(
            f"in 8-bit integers the features point elsewhere (cosine {cosine:.3f} to those in floats, at "
            f"least {_LEAST_COSINE} was wanted); fit with precision = 'f32'"
        )
    return graph


def alignment(found: Tensor, wanted: Tensor) -> float:
    """Return the least cosine between rows (V, D) of two feature tables."""
    return float(torch.nn.functional.cosine_similarity(found, wanted, dim=1).min())
