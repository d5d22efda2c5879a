"""Where the frozen backbone runs: PyTorch on any device, or OpenVINO on a CPU.

PyTorch is the reference: an OpenVINO graph is used only after its features agreed with it.
"""

from __future__ import annotations

import importlib.util
import threading
import warnings
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from differnet.backbone import MultiScale
from differnet.config import RuntimeName
from differnet.errors import ConfigError, MissingExtraError, NumericalError

AGREEMENT = 1e-4


class Runtime(Protocol):
    """Anything that turns rendered views into features."""

    name: str

    def features(self, views: Tensor) -> Tensor:
        """Map views (V, 3, S, S) with values 0..255 to features (V, D) on the CPU."""


def choose(module: MultiScale, name: RuntimeName = "auto", device: str = "cpu") -> Runtime:
    """Pick where ``module`` runs; ``"auto"`` is OpenVINO on a CPU that has it and torch elsewhere."""
    on_cpu = torch.device(device).type == "cpu"
    if name == "openvino" and not on_cpu:
        raise ConfigError(f"runtime = 'openvino' runs on the CPU, not on {device!r}")
    installed = importlib.util.find_spec("openvino") is not None
    if name == "openvino" and not installed:
        raise MissingExtraError("runtime = 'openvino' needs OpenVINO: pip install openvino")
    if name == "torch" or not on_cpu or not installed:
        return TorchRuntime(module, device)
    return OpenVinoRuntime(module)


def check_device(device: str) -> str:
    """Return ``device`` if torch can use it here; raises :class:`ConfigError` if not."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device = {device!r} cannot be used here ({reason}); 'cpu' always can") from error
    return device


class TorchRuntime:
    """The backbone as PyTorch runs it, a few views at a time."""

    name = "torch"

    def __init__(self, module: MultiScale, device: str = "cpu", batch: int = 8) -> None:
        self.module = module.to(device)
        self.device = device
        self.batch = batch

    def features(self, views: Tensor) -> Tensor:
        """Map views (V, 3, S, S) to features (V, D) on the CPU."""
        with torch.inference_mode():
            parts = [self.module(part.to(self.device)).cpu() for part in views.split(self.batch)]
        return torch.cat(parts)


class OpenVinoRuntime:
    """The backbone as an OpenVINO graph in 32-bit floats, one view at a time, the next one queued.

    Raises :class:`NumericalError` when its features differ from PyTorch's by more than ``AGREEMENT`` of
    the largest.
    """

    name = "openvino"

    def __init__(self, module: MultiScale) -> None:
        self.width = module.width
        self._queue = _compile(module)
        self._queue.set_callback(_store)
        self._lock = threading.Lock()
        probe = torch.rand(1, 3, module.sizes[0], module.sizes[0], generator=torch.Generator().manual_seed(0))
        _check_agreement(module, self, probe * 255)

    def features(self, views: Tensor) -> Tensor:
        """Map views (V, 3, S, S) to features (V, D)."""
        out = np.empty((len(views), self.width), dtype=np.float32)
        array = np.ascontiguousarray(views.numpy())
        with self._lock:
            for row in range(len(array)):
                self._queue.start_async({0: array[row : row + 1]}, out[row])
            self._queue.wait_all()
        return torch.from_numpy(out)


def _store(request: Any, row: npt.NDArray[np.float32]) -> None:
    row[:] = request.get_output_tensor().data[0]


def _compile(module: MultiScale) -> Any:
    import openvino

    size = module.sizes[0]
    example = torch.zeros(1, 3, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(module, example_input=example, input=[1, 3, size, size])
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    return openvino.AsyncInferQueue(openvino.Core().compile_model(graph, "CPU", options), 2)


def _check_agreement(module: MultiScale, runtime: OpenVinoRuntime, probe: Tensor) -> None:
    with torch.inference_mode():
        wanted = module(probe)
    found = runtime.features(probe)
    difference = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))
    if not difference <= AGREEMENT:
        raise NumericalError(
            f"OpenVINO's features differ from PyTorch's by {difference:.1e} of the largest, more than "
            f"{AGREEMENT:.0e}; choose runtime = 'torch' and report this machine"
        )
