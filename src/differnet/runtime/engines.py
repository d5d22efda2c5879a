"""Run a graph that was exported, from NumPy arrays to NumPy arrays: ONNX Runtime or OpenVINO, on the CPU."""

from __future__ import annotations

import functools
import importlib
import json
import math
import sys
import threading
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from differnet.errors import ConfigError, MissingExtraError, ModelFileError
from differnet.runtime.threads import cores, generation

EngineName = Literal["onnxruntime", "openvino"]
Arrays = dict[str, npt.NDArray[np.float32]]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
ENGINES = get_args(EngineName)
_given_up: deque[bool] = deque(maxlen=1)  # whether compiled networks of OpenVINO were


class Engine(Protocol):
    """A graph that is ready to run; one object can be used by many threads."""

    def run(self, inputs: Arrays) -> Arrays:
        """Map named inputs to named outputs; raises :class:`ModelFileError` for inputs that do not fit."""

    @property
    def on_one_core(self) -> Engine:
        """What gives the same outputs on one core for each thread that runs it."""


class OnnxEngine:
    """An ONNX graph in ONNX Runtime; ``threads``: how many a run may use, all cores where nothing.

    ``taken``: which of its weights are in ``weights`` (:func:`taken_from`), where it has not all of them itself.
    """

    def __init__(
        self, content: bytes, threads: int | None = None, taken: bytes = b"{}", weights: bytes = b""
    ) -> None:
        onnxruntime = import_onnxruntime()
        self._files, self._threads = (content, taken, weights), threads
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised
        if threads:
            options.intra_op_num_threads = threads
        try:
            arrays = taken_from(weights, json.loads(taken))
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
            options.add_external_initializers(list(arrays), values)
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no class
            raise ModelFileError(f"this ONNX Runtime cannot read the graph: {_reason(error)}") from error
        self._outputs = [one.name for one in self._session.get_outputs()]

    def run(self, inputs: Arrays) -> Arrays:
        """Map named inputs to named outputs."""
        try:
            values = self._session.run(None, inputs)
        except Exception as error:  # its errors share no class
            raise ModelFileError(f"the graph does not take these inputs: {_reason(error)}") from error
        return dict(zip(self._outputs, values, strict=True))

    @cached_property
    def on_one_core(self) -> Engine:
        """The same graph, in a session of one thread."""
        content, *others = self._files
        return self if self._threads == 1 else OnnxEngine(content, 1, *others)


class OpenVinoEngine:
    """An OpenVINO graph, compiled for each shape of its inputs when that first comes; runs take turns.

    ``constants`` hold its weights; ``threads``: how many a run may use, all cores where nothing.
    """

    def __init__(self, xml: bytes, constants: bytes, threads: int | None = None) -> None:
        mind_lost_threads(self)
        self._core = core()
        self._lanes = threads or cores()
        self._options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            self._options |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        try:
            self._model = self._core.read_model(model=xml, weights=constants)
        except RuntimeError as error:
            raise ModelFileError(f"this OpenVINO cannot read the graph: {_reason(error)}") from error
        self._outputs = [one.get_any_name() for one in self._model.outputs]
        self._requests: dict[Shapes, Any] = {}
        self._turn = threading.Lock()
        self._own = threading.local()
        self._compiled: dict[tuple[bool, Shapes], Any] = {}
        self._compiling = threading.Lock()

    def run(self, inputs: Arrays) -> Arrays:
        """Map named inputs to named outputs."""
        with self._turn:
            return self._infer(inputs, self._requests, is_alone=False)

    @property
    def on_one_core(self) -> Engine:
        """The same graph, in requests of one thread each."""
        return _OneCore(self)

    def alone(self, inputs: Arrays) -> Arrays:
        """Map named inputs to named outputs on one core, by requests that this thread has for itself."""
        return self._infer(inputs, self._own.__dict__.setdefault("requests", {}), is_alone=True)

    def _infer(self, inputs: Arrays, requests: dict[Shapes, Any], is_alone: bool) -> Arrays:
        """Map named inputs to named outputs, by one of the ``requests`` of these shapes, or a new one."""
        shapes = tuple(sorted((name, value.shape) for name, value in inputs.items()))
        try:
            if shapes not in requests:
                requests[shapes] = self._compile(shapes, is_alone).create_infer_request()
            given = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
            found = requests[shapes].infer(given, share_inputs=True)
        except RuntimeError as error:
            raise ModelFileError(f"the graph does not take these inputs: {_reason(error)}") from error
        return {name: np.array(found[index]) for index, name in enumerate(self._outputs)}

    def _compile(self, shapes: Shapes, is_alone: bool) -> Any:
        """Return the graph for inputs of these shapes: for one request on all cores, or for one alone on each."""
        key = is_alone, shapes
        with self._compiling:
            if key not in self._compiled:
                self._model.reshape({name: list(shape) for name, shape in shapes})
                options = self._options | ({"NUM_STREAMS": str(self._lanes)} if is_alone else {})
                self._compiled[key] = self._core.compile_model(self._model, "CPU", options)
            return self._compiled[key]


class _OneCore:
    """A graph of OpenVINO on one core for each thread that runs it."""

    def __init__(self, whole: OpenVinoEngine) -> None:
        self._whole = whole

    def run(self, inputs: Arrays) -> Arrays:
        """Map named inputs to named outputs."""
        return self._whole.alone(inputs)

    @property
    def on_one_core(self) -> Engine:
        """Itself."""
        return self


def open_graph(engine: EngineName, files: Sequence[bytes], threads: int | None = None) -> Engine:
    """Make a graph ready to run from its files, as :func:`differnet.runtime.folder.names_of` orders them.

    Raises :class:`ConfigError` for no threads.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads = {threads}: a number from 1 was wanted, or none for all cores")
    if engine == "onnxruntime":
        content, *others = files
        return OnnxEngine(content, threads, *others)
    xml, constants = files
    return OpenVinoEngine(xml, constants, threads)


def taken_from(weights: bytes, table: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a ``table`` from ``weights``: name to type, shape and the byte where each begins.

    Raises :class:`ValueError` for one that is not all there.
    """
    found = {}
    for name, (kind, shape, start) in table.items():
        part = np.frombuffer(weights, np.dtype(kind), math.prod(shape), start)
        found[str(name)] = part.reshape(shape)
    return found


def import_onnxruntime() -> Any:
    """Import ONNX Runtime; raises :class:`MissingExtraError` where it is missing."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtraError("this graph runs in ONNX Runtime: pip install onnxruntime") from error


def import_openvino() -> Any:
    """Import OpenVINO without the package by which it would report its use over the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise MissingExtraError(
            "8-bit integers, runtime = 'openvino' and its graphs need OpenVINO: pip install openvino"
        ) from error


def mind_lost_threads(owner: object) -> None:
    """Refuse to compile where OpenVINO would wait for ever, and note when ``owner`` of compiled networks is given up.

    OpenVINO keeps the threads of a network that was given up for the next one. After a fork they are not there. Raises
    :class:`ConfigError` that says so, in a process that was forked from one with such threads.
    """
    if generation() and _given_up:
        raise ConfigError(
            "this process was forked from one in which OpenVINO keeps threads of networks that were given up, and "
            "would wait for them for ever: start processes by 'spawn' or 'forkserver' "
            "(multiprocessing.get_context('spawn')), fork before anything is fitted or loaded (gunicorn without "
            "--preload), or take runtime = 'torch' or 'onnxruntime'"
        )
    weakref.finalize(owner, _given_up.append, True).atexit = False


def core() -> Any:
    """Return OpenVINO's Core, one for the process and another for one that was forked.

    Its CPU plugin is loaded, and it is never given up.

    On processors with AMX each plugin sets a stack for signals and, when it ends, sets the one from before again. Where
    plugins end in another order than they began, that one is gone, and the next Ctrl-C ends in a segmentation fault.
    """
    return _core(generation())


@functools.cache
def _core(_: int) -> Any:
    found = import_openvino().Core()
    found.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


def _reason(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[-1]
