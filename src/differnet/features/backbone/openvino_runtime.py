"""The backbone in OpenVINO on a CPU, in floats or in the 8-bit integers of
:mod:`differnet.features.backbone.quantize`.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from differnet.config.shape import Shape
from differnet.decision.early_stop import GROUP
from differnet.errors import ModelFileError
from differnet.features.backbone.graph_check import check_graph, check_shapes
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.torch_runtime import MapsOf, Precision, Runtime, one_torch_thread
from differnet.runtime import threads
from differnet.runtime.engines import core, import_openvino, mind_lost_threads

_TOGETHER = GROUP // 2  # views in one request; two requests run at a time
_TRACING = threading.Lock()  # PyTorch notes for the whole process what is being traced


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

    def to_tensors(self) -> dict[str, Tensor]:
        """Return both parts as bytes (N,), to be stored."""
        parts = {"graph.xml": self.xml, "graph.constants": self.constants}
        return {name: torch.frombuffer(bytearray(part), dtype=torch.uint8) for name, part in parts.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Graph:
        """Undo :meth:`to_tensors`; raises :class:`KeyError` and :class:`ValueError` for what it did not give."""
        xml, constants = (tensors[f"graph.{part}"] for part in ("xml", "constants"))
        if xml.dtype != torch.uint8 or constants.dtype != torch.uint8:
            raise ValueError("the 8-bit network is not stored as bytes")
        return cls(xml.numpy().tobytes(), constants.numpy().tobytes())


class OpenVinoRuntime:
    """A graph compiled for this CPU, in requests of two views on each half of its cores.

    Two views alone part, and a single one has all cores. One object can be used by many threads; they take turns.
    ``model`` gives the features, and the feature maps after them if it can (:func:`convert`).
    """

    name = "openvino"

    def __init__(self, model: Any, precision: Precision = "f32") -> None:
        mind_lost_threads(self)
        self.precision = precision
        self.width = int(model.output(0).shape[1])
        self._model = _features_alone(model)
        self._with_maps = model if len(model.outputs) > 1 and precision == "f32" else None
        self._mapping_turn = threading.Lock()
        self._queues: dict[tuple[int, int], Any] = {}
        self._queue(1, 1)  # a network that cannot be compiled is refused at once

    @cached_property
    def on_one_core(self) -> Runtime | None:
        """The same network, one view at a time on one core for each thread; its features are the same to the bit."""
        return _OneCore(self, compiled(self._model, self.precision, 1, threads.cores()))

    @property
    def feature_maps(self) -> MapsOf | None:
        """What gives the feature maps, if the graph has them."""
        return None if self._with_maps is None else self._maps

    def _maps(self, views: Tensor) -> list[Tensor]:
        with one_torch_thread(), self._mapping_turn:
            return _one_by_one(self._mapping, views)[1:]

    @cached_property
    def _mapping(self) -> Any:
        return compiled(self._with_maps, self.precision, 1, 1).create_infer_request()

    def features(self, groups: Iterable[Tensor]) -> Tensor:
        """Map groups of views (B, 3, S, T) to features (V, D)."""
        rows: list[npt.NDArray[np.float32]] = []
        with one_torch_thread():
            try:
                for views in groups:
                    streams = 1 if len(views) == 1 else 2
                    for part in views.split(_TOGETHER if len(views) > _TOGETHER else 1):
                        rows.append(np.empty((len(part), self.width), dtype=np.float32))
                        pixels = np.ascontiguousarray(part.numpy())
                        queue = self._queue(len(part), streams)
                        # the request shares the pixels, so it is given them to keep
                        queue.start_async({0: pixels}, (rows[-1], pixels), share_inputs=True)
            finally:
                for queue in self._queues.values():
                    queue.wait_all()
        return torch.from_numpy(np.concatenate(rows))

    def _queue(self, together: int, streams: int) -> Any:
        """Return the queue for so many requests of so many views at a time, compiled when it is first needed."""
        key = together, streams
        if key not in self._queues:
            network = compiled(self._model, self.precision, together, streams)
            self._queues[key] = import_openvino().AsyncInferQueue(network, streams)
            self._queues[key].set_callback(_store)
        return self._queues[key]


def compiled(model: Any, precision: Precision, together: int, streams: int, *, may_pin: bool = True) -> Any:
    """Compile a model for so many views in a request, and so many requests at a time.

    ``may_pin``: whether OpenVINO may keep each to a core, from the first one on whatever else was compiled.
    """
    model.reshape([together, *list(model.input(0).shape)[1:]])
    floats = "bf16" if precision == "bf16" else "f32"
    options = {"NUM_STREAMS": str(streams), "INFERENCE_PRECISION_HINT": floats}
    most = threads.limit()
    if most is not None:
        options |= {"INFERENCE_NUM_THREADS": str(most)}
    if most is not None or not may_pin:
        # pinned to cores, the threads of several processes would all be on the first ones
        options |= {"ENABLE_CPU_PINNING": "NO"}
    return core().compile_model(model, "CPU", options)


def _features_alone(model: Any) -> Any:
    """Return a model without its outputs beside the first; the same if it has no others."""
    if len(model.outputs) == 1:
        return model
    alone = model.clone()
    for result in alone.get_results()[1:]:
        alone.remove_result(result)
    return alone


class OwnRequest(threading.local):
    """A request to a compiled network that each thread has for itself."""

    def __init__(self, network: Any) -> None:
        self.request = network.create_infer_request()


class _OneCore:
    """A runtime on one core for each thread that uses it; see :attr:`OpenVinoRuntime.on_one_core`."""

    name = "openvino"
    on_one_core: Runtime | None = None
    feature_maps: MapsOf | None = None

    def __init__(self, whole: OpenVinoRuntime, compiled: Any) -> None:
        self.precision = whole.precision
        self._own = OwnRequest(compiled)

    def features(self, groups: Iterable[Tensor]) -> Tensor:
        """Map groups of views (B, 3, S, T) to features (V, D)."""
        rows = [
            self._own.request.infer({0: np.ascontiguousarray(view.numpy())}, share_inputs=True)[0].copy()
            for views in groups
            for view in views.split(1)
        ]
        return torch.from_numpy(np.concatenate(rows))


class StageMaps:
    """The feature maps of a network's stages: one image at a time, on one core for each thread that uses it.

    ``network`` maps images (B, 3, *shape), normalised, to the maps (B, C, h, w) of each stage; ``streams``: how many
    threads can use it at a time.
    """

    def __init__(self, network: nn.Module, shape: Shape, streams: int) -> None:
        mind_lost_threads(self)
        model = _traced(network, torch.zeros(_TOGETHER, 3, *shape))
        model.reshape([1, 3, *shape])
        self._own = OwnRequest(compiled(model, "f32", 1, streams))
        self._generation = threads.generation()

    @property
    def is_of_this_process(self) -> bool:
        """Whether it can be used; one from before a fork has no threads."""
        return self._generation == threads.generation()

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, *shape)."""
        return _one_by_one(self._own.request, images)


def _one_by_one(request: Any, images: Tensor) -> list[Tensor]:
    """Return the outputs (B, ...) of a request for one image, of images (B, 3, S, T) one after the other."""
    each = [
        request.infer({0: image.contiguous().numpy()}, share_inputs=True).to_tuple()
        for image in images.split(1)
    ]
    return [torch.from_numpy(np.concatenate(outputs)) for outputs in zip(*each, strict=True)]


def has_bf16() -> bool:
    """Whether this CPU computes in bfloat16 itself (AMX or AVX-512)."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class _WithMaps(nn.Module):
    """Gives the features of views, and then the feature maps that they are averages of."""

    def __init__(self, module: MultiScale) -> None:
        super().__init__()
        self.module = module

    def forward(self, views: Tensor) -> tuple[Tensor, ...]:
        maps = self.module.feature_maps(views)
        return self.module.pool(maps, self.module.parts_of(views)), *maps


def convert(module: MultiScale, shape: Shape | None = None, with_maps: bool = False) -> Any:
    """Return ``module`` as an ``openvino.Model`` for one group of views of this ``shape``, by default squares.

    Its output is the features, and ``with_maps`` the feature maps after them. It is converted for any count first:
    else that of the example would stay in the graph of a vision transformer. It can be reshaped to other counts.
    """
    views = (GROUP, 3, *(shape or module.square))
    network = _WithMaps(module).eval() if with_maps else module
    model = _traced(network, torch.zeros(_TOGETHER, *views[1:]))  # a whole group would take twice the memory
    model.reshape(list(views))
    return model


def _traced(network: nn.Module, some: Tensor) -> Any:
    """Return ``network`` as an ``openvino.Model`` for any count of what ``some`` (B, ...) are.

    No second run checks it: what comes of it is compared with PyTorch's where it is used.
    """
    openvino = import_openvino()
    with _TRACING, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, some, strict=False, check_trace=False)
        return openvino.convert_model(traced, example_input=some, input=[-1, *some.shape[1:]])


def to_openvino(
    module: nn.Module, examples: Mapping[str, Tensor], outputs: Sequence[str], any_count: Sequence[str]
) -> Any:
    """Return ``module`` as an ``openvino.Model`` whose inputs and outputs have names.

    ``examples``: its inputs by name, in order; those in ``any_count`` may be as many as there are views.
    """
    openvino = import_openvino()
    shapes = [[-1 if name in any_count else len(x), *x.shape[1:]] for name, x in examples.items()]
    with _TRACING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(
            module.eval(), example_input=tuple(examples.values()), input=[tuple(shape) for shape in shapes]
        )
    for place, name in zip((*model.inputs, *model.outputs), (*examples, *outputs), strict=True):
        place.get_tensor().set_names({name})
    return model


def stacked(graph: Graph, head: Any) -> Any:
    """Put ``head``, which maps features, on the 8-bit network that gives them: one ``openvino.Model``.

    Its outputs are those of the head, and ``features``.
    """
    openvino = import_openvino()
    below = core().read_model(model=graph.xml, weights=graph.constants)
    below.inputs[0].get_tensor().set_names({"views"})
    source = below.outputs[0].get_node().input_value(0)
    for place in head.inputs[0].get_target_inputs():
        place.replace_source_output(source)
    results = [*head.get_results(), *below.get_results()]
    model = openvino.Model(results, below.get_parameters(), "scoring")
    model.outputs[-1].get_tensor().set_names({"features"})
    return model


def run_graph(graph: Graph) -> OpenVinoRuntime:
    """Compile the bytes of an int8 graph; raises :class:`ModelFileError` when they are none."""
    check_graph(graph.xml, len(graph.constants))
    try:
        model = core().read_model(model=graph.xml, weights=graph.constants)
        check_shapes(model)
        return OpenVinoRuntime(model, "int8")
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelFileError(f"the int8 network cannot be read by this OpenVINO: {reason}") from error


def _store(request: Any, places: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]) -> None:
    rows, _ = places
    rows[:] = request.get_output_tensor().data
