"""Geometric transformations: a classifier of how an image was moved is unsure about images unlike the good ones.

Golan and El-Yaniv, *Deep Anomaly Detection Using Geometric Transformations*, NeurIPS 2018 (arXiv 1805.10917).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.special import digamma, polygamma
from torch import Tensor, nn

from differnet.data.stream import Progress
from differnet.evaluation.baselines.method import fitted
from differnet.evaluation.baselines.pixels import SmallImages
from differnet.features.seeds import generator

Table = npt.NDArray[np.float64]
COUNT = 72
_MOST_STEPS = 200  # images that look all the same need more, for an alpha that grows and grows
_SETTLED = 1e-6  # relative
_NEWTON_STEPS = 5


@dataclass(kw_only=True)
class GeoTrans(SmallImages):
    """A wide residual network tells which of 72 transformations T_j an image x was moved by.

    T_j: mirrored or not, shifted by a quarter of the side or not along each axis, turned by a multiple of 90 degrees.
    Score: -sum_j (alpha_j - 1) . log y(T_j(x)), where y is the softmax vector (72,), and alpha_j (72,) the parameters
    of the Dirichlet distribution of y(T_j(x)) over the training images, by maximum likelihood. The network has depth
    10 and width factor ``factor`` (the paper: 4 at this depth, and 8 at depth 16). In an epoch each image is seen in
    one random transformation; the paper shows every image in all 72 about three times. Adam, learning rate 1e-3,
    batches of 128, as in the paper.
    """

    epochs: int = 60
    batch: int = 128
    factor: int = 1
    _network: nn.Module | None = field(default=None, init=False, repr=False)
    _alphas: Table | None = field(default=None, init=False, repr=False)

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
        told = []
        for image in images.split(1):
            told.append(self._log_softmax(image))
            progress("fitting Dirichlet distributions", len(told), len(images))
        self._alphas = dirichlet(np.stack(told))

    def _score(self, image: Tensor) -> float:
        network_output = self._log_softmax(image)
        return -float(((fitted(self._alphas, self) - 1) * network_output).sum())

    @torch.inference_mode()
    def _log_softmax(self, image: Tensor) -> Table:
        """Return log y(T_j(x)) of an image (1, 3, S, S), a row for each j: (72, 72)."""
        network = fitted(self._network, self)
        logits = network(transform(image.expand(COUNT, -1, -1, -1), transformations(self.side)))
        found: Table = F.log_softmax(logits.double(), dim=1).numpy()
        return found


def dirichlet(logs: Table) -> Table:
    """Fit a Dirichlet distribution to each set of N probability vectors, given as ``logs`` (N, J, K): alpha (J, K).

    The start is that of Wicker et al. (2008), the steps are Minka's fixed point (*Estimating a Dirichlet distribution*,
    2000): digamma(alpha_k) = digamma(sum alpha) + mean log y_k; as in the paper's algorithm 1.
    """
    mean, mean_log = np.exp(logs).mean(axis=0), logs.mean(axis=0)
    apart = (mean * (np.log(np.maximum(mean, np.finfo(float).tiny)) - mean_log)).sum(axis=1, keepdims=True)
    alpha: Table = mean * (logs.shape[2] - 1) * -digamma(1.0) / np.maximum(apart, _SETTLED)
    alpha = np.maximum(alpha, _SETTLED)
    for _ in range(_MOST_STEPS):
        before = alpha
        alpha = inverse_digamma(digamma(before.sum(axis=1, keepdims=True)) + mean_log)
        if np.abs(alpha - before).max() <= _SETTLED * before.max():
            break
    return alpha


def inverse_digamma(values: Table) -> Table:
    """Return x with digamma(x) = value, by Newton's method from Minka's start."""
    found: Table = np.where(values >= -2.22, np.exp(values) + 0.5, -1 / (values - digamma(1.0)))
    for _ in range(_NEWTON_STEPS):
        found -= (digamma(found) - values) / polygamma(1, found)
    return found


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
