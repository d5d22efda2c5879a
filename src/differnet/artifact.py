"""The model file: one safetensors file with a JSON header, everything that prediction needs.

Tensors: the flow's weights and permutations (``flow.*``) and the calibration scores. Header: format, all
settings, seed, the backbone's name and the hash of its weights, versions. The backbone's own weights stay
where they came from and are checked by their hash when the file is loaded.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from differnet import config, storage
from differnet.calibrate import Threshold, choose_threshold
from differnet.errors import ConfigError, ModelFileError
from differnet.flow import Flow, Permutation
from differnet.train import Epoch

FORMAT = 1
_KIND = "detector"
_PACKAGES = ("differnet", "torch", "torchvision", "timm", "openvino", "numpy", "pillow")


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted detector without its frozen backbone.

    ``calibration``: scores (M,) of held-out good images, empty when none were held out. ``map_scale``: the
    heat-map value that is drawn as 1. ``runtime``: what computed the features that the flow was fitted to.
    """

    config: config.Config
    seed: int
    backbone_digest: str
    backbone_origin: str
    runtime: str
    flow: Flow
    calibration: npt.NDArray[np.float64]
    map_scale: float
    train_count: int
    history: tuple[Epoch, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def save(path: str | Path, model: Model) -> None:
    """Write ``model`` to ``path``, whole or not at all."""
    tensors: dict[str, Tensor] = {f"flow.{name}": value for name, value in model.flow.state_dict().items()}
    tensors["calibration"] = torch.from_numpy(model.calibration)
    header = {
        "kind": _KIND,
        "format": FORMAT,
        "config": model.config.to_dict(),
        "seed": model.seed,
        "features": model.flow.features,
        "backbone_digest": model.backbone_digest,
        "backbone_origin": model.backbone_origin,
        "runtime": model.runtime,
        "map_scale": model.map_scale,
        "train_count": model.train_count,
        "history": [asdict(epoch) for epoch in model.history],
        "versions": dict(model.versions),
    }
    storage.write_tensors(path, tensors, header)


def load(path: str | Path) -> Model:
    """Read a model file; raises :class:`ModelFileError` for anything that :func:`save` did not write.

    Nothing in the file can run code, and the flow is built only after the tensors in the file were found
    to have the number of parameters that the header claims.
    """
    header, tensors = storage.read_tensors(path)
    if header.get("kind") != _KIND:
        raise ModelFileError(f"{path}: holds a {header.get('kind', 'thing of no kind')}, not a {_KIND}")
    if header.get("format") != FORMAT:
        raise ModelFileError(
            f"{path}: format {header.get('format')!r}; this version reads format {FORMAT}, so install the "
            f"differnet that wrote it ({_writer(header)}) or fit again"
        )
    try:
        return _build(header, tensors)
    except (KeyError, TypeError, ConfigError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path}: header and tensors do not fit together ({error})") from error


def threshold(model: Model) -> Threshold | None:
    """Return theta with its promise, or nothing when no good images were held out."""
    if len(model.calibration) == 0:
        return None
    return choose_threshold(model.calibration, model.config.decision.rate)


def summarise(model: Model) -> dict[str, Any]:
    """Return what the model is and was made from, as JSON types."""
    promise = threshold(model)
    return {
        "threshold": None if promise is None else promise.value,
        "promised_false_alarm_rate": None if promise is None else promise.promised,
        "train_count": model.train_count,
        "calibration_count": len(model.calibration),
        "seed": model.seed,
        "features": model.flow.features,
        "flow_parameters": parameter_count(model.flow.features, model.config.flow),
        "backbone_digest": model.backbone_digest,
        "backbone_origin": model.backbone_origin,
        "runtime": model.runtime,
        "map_scale": model.map_scale,
        "loss": [epoch.loss for epoch in model.history],
        "held_out_loss": [epoch.held_out_loss for epoch in model.history],
        "versions": dict(model.versions),
        "config": model.config.to_dict(),
    }


def _writer(header: Mapping[str, Any]) -> str:
    found = header.get("versions")
    return str(found.get("differnet", "unknown")) if isinstance(found, dict) else "unknown"


def versions() -> dict[str, str]:
    """Return the versions of Python and the packages that a score depends on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _build(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Model:
    settings = config.Config.from_dict(header["config"])
    state = {name.removeprefix("flow."): value for name, value in tensors.items() if name.startswith("flow.")}
    features, shape = int(header["features"]), settings.flow
    wanted = parameter_count(features, shape)
    found = sum(value.numel() for value in state.values() if value.is_floating_point())
    if found != wanted:
        raise ValueError(f"{found} parameters found, {wanted} wanted")
    flow = Flow(features, shape.blocks, shape.hidden, shape.depth, shape.clamp, seed=0)
    flow.load_state_dict(state)
    _check_permutations(flow)
    flow.eval().requires_grad_(False)
    calibration = tensors["calibration"].to(torch.float64).numpy()
    finite = all(bool(torch.isfinite(value).all()) for value in state.values())
    if calibration.ndim != 1 or not np.isfinite(calibration).all() or not finite:
        raise ValueError("NaN or infinite numbers")
    return Model(
        config=settings,
        seed=int(header["seed"]),
        backbone_digest=str(header["backbone_digest"]),
        backbone_origin=str(header["backbone_origin"]),
        runtime=str(header["runtime"]),
        flow=flow,
        calibration=calibration,
        map_scale=float(header["map_scale"]),
        train_count=int(header["train_count"]),
        history=tuple(Epoch(**epoch) for epoch in header["history"]),
        versions=dict(header["versions"]),
    )


def _check_permutations(flow: Flow) -> None:
    for step in flow.steps:
        if isinstance(step, Permutation):
            positions = torch.arange(len(step.order))
            if not (
                torch.equal(step.order.sort().values, positions)
                and torch.equal(step.order[step.inverse_order], positions)
            ):
                raise ValueError("a permutation of the flow is none")


def parameter_count(features: int, shape: config.Flow) -> int:
    """Return the number of floating-point parameters of a flow without building it.

    >>> shape = config.Flow(blocks=2, hidden=5, depth=2)
    >>> sum(p.numel() for p in Flow(7, 2, 5, 2).parameters()) == parameter_count(7, shape)
    True
    """
    first = features // 2
    second = features - first

    def subnet(inputs: int, outputs: int) -> int:
        widths = [inputs] + [shape.hidden] * shape.depth + [2 * outputs]
        return sum((a + 1) * b for a, b in itertools.pairwise(widths))

    return shape.blocks * (subnet(first, second) + subnet(second, first))
