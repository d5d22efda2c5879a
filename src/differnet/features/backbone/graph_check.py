"""A network from a model file is looked through before OpenVINO builds it: its layers, its sizes, its constants."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from differnet.errors import ModelFileError

_MOST_NUMBERS = 2**29  # in one layer's output
_KNOWN = {
    "Abs", "AdaptiveAvgPool", "AdaptiveMaxPool", "Add", "AvgPool", "BatchNormInference", "Ceiling",
    "Clamp", "Concat", "Const", "Convert", "ConvertLike", "Convolution", "DepthToSpace", "Divide", "Einsum",
    "Elu", "Equal", "Erf", "Exp", "FakeConvert", "FakeQuantize", "Floor", "Gather", "Gelu", "Greater",
    "GreaterEqual", "GroupConvolution", "GroupNormalization", "HSigmoid", "HSwish", "HardSigmoid",
    "Interpolate", "LayerNormalization", "Less", "LessEqual", "Log", "LogicalAnd", "LogicalNot",
    "LogicalOr", "MVN", "MatMul", "MaxPool", "Maximum", "Minimum", "Mish", "Multiply", "Negative",
    "NormalizeL2", "PReLU", "PRelu", "Pad", "Parameter", "Power", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum",
    "ReLU", "Relu", "Reshape", "Result", "Roll", "Round", "ScaledDotProductAttention", "Select", "ShapeOf",
    "Sigmoid", "Sign", "Slice", "SoftMax", "SoftPlus", "Softmax", "SpaceToDepth", "Split", "Sqrt",
    "Squeeze", "StridedSlice", "Subtract", "Swish", "Tanh", "Transpose", "Unsqueeze",
    "VariadicSplit",
}  # fmt: skip


def check_graph(xml: bytes, constants: int) -> None:
    """Refuse a network of layers that a backbone has not, of absurd size, or whose ``constants`` bytes do not suffice.

    The sizes are those it declares; see :func:`check_shapes`. Raises :class:`ModelFileError`.
    """
    text = _text(xml)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ModelFileError("the int8 network is no network: its XML defines entities")
    try:
        layers = ElementTree.fromstring(text).iter("layer")  # noqa: S314  without entities
        for layer in layers:
            _check_layer(layer, constants)
    except (ElementTree.ParseError, ValueError, RecursionError, LookupError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"the int8 network is no network: {error}") from error


def check_shapes(model: Any) -> None:
    """Refuse an ``openvino.Model`` that was read, but not compiled, in which a layer has an absurd or an open size.

    These sizes OpenVINO worked out itself from the layers, whatever the file declares. Raises :class:`ModelFileError`.
    """
    for layer in model.get_ordered_ops():
        for port in layer.outputs():
            shape = port.get_partial_shape()
            if shape.is_dynamic or math.prod(port.get_shape()) > _MOST_NUMBERS:
                raise ModelFileError(f"the int8 network has a layer of {shape} numbers")


def _text(xml: bytes) -> str:
    """Decode XML as UTF-8, the only encoding that is taken: in another, what is looked for could not be seen."""
    try:
        text = xml.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelFileError("the int8 network is no network: its XML is not in UTF-8") from error
    declared = re.match(r"\s*<\?xml[^>]*encoding\s*=\s*[\"']([^\"']*)", text)
    if "\0" in text or text.startswith("\ufeff") or (declared and declared[1].lower() != "utf-8"):
        raise ModelFileError("the int8 network is no network: its XML is not in plain UTF-8")
    return text


def _check_layer(layer: ElementTree.Element, constants: int) -> None:
    kind = layer.get("type", "")
    if kind not in _KNOWN:
        raise ModelFileError(f"the int8 network has a layer of type {kind!r}, which backbones have not")
    for port in layer.iterfind("output/port"):
        dims = [int(dim.text or "") for dim in port.iterfind("dim")]
        if min(dims, default=1) < 0 or math.prod(dims) > _MOST_NUMBERS:
            raise ModelFileError(f"the int8 network has a layer of {' x '.join(map(str, dims))} numbers")
    data = layer.find("data")
    if kind == "Const" and data is not None:
        start, size = int(data.get("offset", "")), int(data.get("size", ""))
        if start < 0 or size < 0 or start + size > constants:
            raise ModelFileError(
                f"the int8 network has a constant at {start} to {start + size} of {constants} bytes"
            )
