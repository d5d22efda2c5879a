"""The model file: one safetensors file with a JSON header, everything that prediction needs.

Tensors: the flow's weights and permutations (``flow.*``), the good parts kept of it (``neighbours*``), the scores of
the held-out images in every view, the cells of heat maps (``cells.*``), and the backbone as an 8-bit network
(``graph.*``) if that is what the flow was fitted to. Header: format, all settings, seed, the backbone's name and the
hash of its weights, versions. In floats those weights stay where they came from and are checked by their hash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from differnet.config import presets
from differnet.config.settled import Settled, SettledFlow, settle
from differnet.config.shape import Shape
from differnet.data.sisters.find import Summary
from differnet.decision.thresholds import check_count
from differnet.detector.model import Model
from differnet.detector.provenance import Sources, from_header
from differnet.detector.tuning.choice import Choice
from differnet.errors import ModelFileError, NotFittedError, warn
from differnet.features.backbone.openvino_runtime import Graph
from differnet.features.backbone.torch_runtime import Precision
from differnet.features.pooling import settled_readings
from differnet.features.seeds import check_seed
from differnet.flow import cells, neighbours, tensor_file
from differnet.flow.cells import Cells
from differnet.flow.flow import Flow, from_state, parameter_count, tensor_count
from differnet.flow.fusion import Fusion
from differnet.flow.neighbours import Neighbours
from differnet.flow.train import Epoch

FORMAT = 3
_KIND, _CELLS, _NEIGHBOURS = "detector", "cells.", "neighbours"
_MOST_CHANNELS = 65_536
# Of the scale of heat maps, by which they are divided in 32 bits.
_LEAST, _MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def save(path: str | Path, model: Model) -> None:
    """Write ``model`` to ``path``, whole or not at all."""
    tensor_file.write_tensors(path, *_contents(model))


def to_bytes(model: Model) -> bytes:
    """Return what :func:`save` would write."""
    return tensor_file.to_bytes(*_contents(model))


def _contents(model: Model) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors: dict[str, Tensor] = {
        _prefix(number) + name: value
        for number, (flow, _) in enumerate(model.fusion.parts)
        for name, value in flow.state_dict().items()
    }
    tensors |= {f"{_NEIGHBOURS}{n}": found.kept.half() for n, found in model.fusion.neighbours.items()}
    tensors["view_scores"] = torch.from_numpy(model.view_scores)
    if model.graph is not None and model.probe is not None:
        tensors |= model.graph.to_tensors() | {"graph.probe": model.probe}
    if model.cells is not None:
        tensors |= {_CELLS + name: value for name, value in model.cells._asdict().items()}
    widths = [flow.features for flow, _ in model.fusion.parts]
    header = {
        "kind": _KIND,
        "format": FORMAT,
        "config": model.config.to_dict(),
        "seed": model.seed,
        "features": widths[0] if len(widths) == 1 else widths,  # one number, as before there were several
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
        "picture_shape": None if model.picture_shape is None else list(model.picture_shape),
        "sisters": None if model.sisters is None else model.sisters.to_dict(),
        "history": [asdict(epoch) for epoch in model.history],
        "versions": dict(model.versions),
        "stage_seconds": dict(model.stage_seconds),
    }
    return tensors, header


def load(path: str | Path, content: bytes | None = None) -> Model:
    """Read a model file; raises :class:`ModelFileError` for anything that :func:`save` did not write.

    ``content``: its bytes, where they are not in a file; ``path`` is then what errors name. Nothing in the file can run
    code, and the flow is built only after the tensors in it were found to have the number of parameters that the header
    claims.
    """
    header, tensors, digest = tensor_file.read_with_digest(path, content)
    if header.get("kind") != _KIND:
        raise ModelFileError(f"{path}: holds a {header.get('kind', 'thing of no kind')}, not a {_KIND}")
    if header.get("format") not in (1, 2, FORMAT):
        raise ModelFileError(
            f"{path}: format {header.get('format')!r}; this version reads formats 1 to {FORMAT}, so install the "
            f"differnet that wrote it ({writer(header)}) or fit again"
        )
    try:
        return replace(_build(header, tensors), file_digest=digest)
    except KeyError as error:
        raise ModelFileError(
            f"{path}: header and tensors do not fit together: {error} is missing; it was changed since differnet "
            f"{writer(header)} wrote it: take the original, or fit again"
        ) from error
    except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path}: header and tensors do not fit together ({error})") from error


def _build(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Model:
    if header["format"] == 1:
        header, tensors = from_1(header, tensors)
    if header["format"] == 2:
        header = from_2(header)
    maps = {"gradient": "pixels", **header["config"]["maps"]}  # as it was before there was a choice
    views = {"white": "picture", **header["config"]["views"]}
    settings = _settled(presets.Config.from_dict({**header["config"], "maps": maps, "views": views}))
    widths = _widths_of(header, settings)
    states = [_state_of_flow(tensors, number) for number in range(len(widths))]
    for state, shape, width in zip(states, settings.flows, widths, strict=True):
        _check_counts(state, shape, width)
    _check_numbers(header)
    channels = tuple(int(count) for count in header["channels"])
    _check_channels(settings, channels, widths)
    flows = [from_state(*one) for one in zip(states, settings.flows, widths, strict=True)]
    view_scores = _view_scores_of(header, tensors, settings)
    precision, probe = _precision_of(header, tensors)
    return Model(
        config=settings.config,
        seed=int(header["seed"]),
        backbone_digest=str(header["backbone_digest"]),
        backbone_origin=str(header["backbone_origin"]),
        channels=channels,
        runtime=str(header["runtime"]),
        fusion=Fusion(flows, settled_readings(settings, channels), _neighbours_of(tensors, settings, flows)),
        view_scores=view_scores,
        map_scale=float(header["map_scale"]),
        train_count=int(header["train_count"]),
        precision=precision,
        graph=Graph.from_tensors(tensors) if precision == "int8" else None,
        probe=probe,
        choice=None if header["choice"] is None else Choice.from_dict(header["choice"]),
        cells=_cells_of(tensors, settings, channels),
        calibrated_on=from_header(header.get("calibrated_on"), view_scores.shape),
        fitted_on=Sources.from_dict(header["fitted_on"]) if header.get("fitted_on") else None,
        picture_shape=_picture_shape_of(header),
        sisters=Summary.from_dict(header["sisters"]) if header.get("sisters") else None,
        history=tuple(Epoch(**epoch) for epoch in header["history"]),
        versions=dict(header["versions"]),
        stage_seconds={
            str(stage): float(seconds) for stage, seconds in header.get("stage_seconds", {}).items()
        },
    )


def _prefix(number: int) -> str:
    """Return what the names of a flow's tensors begin with; files of a single flow are older than others."""
    return f"flow{number or ''}."


def _state_of_flow(tensors: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    prefix = _prefix(number)
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_counts(state: Mapping[str, Tensor], shape: SettledFlow, features: int) -> None:
    """Refuse another number of parameters, or of tensors, than the flow takes, before one is built."""
    found = sum(value.numel() for value in state.values() if value.dtype == torch.float32)
    wanted, tensors = parameter_count(features, shape), tensor_count(shape)
    if found != wanted or features < 2 or len(state) != tensors:
        raise ValueError(f"{found} parameters found in {len(state)} tensors, {wanted} in {tensors} wanted")


def _neighbours_of(
    tensors: Mapping[str, Tensor], settings: Settled, flows: Sequence[Flow]
) -> dict[int, Neighbours]:
    """Return the good parts that are kept, by the number of their flow."""
    return {
        number: neighbours.from_tensor(tensors[f"{_NEIGHBOURS}{number}"], flow, most)
        for number, (flow, most) in enumerate(zip(flows, settings.neighbours, strict=True))
        if most
    }


def _cells_of(tensors: Mapping[str, Tensor], settings: Settled, channels: Sequence[int]) -> Cells | None:
    """Return the cells of heat maps, if the file has them."""
    named = {name.removeprefix(_CELLS): value for name, value in tensors.items() if name.startswith(_CELLS)}
    return cells.from_tensors(named, settings.backbone.tiles**2, sum(channels)) if named else None


def _view_scores_of(
    header: Mapping[str, Any], tensors: Mapping[str, Tensor], settings: Settled
) -> npt.NDArray[np.float64]:
    view_scores: npt.NDArray[np.float64] = tensors["view_scores"].to(torch.float64).numpy()
    if view_scores.ndim != 2 or not (np.isfinite(view_scores) & (view_scores >= 0)).all():
        raise ValueError("view scores that are no table of finite numbers from 0")
    if len(view_scores):
        if not view_scores.shape[1]:
            raise ValueError("view scores of no views")
        folds = header["calibrated_on"]["folds"] if header.get("calibrated_on") else 0
        check_count(len(view_scores), settings.decision.rate, settings.decision.confidence, int(folds))
    return view_scores


def _precision_of(
    header: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[Precision, Tensor | None]:
    """Return the numbers that the backbone computes in, and its features of the probe where these are integers."""
    precision: Precision = header["precision"]
    probe = tensors["graph.probe"] if precision == "int8" else None
    if probe is not None and (probe.ndim != 2 or not bool(torch.isfinite(probe).all())):
        raise ValueError("the features of the probe are no table of finite numbers")
    if precision not in get_args(Precision) or (precision == "int8") != ("graph.xml" in tensors):
        raise ValueError(f"precision {precision!r} does not go with the tensors")
    return precision, probe


def _check_numbers(header: Mapping[str, Any]) -> None:
    """Refuse single numbers that no fit gives."""
    check_seed(int(header["seed"]))
    if not (_LEAST <= float(header["map_scale"]) <= _MOST and int(header["train_count"]) >= 0):
        raise ValueError(f"map_scale = {header['map_scale']}, train_count = {header['train_count']}")
    if not all(math.isfinite(float(seconds)) for seconds in header.get("stage_seconds", {}).values()):
        raise ValueError("the seconds of a stage are no number")
    for epoch in header["history"]:
        losses = (epoch["loss"], epoch["held_out_loss"], epoch["seconds"])
        if not all(value is None or math.isfinite(value) for value in losses):
            raise ValueError(f"the history of training has {losses}")


def _picture_shape_of(header: Mapping[str, Any]) -> Shape | None:
    """Return the shape of the picture by which tiles were found, if they were."""
    if not header.get("picture_shape"):
        return None
    height, width = (int(side) for side in header["picture_shape"])
    if min(height, width) < 1:
        raise ValueError(f"pictures of {height} x {width} pixels")
    return height, width


def _settled(config: presets.Config) -> Settled:
    try:
        return settle(config)
    except NotFittedError as error:
        raise ValueError("the settings leave open what to look at") from error


def _widths_of(header: Mapping[str, Any], settings: Settled) -> list[int]:
    """Return how many features each flow maps; refuse another number of flows than the settings have."""
    found = header["features"] if isinstance(header["features"], list) else [header["features"]]
    if len(found) != len(settings.flows):
        raise ValueError(f"{len(found)} flows found, {len(settings.flows)} wanted")
    return [int(width) for width in found]


def _check_channels(settings: Settled, channels: tuple[int, ...], widths: Sequence[int]) -> None:
    """Refuse channels that do not come to the widths of the flows, before anything is made of them."""
    by_stage = dict(zip(settings.backbone.stages, channels, strict=True))
    each = sum(by_stage[stage] for stage in settings.reading.read_stages)
    wanted = [len(settings.backbone.sizes) * each, *(each for _ in settings.flows[1:])]
    if min(channels) < 1 or max(channels) > _MOST_CHANNELS or list(widths) != wanted:
        raise ValueError(f"channels {channels} do not give {widths} features")


def from_1(
    header: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what 0.1.0 wrote: features in floats, and of the held-out images one score each.

    Random views were drawn in another order then; a :class:`DifferNetWarning` says so where that matters.
    """
    if header["config"]["views"].get("score_rotations") == "random":
        warn(
            "the model file has format 1, whose random views were others of the same kind: scores differ a little from "
            "those its threshold was found with; calibrate it on good images"
        )
    upgraded = dict(tensors)
    if "calibration" in upgraded:
        upgraded["view_scores"] = upgraded.pop("calibration")[:, None]
    return {**header, "format": 2, "precision": "f32"}, upgraded


def from_2(header: Mapping[str, Any]) -> dict[str, Any]:
    """Read what came before features of several stages and places: one stage, pooled over the whole image."""
    settings = {name: dict(section) for name, section in header["config"].items()}
    settings["backbone"]["stages"] = [settings["backbone"].pop("stage")]
    channels = int(header["features"]) // len(settings["backbone"]["sizes"])
    return {**header, "format": 3, "config": settings, "channels": [channels], "choice": None}


def writer(header: Mapping[str, Any]) -> str:
    """Return the version of differnet that wrote a file, as far as it says."""
    found = header.get("versions")
    return str(found.get("differnet", "unknown")) if isinstance(found, dict) else "unknown"
