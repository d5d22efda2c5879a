"""A small graph of OpenVINO that maps one row of numbers, one core for each row."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from differnet.features.backbone.openvino_runtime import compiled
from differnet.features.backbone.torch_runtime import in_turn, is_in_lane
from differnet.runtime import threads
from differnet.runtime.engines import import_openvino, mind_lost_threads

Numbers = npt.NDArray[np.float32]
Outputs = tuple[Numbers, ...]


class RowRuntime:
    """A graph from a row (1, W) to its outputs, compiled for this CPU; one object can be used by many threads.

    Every row is a request of its own on one core, so that what comes of it is the same to the bit whatever rows come
    with it. Several rows have all cores, but in a lane, which is one.
    """

    def __init__(self, model: Any) -> None:
        mind_lost_threads(self)
        self._network = compiled(model, "f32", 1, threads.cores())
        self._queue = import_openvino().AsyncInferQueue(self._network, threads.cores())
        self._queue.set_callback(_store)
        self._own = threading.local()
        self._generation = threads.generation()

    def is_of_this_process(self) -> bool:
        """Whether it can be used; one from before a fork has no threads, and is never given up."""
        if self._generation == threads.generation():
            return True
        threads.keep_lost(self)
        return False

    def run(self, rows: Numbers) -> list[Outputs]:
        """Map rows (B, W) to the outputs of each."""
        each = np.split(np.ascontiguousarray(rows), len(rows))
        if is_in_lane() or len(each) == 1:
            return [self._alone(row) for row in each]
        found: list[list[Outputs]] = [[] for _ in each]
        with in_turn():
            for row, place in zip(each, found, strict=True):
                self._queue.start_async({0: row}, (place, row), share_inputs=True)
            self._queue.wait_all()
        return [outputs for place in found for outputs in place]

    def _alone(self, row: Numbers) -> Outputs:
        if not hasattr(self._own, "request"):
            self._own.request = self._network.create_infer_request()
        self._own.request.infer({0: row}, share_inputs=True)
        return _outputs(self._own.request)


def operations() -> Any:
    """Return the module of OpenVINO's operations, of which a model is written."""
    import_openvino()
    return importlib.import_module("openvino.opset13")


def model_of(outputs: Sequence[Any], row: Any) -> Any:
    """Return an ``openvino.Model`` from the parameter ``row`` to ``outputs``."""
    return import_openvino().Model(list(outputs), [row], "rows")


def _store(request: Any, given: tuple[list[Outputs], Numbers]) -> None:
    place, _ = given  # the row is kept until it was read
    place.append(_outputs(request))


def _outputs(request: Any) -> Outputs:
    return tuple(tensor.data.copy() for tensor in request.output_tensors)
