"""The backbone in OpenVINO on a CPU, in 32-bit floats or in the 8-bit integers of :mod:`differnet.quantize`."""

from __future__ import annotations

import hashlib
import importlib
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from differnet.backbone import MultiScale
from differnet.errors import ModelFileError
from differnet.runtime import GROUP, Precision

_TOGETHER = GROUP // 2  # views in one request; two requests run at a time


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
    """A graph compiled for this CPU, half of a group on each half of its cores.

    One object can be used by many threads; they take turns.
    """

    name = "openvino"

    def __init__(self, model: Any, precision: Precision = "f32") -> None:
        openvino = import_openvino()
        self.precision = precision
        model.reshape([_TOGETHER, *list(model.input(0).shape)[1:]])
        options = {"NUM_STREAMS": "2", "INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(model, "CPU", options)
        self.width = int(compiled.output(0).shape[1])
        self.size = int(compiled.input(0).shape[2])
        self._queue = openvino.AsyncInferQueue(compiled, 2)
        self._queue.set_callback(_store)
        self._lock = threading.Lock()

    def features(self, groups: Iterable[Tensor]) -> Tensor:
        """Map groups of at most ``GROUP`` views (B, 3, S, S) to features (V, D)."""
        rows: list[npt.NDArray[np.float32]] = []
        with self._lock, _one_torch_thread():
            try:
                for views in groups:
                    for pair in views.split(_TOGETHER):
                        rows.append(np.empty((len(pair), self.width), dtype=np.float32))
                        pixels = _whole(pair)  # shared with the request, so it must outlive it
                        self._queue.start_async({0: pixels}, (rows[-1], pixels), share_inputs=True)
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


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Leave the cores to OpenVINO: torch only renders the next views meanwhile, and its threads wait in a loop."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _whole(views: Tensor) -> npt.NDArray[np.float32]:
    """Fill up to ``_TOGETHER`` views; the graph has one shape."""
    array: npt.NDArray[np.float32] = np.ascontiguousarray(views.numpy())
    if len(array) == _TOGETHER:
        return array
    whole = np.zeros((_TOGETHER, *array.shape[1:]), dtype=np.float32)
    whole[: len(array)] = array
    return whole


def _store(request: Any, places: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]) -> None:
    rows, _ = places
    rows[:] = request.get_output_tensor().data[: len(rows)]
