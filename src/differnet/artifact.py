"""The model file: one safetensors file with a JSON header, everything that prediction needs.

Tensors: the flow's weights and permutations (``flow.*``), the scores of the held-out images in every view, and
the backbone as an 8-bit network (``graph.*``) if that is what the flow was fitted to. Header: format, all
settings, seed, the backbone's name and the hash of its weights, versions. In floats the backbone's weights
stay where they came from and are checked by their hash when the file is loaded.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from differnet import formats
from differnet.choice import Choice
from differnet.config import presets
from differnet.decision.calibration import Standard
from differnet.decision.thresholds import Threshold, check_count
from differnet.errors import ModelFileError, WeightsError
from differnet.features.backbone import network
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.openvino_runtime import Graph
from differnet.features.backbone.torch_runtime import Precision
from differnet.features.pooling import Reading, settled_reading
from differnet.features.views import count_views
from differnet.flow import tensor_file
from differnet.flow.flow import Flow, Permutation, parameter_count
from differnet.flow.train import Epoch
from differnet.record import CalibrationRecord, Sources, from_header

FORMAT = 3
_KIND = "detector"
_MOST_CHANNELS = 65_536
_PACKAGES = (
    "differnet",
    "torch",
    "torchvision",
    "timm",
    "openvino",
    "nncf",
    "onnxruntime",
    "numpy",
    "pillow",
)


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted detector without its frozen backbone.

    ``view_scores``: scores (M, V) of held-out good images in every scoring view, empty when none were held out.
    ``channels``: of every stage in a row of features. ``choice``: what was found out from the good images, and by what
    evidence; nothing when the settings left nothing open. ``map_scale``: the heat-map value that is drawn as 1.
    ``runtime``, ``precision``: what computed the features that the flow was fitted to. ``graph``: the 8-bit network
    they came from, ``probe`` (B, W) its features of :func:`differnet.features.backbone.torch_runtime.probe` where it
    was made; nothing in floats. ``calibrated_on``: which images those held out were; nothing where there were none,
    and in files of before. ``fitted_on``: which were fitted to; nothing in files of before. ``file_digest``: of the
    file that was read.
    """

    config: presets.Config
    seed: int
    backbone_digest: str
    backbone_origin: str
    channels: tuple[int, ...]
    runtime: str
    flow: Flow
    view_scores: npt.NDArray[np.float64]
    map_scale: float
    train_count: int
    precision: Precision = "f32"
    graph: Graph | None = None
    probe: Tensor | None = None
    choice: Choice | None = None
    calibrated_on: CalibrationRecord | None = None
    fitted_on: Sources | None = None
    history: tuple[Epoch, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    file_digest: str = field(default="", repr=False)

    def calibration(self, views: int | None = None) -> npt.NDArray[np.float64]:
        """Return the scores (M,) of the held-out images in their first ``views`` views, or in all."""
        return self.standard.calibration(views)

    @cached_property
    def reading(self) -> Reading:
        """How a row of features is read."""
        return settled_reading(self.config, self.channels)

    @property
    def usual_views(self) -> int:
        """How many views an image is scored in."""
        return count_views(self.config.views.score_views, self.config.views)

    @cached_property
    def standard(self) -> Standard:
        """What scores are judged by."""
        views, decision = self.config.views, self.config.decision
        upright = count_views(2, views) == 1
        return Standard(
            self.view_scores,
            self.usual_views,
            "upright" if upright else "even" if views.score_rotations == "even" else "random",
            decision.rate,
            decision.confidence,
            decision.review_rate,
            self.calibrated_on.folds if self.calibrated_on else 0,
        )


def save(path: str | Path, model: Model) -> None:
    """Write ``model`` to ``path``, whole or not at all."""
    tensors: dict[str, Tensor] = {f"flow.{name}": value for name, value in model.flow.state_dict().items()}
    tensors["view_scores"] = torch.from_numpy(model.view_scores)
    if model.graph is not None and model.probe is not None:
        tensors |= model.graph.to_tensors() | {"graph.probe": model.probe}
    header = {
        "kind": _KIND,
        "format": FORMAT,
        "config": model.config.to_dict(),
        "seed": model.seed,
        "features": model.flow.features,
        "backbone_digest": model.backbone_digest,
        "backbone_origin": model.backbone_origin,
        "channels": list(model.channels),
        "runtime": model.runtime,
        "precision": model.precision,
        "map_scale": model.map_scale,
        "train_count": model.train_count,
        "choice": None if model.choice is None else model.choice.to_dict(),
        "calibrated_on": None if model.calibrated_on is None else model.calibrated_on.to_dict(),
        "fitted_on": None if model.fitted_on is None else asdict(model.fitted_on),
        "history": [asdict(epoch) for epoch in model.history],
        "versions": dict(model.versions),
    }
    tensor_file.write_tensors(path, tensors, header)


def load(path: str | Path) -> Model:
    """Read a model file; raises :class:`ModelFileError` for anything that :func:`save` did not write.

    Nothing in the file can run code, and the flow is built only after the tensors in the file were found
    to have the number of parameters that the header claims.
    """
    header, tensors, digest = tensor_file.read_with_digest(path)
    if header.get("kind") != _KIND:
        raise ModelFileError(f"{path}: holds a {header.get('kind', 'thing of no kind')}, not a {_KIND}")
    if header.get("format") not in (1, 2, FORMAT):
        raise ModelFileError(
            f"{path}: format {header.get('format')!r}; this version reads formats 1 to {FORMAT}, so install the "
            f"differnet that wrote it ({formats.writer(header)}) or fit again"
        )
    try:
        return replace(_build(header, tensors), file_digest=digest)
    except KeyError as error:
        raise ModelFileError(
            f"{path}: header and tensors do not fit together: {error} is missing; it was changed since differnet "
            f"{formats.writer(header)} wrote it: take the original, or fit again"
        ) from error
    except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path}: header and tensors do not fit together ({error})") from error


def backbone_of(model: Model, source: str | None) -> MultiScale:
    """Build the frozen network that the model was fitted with; ``source``: a file of its weights, if it was one.

    Raises :class:`WeightsError` when the weights are not those, or when the file was not given.
    """
    digest, name = model.backbone_digest[:16], model.config.backbone.backbone
    if model.backbone_origin == "file" and source is None:
        raise WeightsError(
            f"the model was fitted with a file of backbone weights (sha256 {digest}...); give that file with "
            "weights=FILE (--weights FILE)"
        )
    module = network.build(model.config.backbone, source)
    if module.digest != model.backbone_digest:
        raise WeightsError(
            f"the model was fitted with weights of {name} with sha256 {digest}..., found "
            f"{module.digest[:16]}...; give the right file with weights=FILE (--weights FILE)"
        )
    return module


def threshold(model: Model, views: int | None = None, rate: float | None = None) -> Threshold | None:
    """Return theta with its promise for the mean of the first ``views`` views, or of all.

    ``rate``: another than that of the settings. Nothing when no good images were held out.
    """
    return model.standard.threshold(views, rate)


def summarise(model: Model) -> dict[str, Any]:
    """Return what the model is and was made from, as JSON types."""
    promise = threshold(model)
    review = model.config.decision.review_rate and threshold(model, rate=model.config.decision.review_rate)
    record = model.calibrated_on
    return {
        "threshold": None if promise is None else promise.value,
        "promised_false_alarm_rate": None if promise is None else promise.promised,
        "guarantee": None if promise is None else promise.guarantee,
        "confidence": model.config.decision.confidence,
        "review_threshold": review.value if review else None,
        "promised_review_rate": review.promised if review else None,
        "train_count": model.train_count,
        "calibration_count": len(model.view_scores),
        "calibrated_on": None if record is None else record.summary(),
        "seed": model.seed,
        "features": model.flow.features,
        "flow_parameters": parameter_count(model.flow.features, model.config.flow),
        "backbone_digest": model.backbone_digest,
        "backbone_origin": model.backbone_origin,
        "runtime": model.runtime,
        "precision": model.precision,
        "map_scale": model.map_scale,
        "choice": None if model.choice is None else model.choice.to_dict() | {"text": str(model.choice)},
        "loss": [epoch.loss for epoch in model.history],
        "held_out_loss": [epoch.held_out_loss for epoch in model.history],
        "versions": dict(model.versions),
        "config": model.config.to_dict(),
    }


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
    if header["format"] == 1:
        header, tensors = formats.from_1(header, tensors)
    if header["format"] == 2:
        header = formats.from_2(header)
    maps = {"gradient": "pixels", **header["config"]["maps"]}  # as it was before there was a choice
    settings = presets.Config.from_dict({**header["config"], "maps": maps})
    state = {name.removeprefix("flow."): value for name, value in tensors.items() if name.startswith("flow.")}
    features, shape = int(header["features"]), settings.flow
    wanted = parameter_count(features, shape)
    found = sum(value.numel() for value in state.values() if value.dtype == torch.float32)
    if found != wanted or features < 2:
        raise ValueError(f"{found} parameters found, {wanted} wanted")
    _check_numbers(header)
    channels = tuple(int(count) for count in header["channels"])
    _check_channels(settings, channels, features)
    flow = Flow(features, **shape.arguments)
    flow.load_state_dict(state)
    _check_permutations(flow)
    if flow.whitening is not None and not bool((flow.whitening.matrix.diagonal() > 0).all()):
        raise ValueError("the whitening of the flow cannot be undone")
    flow.eval().requires_grad_(False)
    view_scores = tensors["view_scores"].to(torch.float64).numpy()
    probe = tensors["graph.probe"] if header["precision"] == "int8" else None
    finite = all(bool(torch.isfinite(value).all()) for value in state.values())
    if view_scores.ndim != 2 or not np.isfinite(view_scores).all() or not finite:
        raise ValueError("NaN or infinite numbers")
    if probe is not None and (probe.ndim != 2 or not bool(torch.isfinite(probe).all())):
        raise ValueError("the features of the probe are no table of finite numbers")
    if len(view_scores):
        folds = header["calibrated_on"]["folds"] if header.get("calibrated_on") else 0
        check_count(len(view_scores), settings.decision.rate, settings.decision.confidence, int(folds))
    precision: Precision = header["precision"]
    if precision not in get_args(Precision) or (precision == "int8") != ("graph.xml" in tensors):
        raise ValueError(f"precision {precision!r} does not go with the tensors")
    return Model(
        config=settings,
        seed=int(header["seed"]),
        backbone_digest=str(header["backbone_digest"]),
        backbone_origin=str(header["backbone_origin"]),
        channels=channels,
        runtime=str(header["runtime"]),
        flow=flow,
        view_scores=view_scores,
        map_scale=float(header["map_scale"]),
        train_count=int(header["train_count"]),
        precision=precision,
        graph=Graph.from_tensors(tensors) if precision == "int8" else None,
        probe=probe,
        choice=None if header["choice"] is None else Choice.from_dict(header["choice"]),
        calibrated_on=from_header(header.get("calibrated_on"), view_scores.shape),
        fitted_on=Sources.from_dict(header["fitted_on"]) if header.get("fitted_on") else None,
        history=tuple(Epoch(**epoch) for epoch in header["history"]),
        versions=dict(header["versions"]),
    )


def _check_numbers(header: Mapping[str, Any]) -> None:
    """Refuse single numbers that no fit gives."""
    if not 0 <= int(header["seed"]) < 2**64:
        raise ValueError(f"seed = {header['seed']}: a whole number from 0 was wanted")
    if not (0 < float(header["map_scale"]) < math.inf and int(header["train_count"]) >= 0):
        raise ValueError(f"map_scale = {header['map_scale']}, train_count = {header['train_count']}")
    for epoch in header["history"]:
        losses = (epoch["loss"], epoch["held_out_loss"], epoch["seconds"])
        if not all(value is None or math.isfinite(value) for value in losses):
            raise ValueError(f"the history of training has {losses}")


def _check_channels(settings: presets.Config, channels: tuple[int, ...], features: int) -> None:
    """Refuse channels that do not come to the width of the flow, before anything is made of them."""
    if not settings.is_settled:
        raise ValueError("the settings leave open what to look at")
    known, wanted = settings.backbone.stages, settings.reading.read_stages
    read = known if isinstance(wanted, str) else wanted
    by_stage = dict(zip(known, channels, strict=True))
    total = len(settings.backbone.sizes) * sum(by_stage[stage] for stage in read)
    if min(channels) < 1 or max(channels) > _MOST_CHANNELS or total != features:
        raise ValueError(f"channels {channels} do not give {features} features")


def _check_permutations(flow: Flow) -> None:
    for step in itertools.chain(*flow.chains):
        if isinstance(step, Permutation):
            positions = torch.arange(len(step.order))
            if not (
                torch.equal(step.order.sort().values, positions)
                and torch.equal(step.order[step.inverse_order], positions)
            ):
                raise ValueError("a permutation of the flow is none")
