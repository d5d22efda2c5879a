"""The backbone in ONNX Runtime on a CPU, in 32-bit floats."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from differnet import threads
from differnet.backbone import MultiScale
from differnet.errors import MissingExtraError
from differnet.runtime import GROUP, Precision, in_turn


class OnnxRuntime:
    """An ONNX graph of the backbone; one object can be used by many threads, which take turns."""

    name = "onnxruntime"
    precision: Precision = "f32"

    def __init__(self, module: MultiScale) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads.limit() or 0  # 0: as many as it likes
        self._session = onnxruntime.InferenceSession(
            export(module), options, providers=["CPUExecutionProvider"]
        )

    def features(self, groups: Iterable[Tensor]) -> Tensor:
        """Map groups of views (B, 3, S, S) to features (V, D)."""
        with in_turn():
            rows = [self._session.run(None, {"views": views.numpy()})[0] for views in groups]
        return torch.from_numpy(np.concatenate(rows))


def export(module: MultiScale) -> bytes:
    """Return ``module`` as ONNX: input ``views`` (B, 3, S, S), output ``features`` (B, D), any B."""
    try:
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError(
            "runtime = 'onnxruntime' needs ONNX: pip install 'differnet[onnx]'"
        ) from error
    example = torch.zeros(GROUP, 3, module.sizes[0], module.sizes[0])
    buffer = io.BytesIO()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (example,),
                buffer,  # type: ignore[arg-type]  # files are taken too
                input_names=["views"],
                output_names=["features"],
                dynamic_shapes={"views": {0: torch.export.Dim("views_in_group", min=1, max=64)}},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    return buffer.getvalue()
