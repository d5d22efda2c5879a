"""Weights that several graphs of a station have in common, kept once: the backbone is in its score and in its maps."""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from differnet.features.backbone.openvino_runtime import Graph
from differnet.runtime.folder import WEIGHTS, names_of

_SMALL = 256  # bytes of an array that stays in its graph
_ALIGNED = 64  # bytes, so that an array can be used where it is


class SharedWeights:
    """Writes graphs into ``folder``, and the arrays of all of them into one file there, equal ones once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._starts: dict[bytes, int] = {}
        self._size = 0
        (folder / WEIGHTS).write_bytes(b"")

    def keep_onnx(self, role: str, content: bytes) -> None:
        """Write an ONNX graph, and a table of what it takes: name to type, shape and the byte where it begins."""
        import onnx

        model = onnx.load_from_string(content)
        table = {}
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) < _SMALL:
                continue
            kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).newbyteorder("<")
            table[tensor.name] = [kind.str, list(tensor.dims), self._place(tensor.raw_data)]
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=WEIGHTS)
        graph, taken, _ = names_of(role, "onnxruntime")
        (self.folder / graph).write_bytes(model.SerializeToString())
        (self.folder / taken).write_text(json.dumps(table), encoding="utf-8")

    def keep_openvino(self, role: str, graph: Graph) -> None:
        """Write an OpenVINO graph, whose constants are found by the byte where each begins."""
        root = ElementTree.fromstring(graph.xml)  # noqa: S314  OpenVINO has just written it
        for data in root.iter("data"):
            if "offset" in data.attrib:
                start, size = int(data.attrib["offset"]), int(data.attrib["size"])
                data.set("offset", str(self._place(graph.constants[start : start + size])))
        name, _ = names_of(role, "openvino")
        (self.folder / name).write_bytes(ElementTree.tostring(root))

    def _place(self, content: bytes) -> int:
        """Return where an array begins in the file, into which it is written if it is new."""
        key = hashlib.sha256(content).digest()
        if key not in self._starts:
            filled = content + bytes(-len(content) % _ALIGNED)
            with (self.folder / WEIGHTS).open("ab") as file:
                file.write(filled)
            self._starts[key] = self._size
            self._size += len(filled)
        return self._starts[key]
