"""What earlier versions wrote into model files, brought to the format of today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def from_1(
    header: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what 0.1.0 wrote: features in floats, and of the held-out images one score each."""
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
