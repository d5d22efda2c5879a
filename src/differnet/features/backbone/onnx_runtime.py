"""The backbone in ONNX Runtime on a CPU, in 32-bit floats."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from differnet.config.shape import Shape
from differnet.decision.early_stop import GROUP
from differnet.errors import MissingExtraError
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.torch_runtime import MapsOf, Precision, Runtime, in_turn
from differnet.runtime import threads


class OnnxRuntime:
    """An ONNX graph of the backbone; one object can be used by many threads, which take turns."""

    name = "onnxruntime"
    precision: Precision = "f32"
    on_one_core: Runtime | None = None
    feature_maps: MapsOf | None = None

    def __init__(self, module: MultiScale, shape: Shape | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads.limit() or 0  # 0: as many as it likes
        self._session = onnxruntime.InferenceSession(
            export(module, shape), options, providers=["CPUExecutionProvider"]
        )

    def features(self, groups: Iterable[Tensor]) -> Tensor:
        """Map groups of views (B, 3, S, T) to features (V, D)."""
        with in_turn():
            rows = [self._session.run(None, {"views": views.numpy()})[0] for views in groups]
        return torch.from_numpy(np.concatenate(rows))


def export(module: MultiScale, shape: Shape | None = None) -> bytes:
    """Return ``module`` as ONNX: input ``views`` (B, 3, *shape), else squares, output ``features`` (B, D), any B."""
    example = torch.zeros(GROUP, 3, *(shape or module.square))
    return to_onnx(module, {"views": example}, ("features",), ("views",))


def to_onnx(
    module: nn.Module, examples: Mapping[str, Tensor], outputs: Sequence[str], any_count: Sequence[str]
) -> bytes:
    """Return ``module`` as ONNX, weights included.

    ``examples``: its inputs by name, in order; those in ``any_count`` may be as many as there are views, from 1 to 64.
    Raises :class:`MissingExtraError` without what torch needs for it.
    """
    try:
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError("ONNX needs onnxscript: pip install 'differnet[onnx]'") from error
    count = torch.export.Dim("views_in_group", min=1, max=64)
    shapes = tuple({0: count} if name in any_count else None for name in examples)
    buffer = io.BytesIO()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(),
                tuple(examples.values()),
                buffer,  # type: ignore[arg-type]  # files are taken too
                input_names=list(examples),
                output_names=list(outputs),
                dynamic_shapes=shapes if any_count else None,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    return buffer.getvalue()
