"""A small graph of OpenVINO that maps one row of numbers, one core for each row."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from differnet.errors import ShapeError
from differnet.features.backbone.openvino_runtime import OwnRequest, compiled
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
        self._width = int(model.input(0).shape[1])
        network = compiled(model, "f32", 1, threads.cores())
        self._queue = import_openvino().AsyncInferQueue(network, threads.cores())
        self._queue.set_callback(_store)
        self._own = OwnRequest(network)
        self._generation = threads.generation()

    @property
    def is_of_this_process(self) -> bool:
        """Whether it can be used; one from before a fork has no threads."""
        return self._generation == threads.generation()

    def keep_lost(self) -> None:
        """Never give up what is of another process: to end its threads would take for ever."""
        threads.keep_lost(self)

    def run(self, rows: npt.NDArray[Any]) -> list[Outputs]:
        """Map rows (B, W) of 32-bit floats to the outputs of each; raises :class:`ShapeError` for others."""
        if rows.ndim != 2 or rows.shape[1] != self._width or not len(rows) or rows.dtype != np.float32:
            found = f"{rows.dtype} of shape {rows.shape}"
            raise ShapeError(f"expected features (B, {self._width}) in float32, B at least 1, found {found}")
        each = np.split(np.ascontiguousarray(rows), len(rows))
        if is_in_lane() or len(each) == 1:
            return [self._alone(row) for row in each]
        found_of: list[list[Outputs]] = [[] for _ in each]
        with in_turn():
            try:
                for row, place in zip(each, found_of, strict=True):
                    self._queue.start_async({0: row}, (place, row), share_inputs=True)
            finally:
                self._queue.wait_all()
        return [outputs for place in found_of for outputs in place]

    def _alone(self, row: Numbers) -> Outputs:
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
