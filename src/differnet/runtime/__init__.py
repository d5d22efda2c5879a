"""What an inspection station imports: NumPy, Pillow, and ONNX Runtime or OpenVINO are enough for it, and torch is not.

    from differnet.runtime import Inspector

    prediction = Inspector("station").predict("part.png")

See :mod:`differnet.runtime.inspector`; what runs the backbone of a detector is in
:mod:`differnet.features.backbone.torch_runtime`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from differnet.decision.drift import DriftMonitor
    from differnet.decision.verdict import Prediction
    from differnet.errors import DifferNetError, DifferNetWarning
    from differnet.runtime.inspector import Inspector

__all__ = ["DifferNetError", "DifferNetWarning", "DriftMonitor", "Inspector", "Prediction"]

_HOMES = {
    "DifferNetError": "errors",
    "DifferNetWarning": "errors",
    "DriftMonitor": "decision.drift",
    "Inspector": "runtime.inspector",
    "Prediction": "decision.verdict",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'differnet.runtime' has no attribute {name!r}")
    return getattr(importlib.import_module(f"differnet.{_HOMES[name]}"), name)
