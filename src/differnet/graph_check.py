"""A network from a model file is looked through before OpenVINO builds it: its layers, its sizes, its constants."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

from differnet.errors import ModelFileError

_MOST_NUMBERS = 2**31  # in one layer's output
_KNOWN = {
    "Abs", "AdaptiveAvgPool", "AdaptiveMaxPool", "Add", "AvgPool", "BatchNormInference", "Broadcast", "Ceiling",
    "Clamp", "Concat", "Const", "Convert", "ConvertLike", "Convolution", "DepthToSpace", "Divide", "Einsum",
    "Elu", "Equal", "Erf", "Exp", "FakeConvert", "FakeQuantize", "Floor", "Gather", "Gelu", "Greater",
    "GreaterEqual", "GroupConvolution", "GroupNormalization", "HSigmoid", "HSwish", "HardSigmoid",
    "Interpolate", "LayerNormalization", "Less", "LessEqual", "Log", "LogicalAnd", "LogicalNot",
    "LogicalOr", "MVN", "MatMul", "MaxPool", "Maximum", "Minimum", "Mish", "Multiply", "Negative",
    "NormalizeL2", "PRelu", "Pad", "Parameter", "Power", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum",
    "Relu", "Reshape", "Result", "Roll", "Round", "ScaledDotProductAttention", "Select", "ShapeOf",
    "Sigmoid", "Sign", "Slice", "SoftMax", "SoftPlus", "Softmax", "SpaceToDepth", "Split", "Sqrt",
    "Squeeze", "StridedSlice", "Subtract", "Swish", "Tanh", "Tile", "Transpose", "Unsqueeze",
    "VariadicSplit",
}  # fmt: skip


def check_graph(xml: bytes, constants: int) -> None:
    """Refuse a network of layers that a backbone has not, of absurd size, or whose ``constants`` bytes do not suffice.

    Raises :class:`ModelFileError`.
    """
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise ModelFileError("the int8 network is no network: its XML defines entities")
    try:
        layers = ElementTree.fromstring(xml).iter("layer")  # noqa: S314  without entities
        for layer in layers:
            _check_layer(layer, constants)
    except (ElementTree.ParseError, ValueError, RecursionError, LookupError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"the int8 network is no network: {error}") from error


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
