"""The backbone in OpenVINO on a CPU, in 32-bit floats or in the 8-bit integers of :mod:`differnet.quantize`."""

from __future__ import annotations

import hashlib
import importlib
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from differnet.backbone import MultiScale
from differnet.errors import ModelFileError, ShapeError
from differnet.runtime import GROUP, Precision


@dataclass(frozen=True, eq=False)
class Graph:
    """A network as OpenVINO writes it: ``xml`` names the layers, ``constants`` hold the weights."""

    xml: bytes
    constants: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of both parts."""
        return hashlib.sha256(hashlib.sha256(self.xml).digest() + self.constants).hexdigest()

    @classmethod
    def of(cls, model: Any) -> Graph:
        """Take the bytes of an ``openvino.Model``."""
        openvino = import_openvino()
        with tempfile.TemporaryDirectory() as folder:
            xml, constants = Path(folder, "graph.xml"), Path(folder, "graph.bin")
            openvino.serialize(model, xml, constants)
            return cls(xml.read_bytes(), constants.read_bytes())


class OpenVinoRuntime:
    """A graph compiled for this CPU: ``GROUP`` views at a time, the next ones queued behind them.

    One object can be used by many threads; they take turns.
    """

    name = "openvino"

    def __init__(self, model: Any, precision: Precision = "f32") -> None:
        openvino = import_openvino()
        self.precision = precision
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(model, "CPU", options)
        self.width = int(compiled.output(0).shape[1])
        self.size = int(compiled.input(0).shape[2])
        self._queue = openvino.AsyncInferQueue(compiled, 2)
        self._queue.set_callback(_store)
        self._lock = threading.Lock()

    def features(self, groups: Iterable[Tensor]) -> Tensor:
        """Map groups of at most ``GROUP`` views (B, 3, S, S) to features (V, D)."""
        rows: list[npt.NDArray[np.float32]] = []
        with self._lock:
            try:
                for views in groups:
                    rows.append(np.empty((len(views), self.width), dtype=np.float32))
                    self._queue.start_async({0: _whole_group(views)}, rows[-1])
            finally:
                self._queue.wait_all()
        return torch.from_numpy(np.concatenate(rows))


def import_openvino() -> Any:
    """Import OpenVINO without the package by which it would report its use over the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def convert(module: MultiScale) -> Any:
    """Return ``module`` as an ``openvino.Model`` for one group of views."""
    openvino = import_openvino()
    shape = (GROUP, 3, module.sizes[0], module.sizes[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return openvino.convert_model(module, example_input=torch.zeros(shape), input=list(shape))


def run_graph(graph: Graph) -> OpenVinoRuntime:
    """Compile the bytes of an int8 graph; raises :class:`ModelFileError` when they are none."""
    openvino = import_openvino()
    try:
        model = openvino.Core().read_model(model=graph.xml, weights=graph.constants)
        return OpenVinoRuntime(model, "int8")
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelFileError(f"the int8 network cannot be read by this OpenVINO: {reason}") from error


def _whole_group(views: Tensor) -> npt.NDArray[np.float32]:
    """Fill a group up to ``GROUP`` views; the graph has one shape."""
    if len(views) > GROUP:
        raise ShapeError(f"a group of {len(views)} views; at most {GROUP} were wanted")
    array: npt.NDArray[np.float32] = np.ascontiguousarray(views.numpy())
    if len(array) == GROUP:
        return array
    whole = np.zeros((GROUP, *array.shape[1:]), dtype=np.float32)
    whole[: len(array)] = array
    return whole


def _store(request: Any, rows: npt.NDArray[np.float32]) -> None:
    rows[:] = request.get_output_tensor().data[: len(rows)]
