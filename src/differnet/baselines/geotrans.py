"""Geometric transformations: a classifier of how an image was moved is unsure about images unlike the good ones.

Golan and El-Yaniv, *Deep Anomaly Detection Using Geometric Transformations*, NeurIPS 2018 (arXiv 1805.10917).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from differnet.baselines.method import fitted
from differnet.baselines.pixels import SmallImages
from differnet.features import Progress
from differnet.seeds import generator

COUNT = 72


@dataclass(kw_only=True)
class GeoTrans(SmallImages):
    """A wide residual network tells which of 72 transformations T_j an image x was moved by.

    T_j: mirrored or not, shifted by a quarter of the side or not along each axis, turned by a multiple of 90 degrees.
    Score: -1/72 sum_j log softmax(f(T_j(x)))_j, the simple sum of logarithms; the paper's Dirichlet distributions of
    the softmax vectors are left out. The network has depth 10 and width factor ``factor`` (the paper: 4 at this depth,
    and 8 at depth 16). In an epoch each image is seen in one random transformation; the paper shows every image in
    all 72 about three times. Adam, learning rate 1e-3, batches of 128, as in the paper.
    """

    epochs: int = 60
    batch: int = 128
    factor: int = 1
    _network: nn.Module | None = field(default=None, init=False, repr=False)

    def _learn(self, images: Tensor, seed: int, progress: Progress) -> None:
        network = WideResidual(self.factor)
        moved, draws = transformations(self.side), generator(seed, "transformations")
        descent = torch.optim.Adam(network.parameters(), lr=1e-3)
        for batch in self._batches(images, seed, progress):
            which = torch.randint(COUNT, (len(batch),), generator=draws)
            loss = F.cross_entropy(network(transform(batch, moved[which])), which)
            descent.zero_grad()
            loss.backward()
            descent.step()
        self._network = network.eval()

    @torch.inference_mode()
    def _score(self, image: Tensor) -> float:
        network = fitted(self._network, self)
        logits = network(transform(image.expand(COUNT, -1, -1, -1), transformations(self.side)))
        return -float(F.log_softmax(logits.double(), dim=1).diagonal().mean())


def transformations(side: int) -> Tensor:
    """Return where each pixel of the 72 transformed images comes from: (72, side * side) positions.

    Shifts bring in mirrored pixels.
    """
    pixels, step = np.arange(side * side).reshape(side, side), side // 4
    tables = []
    for mirrored, down, right, turns in product((False, True), (0, -step, step), (0, -step, step), range(4)):
        padded = np.pad(np.fliplr(pixels) if mirrored else pixels, step, mode="reflect")
        shifted = padded[step - down : step - down + side, step - right : step - right + side]
        tables.append(np.rot90(shifted, turns).ravel())
    return torch.from_numpy(np.stack(tables))


def transform(images: Tensor, positions: Tensor) -> Tensor:
    """Move each of the images (B, C, S, S) by its row of ``positions`` (B, S * S)."""
    flat = images.flatten(2)
    return flat.gather(2, positions[:, None].expand(-1, flat.shape[1], -1)).view_as(images)


class WideResidual(nn.Module):
    """A wide residual network of depth 10 (Zagoruyko and Komodakis, BMVC 2016): (B, 3, S, S) to logits (B, 72)."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        widths = [16, 16 * factor, 32 * factor, 64 * factor]
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        pairs = zip(widths[:-1], widths[1:], (1, 2, 2), strict=True)
        self.blocks = nn.Sequential(*(_Block(*pair) for pair in pairs))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], COUNT)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the transformations."""
        features = F.relu(self.norm(self.blocks(self.stem(images))))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


class _Block(nn.Module):
    """Two convolutions, each after normalisation and ReLU, beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        is_same = before == after and stride == 1
        self.shortcut = None if is_same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        rectified = F.relu(self.norm1(features))
        aside = features if self.shortcut is None else self.shortcut(rectified)
        total: Tensor = aside + self.conv2(F.relu(self.norm2(self.conv1(rectified))))
        return total
