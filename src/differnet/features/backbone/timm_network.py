"""Networks of timm by name, as frozen modules that return feature maps.

Convolutional ones give the maps of timm's ``feature_info``. A vision transformer gives the tokens of some of its
blocks, put back where their patches lie. Weights come from timm's hub, from a file, or from a seed.
"""

from __future__ import annotations

import copy
import functools
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from differnet.config import sections
from differnet.errors import ConfigError, WeightsError
from differnet.features.backbone import weights

# Of timm's downloads, which want widgets for their bars in a notebook.
warnings.filterwarnings("ignore", message="IProgress not found")

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_NOT_TIMMS = ("efficientnet_lite0", "alexnet")


class Found(NamedTuple):
    """A network that returns a list of maps (B, C, h, w), with what it was trained on.

    ``mean`` and ``std`` normalise pixels 0..1; ``digest`` is that of its weights.
    """

    network: nn.Module
    digest: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Maps(nn.Module):
    """A network that returns feature maps, or one of them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return what the network gives for (B, 3, S, S), as a list."""
        maps = self.network(images)
        return list(maps) if isinstance(maps, (list, tuple)) else [maps]


class TokenMaps(nn.Module):
    """The patch tokens of some blocks of a vision transformer, each through its last normalisation, as maps.

    So DINOv2 gives its intermediate layers; without it a few channels outweigh all others. Where a network has a
    table of positions, it is interpolated here, once for each size: runtimes differ in how they interpolate.
    """

    def __init__(self, network: Any, stages: tuple[int, ...], sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.stages = list(stages)
        self.at = nn.ModuleDict({str(size): _for_size(network, size) for size in sizes})

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return a map (B, C, S / patch, S / patch) of each stage for (B, 3, S, S), S one of the sizes."""
        height, width = int(images.shape[-2]), int(images.shape[-1])
        if height != width or str(width) not in self.at:
            raise ConfigError(
                f"views of {height} x {width} pixels: a vision transformer looks at squares of its sizes alone; "
                "set aspect=1"
            )
        network: Any = self.at[str(width)]
        return list(
            network.forward_intermediates(images, indices=self.stages, norm=True, intermediates_only=True)
        )


def _for_size(network: Any, size: int) -> nn.Module:
    """Return a copy for images of one size, which shares its weights with ``network``."""
    own: Any = copy.deepcopy(network, {id(one): one for one in network.parameters()})
    own.set_input_size(img_size=(size, size))
    module: nn.Module = own
    return module


def find(settings: sections.Backbone, source: str | None) -> Found:
    """Build timm's network of that name; ``source`` as in :func:`differnet.features.backbone.network.build`.

    Raises :class:`ConfigError` for names, stages and sizes that do not go together, before anything is downloaded.
    """
    import timm

    name = settings.backbone
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name[:8]}*")[:5]) or "see timm.list_models()"
        raise ConfigError(f"There is no backbone {name!r}: efficientnet_lite0, alexnet or timm's ({near})")
    cfg = timm.get_pretrained_cfg(name)
    mean, std = (cfg.mean, cfg.std) if cfg else (IMAGENET_MEAN, IMAGENET_STD)
    sketch = _sketch(name)
    if _has_tokens(sketch):
        _check_sizes(sketch, settings)
        _check_blocks(sketch, settings)
        whole = _transformer(settings, source)
        digest = weights.digest(whole)
        return Found(TokenMaps(whole, settings.stages, settings.sizes), digest, mean, std)
    maps = Maps(_convolutional(settings, source))
    return Found(maps, weights.digest(maps), mean, std)


def is_transformer(name: str) -> bool:
    """Whether a backbone is a vision transformer of timm's."""
    if name in _NOT_TIMMS:
        return False
    import timm

    return bool(timm.is_model(name)) and _has_tokens(_sketch(name))


@functools.lru_cache
def _sketch(name: str) -> nn.Module:
    """Build a network without numbers, which takes a tenth of a second."""
    import timm

    with torch.device("meta"):
        network: nn.Module = timm.create_model(name)
    return network


def _has_tokens(network: nn.Module) -> bool:
    """Whether a network is a vision transformer whose tokens keep the grid of its patches."""
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    return isinstance(network, (Eva, VisionTransformer))


def _check_sizes(network: Any, settings: sections.Backbone) -> None:
    patch = max(network.patch_embed.patch_size)
    for size in settings.sizes:
        if size % patch:
            near = sorted({max(size // patch, 1) * patch, -(-size // patch) * patch})
            raise ConfigError(
                f"sizes = {settings.sizes}: {settings.backbone} looks at patches of {patch} pixels, so only multiples "
                f"of {patch} fit; for {size} take {' or '.join(map(str, near))}"
            )


def _check_blocks(network: Any, settings: sections.Backbone) -> None:
    known = len(network.blocks)
    if settings.stages[-1] >= known:
        raise ConfigError(
            f"stages = {settings.stages}: {settings.backbone} has no such feature maps, but blocks 0 to {known - 1}"
        )


def _transformer(settings: sections.Backbone, source: str | None) -> nn.Module:
    """Build a vision transformer up to and including the last of its blocks that is read."""
    import timm

    options: dict[str, Any] = {"num_classes": 0, "dynamic_img_size": False}
    if source is None:
        network: Any = _download(settings.backbone, options)
    else:
        network = timm.create_model(settings.backbone, **options)
    if source not in {None, weights.RANDOM}:
        weights.fill_by_name(network, weights.read_state(str(source)), str(source))
    network.prune_intermediate_layers(list(settings.stages), prune_norm=False)
    module: nn.Module = network
    return module


def _convolutional(settings: sections.Backbone, source: str | None) -> nn.Module:
    name, stages = settings.backbone, settings.stages
    options: dict[str, Any] = {"features_only": True, "out_indices": stages}
    if source is None:
        return _download(name, options)
    if source == weights.RANDOM:
        return _create(name, stages, options)
    return _from_file(name, stages, source, options)


def _download(name: str, options: dict[str, Any]) -> nn.Module:
    import timm

    cfg = timm.get_pretrained_cfg(name)
    hub = cfg.hf_hub_id if cfg else None
    place = f"model.safetensors of https://huggingface.co/{hub}" if hub else "the file"

    def fetch() -> nn.Module:
        network: nn.Module = timm.create_model(name, pretrained=True, **options)
        return network

    return weights.download(name, fetch, place)


def _from_file(name: str, stages: tuple[int, ...], source: str, options: dict[str, Any]) -> nn.Module:
    """Fill a timm network from a file; timm itself would leave random what the file lacks."""
    import timm

    state = weights.read_state(source)
    whole = timm.create_model(name, pretrained=False)
    whole.reset_classifier(0)
    weights.fill_by_name(whole, state, source)
    overlay = {"state_dict": state}
    try:
        return _create(name, stages, options | {"pretrained": True, "pretrained_cfg_overlay": overlay})
    except KeyError as error:
        raise WeightsError(f"{source}: does not fit {name}: {error}") from error


def _create(name: str, stages: tuple[int, ...], options: dict[str, Any]) -> nn.Module:
    import timm

    try:
        network: nn.Module = timm.create_model(name, **options)
    except (IndexError, AssertionError, RuntimeError) as error:
        raise ConfigError(f"stages = {stages}: {name} has no such feature maps ({error})") from error
    return network
