"""Where the frozen backbone runs: PyTorch on any device; OpenVINO or ONNX Runtime on a CPU.

PyTorch is the reference: a graph in floats is used only after its features agreed with it.
"""

from __future__ import annotations

import importlib.util
import threading
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor

from differnet.config import sections
from differnet.config.shape import Shape
from differnet.errors import ConfigError, MissingExtraError, NumericalError
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.onnx_runtime import OnnxRuntime
from differnet.features.backbone.openvino_runtime import OpenVinoRuntime, StageMaps, convert, has_bf16
from differnet.features.backbone.timm_network import is_transformer
from differnet.features.backbone.torch_runtime import (
    MapsOf,
    Precision,
    Runtime,
    TorchRuntime,
    difference,
    probe,
)
from differnet.runtime import threads

AGREEMENT = 1e-4
AGREEMENT_BF16 = 0.05  # eight bits of mantissa, through sixty layers
_agreed: WeakSet[Runtime] = WeakSet()  # those whose feature maps were compared
_stage_maps: WeakKeyDictionary[MultiScale, dict[Shape, StageMaps]] = WeakKeyDictionary()
_MAKING = threading.Lock()


def choose(
    module: MultiScale, settings: sections.Backbone, device: str = "cpu", shape: Shape | None = None
) -> Runtime:
    """Pick where ``module`` runs in floats; ``"auto"`` takes the fastest that is installed.

    That is OpenVINO, then ONNX Runtime, on a CPU, and PyTorch elsewhere. ``shape``: of the views, by default squares
    of the largest size. Raises :class:`MissingExtraError`
    when what was asked for is not installed and :class:`ConfigError` when it does not run on ``device``.
    """
    name = choose_name(settings, device)
    if name == "openvino":
        numbers: Precision = "bf16" if settings.precision == "bf16" else "f32"
        converted = convert(module, shape, with_maps=numbers == "f32")
        return checked(OpenVinoRuntime(converted, numbers), module, shape)
    if name == "onnxruntime":
        return checked(OnnxRuntime(module, shape), module, shape)
    return TorchRuntime(module, device, "f16" if settings.precision == "f16" else "f32")


def choose_name(settings: sections.Backbone, device: str) -> str:
    """Return the runtime that ``settings`` come to on this machine; raises as :func:`choose` does."""
    on_cpu = torch.device(device).type == "cpu"
    if settings.precision == "f16" and settings.runtime not in ("auto", "torch"):
        raise ConfigError(f"precision = 'f16' runs in PyTorch, not in {settings.runtime}")
    if settings.precision == "bf16":
        return _openvino_with_bf16(settings, on_cpu)
    if settings.runtime in ("openvino", "onnxruntime"):
        if not on_cpu:
            raise ConfigError(f"runtime = {settings.runtime!r} runs on the CPU, not on {device!r}")
        if not _is_installed(settings.runtime):
            package = "openvino" if settings.runtime == "openvino" else "'differnet[onnx]'"
            raise MissingExtraError(f"runtime = {settings.runtime!r} needs it: pip install {package}")
        return settings.runtime
    if settings.runtime == "torch" or settings.precision == "f16" or not on_cpu:
        return "torch"
    if _is_installed("openvino"):
        return "openvino"
    return "onnxruntime" if _is_installed("onnxruntime") and _is_installed("onnxscript") else "torch"


def choose_precision(settings: sections.Backbone, device: str) -> Precision:
    """Return the numbers that a new detector computes in.

    ``"auto"`` is 8-bit integers where OpenVINO runs on a CPU and NNCF is installed, and 32-bit floats
    elsewhere and for vision transformers, whose 8-bit graphs blow up constants, which a model file may not.
    Raises :class:`ConfigError` and :class:`MissingExtraError` for what cannot be had here.
    """
    name = choose_name(settings, device)
    if settings.precision == "int8":
        if name != "openvino":
            raise ConfigError(f"precision = 'int8' runs in OpenVINO on a CPU, not in {name} on {device!r}")
        if not _is_installed("nncf"):
            raise MissingExtraError("precision = 'int8' needs NNCF to fit: pip install 'differnet[int8]'")
        if is_transformer(settings.backbone):
            raise ConfigError(
                f"precision = 'int8': {settings.backbone} is a vision transformer, which runs in floats alone; take "
                "'f32', or 'f16' on a GPU"
            )
    if settings.precision == "auto":
        has_integers = name == "openvino" and _is_installed("nncf")
        return "int8" if has_integers and not is_transformer(settings.backbone) else "f32"
    return settings.precision


def lacks_integers(settings: sections.Backbone, device: str) -> bool:
    """Whether a new detector would compute in 8-bit integers but for NNCF, which is not installed."""
    return (
        settings.precision == "auto"
        and choose_name(settings, device) == "openvino"
        and not _is_installed("nncf")
        and not is_transformer(settings.backbone)
    )


def checked(runtime: Runtime, module: MultiScale, shape: Shape | None = None) -> Runtime:
    """Return ``runtime`` if its features agree with PyTorch's; raises :class:`NumericalError` if not."""
    views = [probe(shape or module.square)[:1]]  # a group would be compiled for, and takes longer
    limit = AGREEMENT_BF16 if runtime.precision == "bf16" else AGREEMENT
    apart = difference(runtime.features(views), TorchRuntime(module).features(views))
    _check(runtime.name, "features", apart, limit)
    return runtime


def feature_maps_of(runtime: Runtime, module: MultiScale, shape: Shape) -> MapsOf | None:
    """Return what gives the feature maps of ``module`` in its place, if ``runtime`` has it; compared with it once.

    Raises :class:`NumericalError` where the maps of views of this ``shape`` differ.
    """
    faster = runtime.feature_maps
    if faster is not None and runtime not in _agreed:
        _check_maps(runtime.name, faster, module.feature_maps, probe(shape)[:1])
        _agreed.add(runtime)
    return faster


def stage_maps_of(module: MultiScale, settings: sections.Backbone, shape: Shape, at_a_time: int) -> MapsOf:
    """Return what maps normalised images (B, 3, *shape) to the feature maps of each stage, one size alone.

    That is OpenVINO where :func:`choose` takes it, in 32-bit floats and compared with PyTorch once, and else the
    network itself. In OpenVINO each thread has one core, and so many can use it ``at_a_time``. What is made is kept as
    long as the module.
    """
    network, device = module.network, module.mean.device
    if choose_name(settings, str(device)) != "openvino":
        return lambda images: network(images.contiguous(memory_format=torch.channels_last))
    with _MAKING:
        known = _stage_maps.setdefault(module, {})
        if shape in known and not known[shape].is_of_this_process:
            threads.keep_lost(known.pop(shape))
        if shape not in known:
            made = StageMaps(network, shape, at_a_time)
            _check_maps("openvino", made, network, (probe(shape)[:1] - module.mean) / module.std)
            known[shape] = made
        return known[shape]


def _check_maps(runtime: str, found: MapsOf, wanted: MapsOf, view: Tensor) -> None:
    with torch.inference_mode():
        for one, other in zip(found(view), wanted(view), strict=True):
            _check(runtime, "feature maps", difference(one, other), AGREEMENT)


def _check(runtime: str, what: str, apart: float, limit: float) -> None:
    if not apart <= limit:
        raise NumericalError(
            f"{runtime}'s {what} differ from PyTorch's by {apart:.1e} of the largest, more than "
            f"{limit:.0e}; choose runtime = 'torch' and report this machine"
        )


def _openvino_with_bf16(settings: sections.Backbone, on_cpu: bool) -> str:
    if not on_cpu or settings.runtime not in ("auto", "openvino"):
        raise ConfigError("precision = 'bf16' runs in OpenVINO on a CPU")
    if not _is_installed("openvino"):
        raise MissingExtraError("precision = 'bf16' needs OpenVINO: pip install openvino")
    if not has_bf16():
        raise ConfigError(
            "precision = 'bf16': this CPU does not compute in bfloat16 (AMX or AVX-512 BF16); use 'auto'"
        )
    return "openvino"


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
