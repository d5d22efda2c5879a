"""Features y = f_ex(T_i(x)): a frozen ImageNet network at several input sizes, pooled and concatenated.

Sections 3 and 4.2 of the paper: global average pooling of the last feature map at 448, 224 and 112 pixels. Maps of
more stages, and averages over parts of the image beside those over the whole, are ours. timm and torchvision take a
second or two to import, which only functions do that build a network other than the default's.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from differnet.config import sections
from differnet.config.shape import Shape, count_places, grid_shape, smaller
from differnet.errors import ConfigError
from differnet.features.backbone import lite0, timm_network, weights
from differnet.features.backbone.timm_network import IMAGENET_MEAN, IMAGENET_STD, Maps


class MultiScale(nn.Module):
    """y = [pool(f(x_448)), pool(f(x_224)), pool(f(x_112))] for a frozen network f.

    ``forward``: views (B, 3, S, S) with values 0..255, S the largest size, to features (B, W); or views (B, 3, S, T)
    of the same area, where pictures are long (:mod:`differnet.config.shape`). The smaller sizes are averaged down from
    the same view. A row holds the average over the whole image and then, with ``grid`` n > 1, over each of n x n parts,
    or of about as many that are about square, row by row; each of these places has, for every size, the channels of
    every feature map that f returns (``channels``). :mod:`differnet.features.pooling` finds its way in such a row.
    ``mean`` and ``std`` normalise pixels of 0..255. ``digest`` is the SHA-256 of the network's weights, ``origin``
    says where they came from.
    """

    mean: Tensor
    std: Tensor
    channels: tuple[int, ...]

    def __init__(
        self,
        network: nn.Module,
        settings: sections.Backbone,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        origin: str = weights.RANDOM,
        digest: str | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.sizes = settings.sizes
        self.grid = settings.grid
        self.origin = origin
        self.digest = digest or weights.digest(network)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.eval().requires_grad_(False)
        with torch.inference_mode():
            maps = self.network(torch.zeros(1, 3, self.sizes[0], self.sizes[0]))
        self.channels = tuple(one.shape[1] for one in maps)

    @property
    def square(self) -> Shape:
        """The shape of views that are squares of the largest size."""
        return self.sizes[0], self.sizes[0]

    @property
    def width(self) -> int:
        """W of views that are squares."""
        return self.width_at(self.square)

    def width_at(self, shape: Shape) -> int:
        """Return W of views of this ``shape``."""
        return count_places(self.grid, shape) * len(self.sizes) * sum(self.channels)

    def parts_of(self, views: Tensor) -> Shape:
        """Return how many rows and columns of parts the grid has in views (B, 3, S, T)."""
        return grid_shape(self.grid, _shape(views))

    def forward(self, views: Tensor) -> Tensor:
        """Describe views (B, 3, S, T), values 0..255, by features (B, W)."""
        return self.pool(self.feature_maps(views), self.parts_of(views))

    def feature_maps(self, views: Tensor) -> list[Tensor]:
        """Return what is pooled, maps (B, C, h, w): size after size, of each its stages."""
        normalised = (views - self.mean) / self.std
        shapes = [smaller(_shape(views), size, self.sizes[0]) for size in self.sizes]
        return [one for shape in shapes for one in self._maps_at(normalised, shape)]

    def _maps_at(self, images: Tensor, shape: Shape) -> list[Tensor]:
        factor = _factor(images, shape)
        if isinstance(self.network, lite0.Lite0) and factor in self.network.factors:
            found: list[Tensor] = self.network(images, factor)
        else:
            found = self.network(_shrink(images, shape))
        return found

    def pool(self, maps: list[Tensor], parts: Shape) -> Tensor:
        """Pool :meth:`feature_maps` to features (B, W), over so many :meth:`parts_of` the views."""
        if self.grid == 1:
            return torch.cat([one.mean(dim=(2, 3)) for one in maps], dim=1)
        places = torch.cat([one.flatten(2) @ averages(one, parts) for one in maps], dim=1)
        return places.transpose(1, 2).flatten(1)

    def __repr__(self) -> str:
        return (
            f"MultiScale(sizes={self.sizes}, channels={self.channels}, grid={self.grid}, "
            f"width={self.width}, origin={self.origin!r})"
        )


def build(settings: sections.Backbone, source: str | None = None) -> MultiScale:
    """Build the frozen network that ``settings`` name.

    ``source``: a weights file, ``"random"`` for seeded random weights, or nothing for the ImageNet weights
    of the network's publisher. Raises :class:`WeightsError` when they cannot be had.
    """
    builders = {"efficientnet_lite0": _lite0, "alexnet": _alexnet}
    with weights.seeded_initialisation():
        return builders.get(settings.backbone, _from_timm)(settings, source)


def _lite0(settings: sections.Backbone, source: str | None) -> MultiScale:
    network = lite0.Whole()
    known = len(network.blocks)
    if settings.stages[-1] >= known:
        raise ConfigError(f"stages = {settings.stages}: efficientnet_lite0 has stages 0 to {known - 1}")
    if source != weights.RANDOM:
        path = source or str(weights.packaged_lite0())
        weights.fill_by_order(network, weights.read_state(path), path)
    kept = lite0.Lite0(network, settings.stages)
    digest = weights.digest(kept)
    lite0.fold_normalisation(kept.eval())
    kept.average({settings.sizes[0] // size for size in settings.sizes[1:] if settings.sizes[0] % size == 0})
    # Google trained it on (x - 127) / 128.
    return MultiScale(kept, settings, (127.0,) * 3, (128.0,) * 3, _origin(source, "package"), digest)


def _alexnet(settings: sections.Backbone, source: str | None) -> MultiScale:
    import torchvision

    if source is None:
        enum = torchvision.models.AlexNet_Weights.IMAGENET1K_V1
        network = weights.download("alexnet", lambda: torchvision.models.alexnet(weights=enum)).features
    else:
        network = torchvision.models.alexnet(weights=None).features
    if source not in {None, weights.RANDOM}:
        holder = nn.Module()
        holder.features = network
        weights.fill_by_name(holder, weights.read_state(str(source)), str(source))
    for layer in network:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    digest = weights.digest(network)
    return MultiScale(Maps(network), settings, *_imagenet_bytes(), _origin(source, "torchvision"), digest)


def _from_timm(settings: sections.Backbone, source: str | None) -> MultiScale:
    found = timm_network.find(settings, source)
    pixels = _imagenet_bytes(found.mean, found.std)
    return MultiScale(found.network, settings, *pixels, _origin(source, "timm"), found.digest)


def averages(maps: Tensor, parts: Shape) -> Tensor:
    """Return weights (h * w, P) for maps (B, C, h, w): columns average over the whole map and each of its parts.

    ``parts``: how many rows and columns of them; P is 1 more than there are, or 1 for a single one. They are as equal
    as can be, and overlap by a row or column where the map cannot be divided.
    """
    return torch.from_numpy(_averages(_shape(maps), parts)).T.to(maps)


@functools.cache
def _averages(shape: Shape, parts: Shape) -> npt.NDArray[np.float32]:
    """Return the transpose (P, h * w) of :func:`averages`, once: traced piece by piece, it makes exports slow."""
    (height, width), (down, across) = shape, parts
    table = np.ones((1, height, width), dtype=np.float32)
    if parts != (1, 1):
        table = np.concatenate((table, np.zeros((down * across, height, width), dtype=np.float32)))
    for number in range(1, len(table)):
        i, j = divmod(number - 1, across)
        rows = slice(i * height // down, -(-(i + 1) * height // down))
        columns = slice(j * width // across, -(-(j + 1) * width // across))
        table[number, rows, columns] = 1
    table /= table.sum(axis=(1, 2), keepdims=True)
    return table.reshape(len(table), -1)


def _shape(images: Tensor) -> Shape:
    return int(images.shape[-2]), int(images.shape[-1])


def _factor(images: Tensor, shape: Shape) -> int:
    """Return by how much both sides are larger than ``shape``, 0 where that is no one whole number."""
    (height, width), (down, across) = _shape(images), shape
    is_whole = height % down == 0 and width % across == 0 and height // down == width // across
    return height // down if is_whole else 0


def _shrink(images: Tensor, shape: Shape) -> Tensor:
    """Average down to ``shape``: exactly where it divides both sides, else bilinearly."""
    height, width = _shape(images)
    if (height, width) == shape:
        return images
    if height % shape[0] == 0 and width % shape[1] == 0:
        return F.avg_pool2d(images, (height // shape[0], width // shape[1]))
    return F.interpolate(images, size=shape, mode="bilinear", align_corners=False)


def _imagenet_bytes(
    mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Turn a normalisation of pixels 0..1 into one of 0..255."""
    return tuple(255 * value for value in mean), tuple(255 * value for value in std)


def _origin(source: str | None, publisher: str) -> str:
    return publisher if source is None else source if source == weights.RANDOM else "file"
