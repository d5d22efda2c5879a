"""Which packages are installed, as the metadata of differnet asks for them, and which weights lie on this machine."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import torch
from packaging.requirements import Requirement

from differnet.config.presets import PRESETS
from differnet.errors import WeightsError
from differnet.features.backbone import weights

_FILES = ("model.safetensors", "pytorch_model.bin")  # of timm's networks in the cache of the hub


@dataclass(frozen=True)
class Package:
    """A package that differnet asks for.

    ``version`` is nothing where it is missing; ``fits``: whether it is there in a version that is wanted.
    """

    name: str
    wanted: str
    version: str | None
    fits: bool


def packages() -> dict[str, list[Package]]:
    """Return what is asked for by extra, what every installation wants under an empty name.

    Packages that are not for this system are left out. Empty where differnet was never installed.
    """
    found: dict[str, list[Package]] = {}
    try:
        lines = importlib.metadata.requires("differnet") or []
        extras = importlib.metadata.metadata("differnet").get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    for requirement in map(Requirement, lines):
        for extra in ("", *extras):
            marker = requirement.marker
            is_bare = marker is None or marker.evaluate({"extra": ""})
            if (
                is_bare
                if not extra
                else not is_bare and marker is not None and marker.evaluate({"extra": extra})
            ):
                found.setdefault(extra, []).append(package(requirement))
    return found


def package(requirement: Requirement) -> Package:
    """Look for what a requirement names."""
    wanted = str(requirement.specifier)
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Package(requirement.name, wanted, None, False)
    return Package(
        requirement.name, wanted, version, requirement.specifier.contains(version, prereleases=True)
    )


def backbones() -> dict[str, bool]:
    """Return for the backbone of every preset whether its weights are on this machine; nothing is downloaded."""
    return {name: _is_here(name) for name in dict.fromkeys(one.backbone.backbone for one in PRESETS.values())}


def _is_here(name: str) -> bool:
    if name == "efficientnet_lite0":
        try:
            return weights.packaged_lite0().is_file()
        except WeightsError:
            return False
    if name == "alexnet":
        import torchvision  # takes a second

        url = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url
        return bool((Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file())
    kept = [huggingface_hub.try_to_load_from_cache(f"timm/{name}", file) for file in _FILES]
    return any(isinstance(one, str) for one in kept)
