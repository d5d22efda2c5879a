"""Networks that are trained from scratch on small copies of the images: what these methods share.

They were published for small pictures of objects and are trained here on a CPU in minutes, so that they are smaller
and trained shorter than by their authors. No setting was tuned on any data set.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from differnet.data.formats.levels import OWN, Scale
from differnet.data.images import Pixels, load, resize_square
from differnet.data.stream import Progress, look_ahead, silent
from differnet.errors import ConfigError
from differnet.evaluation.baselines.method import check_count
from differnet.features.seeds import generator, seeded
from differnet.features.white import scale_of

SLOPE = 0.2  # of leaky ReLUs, as in DCGAN


@dataclass(kw_only=True)
class SmallImages(ABC):
    """Trains on images (N, 3, side, side), values -1..1, for ``epochs``, and never less than ``least_steps`` steps."""

    side: int = 32
    epochs: int
    batch: int = 64
    least_steps: int = 300
    _scale = OWN

    def __post_init__(self) -> None:
        if self.side < 8 or self.side & (self.side - 1):
            raise ConfigError(f"side = {self.side}: a power of two from 8 was wanted")

    def fit(
        self,
        paths: Sequence[Path],
        seed: int,
        progress: Progress = silent,
        groups: Sequence[Hashable] | None = None,  # noqa: ARG002
    ) -> None:
        """Read the images and train; none is held out, so groups say nothing."""
        check_count(paths, 1, self)
        self._scale = scale_of(paths)
        images = read(paths, self.side, progress, self._scale)
        with seeded(seed):  # where initial weights come from
            self._learn(images, seed, progress)

    def score(self, path: Path) -> float:
        """Score one image."""
        return self._score(read([path], self.side, scale=self._scale))

    def _batches(self, images: Tensor, seed: int, progress: Progress) -> Iterator[Tensor]:
        """Yield batches of always the same size, one epoch's order after the other."""
        steps = max(self.least_steps, self.epochs * math.ceil(len(images) / self.batch))
        draws = generator(seed, "batches")
        order = torch.empty(0, dtype=torch.long)
        for step in range(steps):
            while len(order) < self.batch:
                order = torch.cat([order, torch.randperm(len(images), generator=draws)])
            chosen, order = order[: self.batch], order[self.batch :]
            yield images[chosen]
            progress("training", step + 1, steps)

    @abstractmethod
    def _learn(self, images: Tensor, seed: int, progress: Progress) -> None:
        """Train on images (N, 3, side, side)."""

    @abstractmethod
    def _score(self, image: Tensor) -> float:
        """Score an image (1, 3, side, side); raises :class:`NotFittedError` before a fit."""


def read(paths: Sequence[Path], side: int, progress: Progress = silent, scale: Scale = OWN) -> Tensor:
    """Decode images to (N, 3, side, side), values -1..1, by the white of ``scale``; the aspect ratio is not kept."""
    squares: list[Pixels] = []
    for _, square in look_ahead(lambda path: resize_square(load(path, scale), side), paths):
        squares.append(square)
        progress("reading images", len(squares), len(paths))
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1.0


def encoder(side: int, width: int, out: int) -> nn.Sequential:
    """Map images (B, 3, side, side) to (B, out), as DCGAN's discriminator (Radford et al., ICLR 2016).

    Convolutions of 4 x 4 halve the side down to 4 pixels, with ``width`` channels and twice as many each time. The
    first of the two parts gives the last feature map.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]
    while (side := side // 2) > 4:
        layers += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width)]
        layers += [nn.LeakyReLU(SLOPE)]
        width *= 2
    head = nn.Sequential(nn.Conv2d(width, out, 4), nn.Flatten())
    return nn.Sequential(nn.Sequential(*layers), head).apply(_start)


def decoder(side: int, width: int, latent: int) -> nn.Sequential:
    """Map latents (B, latent) to images (B, 3, side, side), values -1..1: :func:`encoder` the other way round."""
    most = width * side // 8
    layers: list[nn.Module] = [
        nn.Unflatten(1, (latent, 1, 1)),
        nn.ConvTranspose2d(latent, most, 4, bias=False),
    ]
    layers += [nn.BatchNorm2d(most), nn.ReLU()]
    while most > width:
        layers += [nn.ConvTranspose2d(most, most // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(most // 2)]
        layers += [nn.ReLU()]
        most //= 2
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh()).apply(_start)


def critic_loss(critic: nn.Module, true: Tensor, made: Tensor) -> Tensor:
    """Return the mean cross-entropy of telling true images from made ones."""
    return -0.5 * (F.logsigmoid(critic(true)).mean() + F.logsigmoid(-critic(made)).mean())


def _start(layer: nn.Module) -> None:
    """Draw DCGAN's initial weights."""
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
