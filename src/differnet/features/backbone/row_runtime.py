"""Small graphs of OpenVINO that map one row of numbers, one core for each graph of each row."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Sequence
from contextlib import ExitStack
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
    """Graphs from a row (1, W) to their outputs, compiled for this CPU; one object can be used by many threads.

    Every graph of every row is a request of its own on one core, so that what comes of it is the same to the bit
    whatever comes with it. They have all cores, but in a lane, which is one.
    """

    def __init__(self, models: Sequence[Any]) -> None:
        mind_lost_threads(self)
        self._width = int(models[0].input(0).shape[1])
        # the first requests of several graphs would all be pinned to the first core
        networks = [compiled(model, "f32", 1, threads.cores(), may_pin=False) for model in models]
        at_a_time = max(1, threads.cores() // len(models))
        self._queues = [import_openvino().AsyncInferQueue(network, at_a_time) for network in networks]
        for queue in self._queues:
            queue.set_callback(_store)
        self._own = [OwnRequest(network) for network in networks]
        self._generation = threads.generation()

    @property
    def is_of_this_process(self) -> bool:
        """Whether it can be used; one from before a fork has no threads."""
        return self._generation == threads.generation()

    def keep_lost(self) -> None:
        """Never give up what is of another process: to end its threads would take for ever."""
        threads.keep_lost(self)

    def run(self, rows: npt.NDArray[Any]) -> list[Outputs]:
        """Map rows (B, W) of 32-bit floats to the outputs of each, graph after graph.

        Raises :class:`ShapeError` for others.
        """
        if rows.ndim != 2 or rows.shape[1] != self._width or not len(rows) or rows.dtype != np.float32:
            found = f"{rows.dtype} of shape {rows.shape}"
            raise ShapeError(f"expected features (B, {self._width}) in float32, B at least 1, found {found}")
        each = np.split(np.ascontiguousarray(rows), len(rows))
        if is_in_lane() or threads.cores() == 1:
            return [self._in_sequence(row) for row in each]
        if len(each) == 1:
            return [self._beside(each[0])]
        found_of: list[list[Outputs]] = [[() for _ in self._queues] for _ in each]
        with in_turn(), ExitStack() as waiting:
            for queue in self._queues:
                waiting.callback(queue.wait_all)
            for row, places in zip(each, found_of, strict=True):
                for number, queue in enumerate(self._queues):
                    queue.start_async({0: row}, (places, number, row), share_inputs=True)
        return [tuple(itertools.chain(*places)) for places in found_of]

    def _in_sequence(self, row: Numbers) -> Outputs:
        """Map a row by the requests of this thread, one after the other."""
        for own in self._own:
            own.request.infer({0: row}, share_inputs=True)
        return self._outputs()

    def _beside(self, row: Numbers) -> Outputs:
        """Map a row by the requests of this thread, all at a time."""
        with ExitStack() as waiting:
            for own in self._own:
                own.request.start_async({0: row}, share_inputs=True)
                waiting.callback(own.request.wait)
        return self._outputs()

    def _outputs(self) -> Outputs:
        return tuple(itertools.chain(*(_outputs(own.request) for own in self._own)))


def operations() -> Any:
    """Return the module of OpenVINO's operations, of which a model is written."""
    import_openvino()
    return importlib.import_module("openvino.opset13")


def model_of(outputs: Sequence[Any], row: Any) -> Any:
    """Return an ``openvino.Model`` from the parameter ``row`` to ``outputs``."""
    return import_openvino().Model(list(outputs), [row], "rows")


def _store(request: Any, given: tuple[list[Outputs], int, Numbers]) -> None:
    places, number, _ = given  # the row is kept until it was read
    places[number] = _outputs(request)


def _outputs(request: Any) -> Outputs:
    return tuple(tensor.data.copy() for tensor in request.output_tensors)
