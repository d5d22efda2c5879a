"""What earlier versions wrote into model files, brought to the format of today."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from differnet.errors import DifferNetWarning


def from_1(
    header: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what 0.1.0 wrote: features in floats, and of the held-out images one score each.

    Random views were drawn in another order then; a :class:`DifferNetWarning` says so where that matters.
    """
    if header["config"]["views"].get("score_rotations") == "random":
        warnings.warn(
            "the model file has format 1, whose random views were others of the same kind: scores differ a little from "
            "those its threshold was found with; calibrate it on good images",
            DifferNetWarning,
            stacklevel=2,
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
