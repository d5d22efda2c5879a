"""Deep structured energy: images unlike the good ones are not where the energy of a network is lowest.

Zhai, Cheng, Lu and Zhang, *Deep Structured Energy Based Models for Anomaly Detection*, ICML 2016 (arXiv 1605.07717).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from differnet.data.stream import Progress
from differnet.evaluation.baselines.method import fitted
from differnet.evaluation.baselines.pixels import SmallImages
from differnet.features.seeds import generator


@dataclass(kw_only=True)
class Dsebm(SmallImages):
    """E(x) = ||x - b'||^2 / 2 - sum of h_L(x), where h_l = log(1 + exp(W_l h_(l-1) + b_l)).

    L is 3: two convolutions of stride 2 and a full layer. Score matching: with f(x) = x - dE/dx, ||x - f(x + noise)||^2
    is made small, the noise being Gaussian. Score: the reconstruction error ||x - f(x)||^2, a mean over pixels; it is
    the squared slope of the energy, the second of the paper's two criteria, and not the energy itself. Adam, learning
    rate 1e-3. The noise depends on the scale of the pixels; 0.2 of -1..1 was taken without a search.
    """

    epochs: int = 60
    width: int = 32
    hidden: int = 128
    noise: float = 0.2
    _energy: Energy | None = field(default=None, init=False, repr=False)

    def _learn(self, images: Tensor, seed: int, progress: Progress) -> None:
        energy = Energy(images.mean(dim=0), self.width, self.hidden)
        descent = torch.optim.Adam(energy.parameters(), lr=1e-3)
        draws = generator(seed, "noise")
        for batch in self._batches(images, seed, progress):
            noisy = batch + self.noise * torch.randn(batch.shape, generator=draws)
            loss = (batch - energy.rebuilt(noisy, True)).square().mean()
            descent.zero_grad()
            loss.backward()
            descent.step()
        self._energy = energy.requires_grad_(False)

    def _score(self, image: Tensor) -> float:
        rebuilt = fitted(self._energy, self).rebuilt(image, False)
        return float((image - rebuilt).square().mean())


class Energy(nn.Module):
    """E: images (B, 3, S, S) to energies (B,)."""

    def __init__(self, centre: Tensor, width: int, hidden: int) -> None:
        super().__init__()
        self.centre = nn.Parameter(centre.clone())
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(3, width, 5, 2, 2), nn.Conv2d(width, 2 * width, 5, 2, 2)]
        )
        self.last = nn.Linear(2 * width * (centre.shape[-1] // 4) ** 2, hidden)

    def forward(self, images: Tensor) -> Tensor:
        """Return the energy of each image."""
        hidden = images
        for convolution in self.convolutions:
            hidden = F.softplus(convolution(hidden))
        hidden = F.softplus(self.last(hidden.flatten(1)))
        return 0.5 * (images - self.centre).square().sum(dim=(1, 2, 3)) - hidden.sum(dim=1)

    def rebuilt(self, images: Tensor, to_train: bool) -> Tensor:
        """Return f(x) = x - dE/dx, itself with a gradient when it is ``to_train``."""
        with torch.enable_grad():
            shown = images.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self(shown).sum(), shown, create_graph=to_train)
        return images - slope
