"""Visual defect detection from good images alone: DifferNet (WACV 2021).

>>> import differnet
>>> sorted(name for name in dir(differnet) if name[0].isupper())[:3]
['Config', 'DifferNet', 'DifferNetError']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from differnet.config.presets import Config, resolve
    from differnet.decision.drift import DriftMonitor
    from differnet.decision.plan import plan
    from differnet.decision.verdict import Prediction
    from differnet.detector.detector import DifferNet
    from differnet.errors import DifferNetError, DifferNetWarning
    from differnet.evaluation.audit import audit
    from differnet.flow.flow import Flow
    from differnet.runtime.inspector import Inspector

__version__ = "0.1.0"
__all__ = [
    "Config",
    "DifferNet",
    "DifferNetError",
    "DifferNetWarning",
    "DriftMonitor",
    "Flow",
    "Inspector",
    "Prediction",
    "audit",
    "load",
    "plan",
    "resolve",
]

_HOMES = {
    "Config": "config.presets",
    "resolve": "config.presets",
    "plan": "decision.plan",
    "audit": "evaluation.audit",
    "DifferNet": "detector.detector",
    "DriftMonitor": "decision.drift",
    "Prediction": "decision.verdict",
    "DifferNetError": "errors",
    "DifferNetWarning": "errors",
    "Flow": "flow.flow",
    "Inspector": "runtime.inspector",
}


def load(
    path: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None, device: str = "cpu"
) -> DifferNet:
    """Read a model file; see :meth:`differnet.detector.detector.DifferNet.load`."""
    detector: DifferNet = __getattr__("DifferNet").load(path, weights, device)
    return detector


def __getattr__(name: str) -> Any:
    if name == "light":  # a module: light.measure is what a drift monitor is shown
        return importlib.import_module("differnet.decision.light")
    if name not in _HOMES:
        raise AttributeError(f"module 'differnet' has no attribute {name!r}")
    return getattr(importlib.import_module(f"differnet.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
