"""How far the most anomalous part is from the nearest good one, in the latent space of its flow.

The latent norm (eq. 5) measures from the centre of all parts. Good parts of several kinds, and single odd ones, lie
apart from it, and a flow that learned from few images does not bring them all there. So latents of good parts are
kept, and with c the nearest of them a part z of D features is

    (||z - c||^2 + D) / 2

from it. D is what unit noise adds, as flows of parts learn with: it keeps copies of kept parts from having no distance
at all. Distances to patches that are kept, chosen so that none is far from a chosen one, are those of PatchCore (Roth
et al., Towards total recall in industrial anomaly detection, CVPR 2022), there among the features themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from differnet.features.seeds import generator
from differnet.flow.flow import Flow
from differnet.flow.score import latent_norm

_DIRECTIONS = 64  # random ones, in which distances between good parts are measured
_TOGETHER = 4096  # parts that go through a flow at a time


class Neighbours(nn.Module):
    """The latents of good parts (M, D) that are kept, rounded to 16 bits, which is what a model file has of them."""

    kept: Tensor
    halves: Tensor

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        rounded = kept.half().float()
        self.register_buffer("kept", rounded)
        self.register_buffer("halves", latent_norm(rounded))

    def forward(self, z: Tensor, norms: Tensor) -> Tensor:
        """Return how far the part of the largest norm is from the nearest good one (B,), of P parts each.

        ``z`` (B * P, D): the latents of the parts; ``norms`` (B, P): of these.
        """
        count, width = norms.shape[1], z.shape[1]
        largest = norms.argmax(dim=1).view(-1, 1, 1).expand(-1, 1, width)
        part = z.reshape(-1, count, width).gather(1, largest)[:, 0]
        apart = latent_norm(part) + (self.halves - part @ self.kept.T).amin(dim=1)
        return apart.clamp_min(0) + 0.5 * width


@torch.no_grad()
def fit(flow: Flow, rows: Tensor, most: int, seed: int) -> Neighbours:
    """Keep the latents of ``most`` good parts of ``rows`` (N, D), so that none is far from a kept one, or of all."""
    latents = torch.cat([flow(some)[0] for some in rows.split(_TOGETHER)])
    return Neighbours(latents[spread(latents, most, seed)])


def spread(points: Tensor, most: int, seed: int) -> Tensor:
    """Return the positions of ``most`` of the ``points`` (N, D), or of all, in ascending order.

    Each is the one that is farthest from those before it, from the one nearest to 0 on: Gonzalez, Clustering to
    minimize the maximum intercluster distance, Theoretical Computer Science 38, 1985. Distances are those in 64 random
    directions.
    """
    if len(points) <= most:
        return torch.arange(len(points))
    directions = torch.randn(points.shape[1], _DIRECTIONS, generator=generator(seed, "directions"))
    shown = points @ directions.to(points)
    halves = latent_norm(shown)
    apart = torch.full_like(halves, torch.inf)
    chosen = [int(latent_norm(points).argmin())]
    while len(chosen) < most:
        last = shown[chosen[-1]]
        apart = torch.minimum(apart, halves - shown @ last + halves[chosen[-1]])
        apart[chosen[-1]] = -torch.inf
        chosen.append(int(apart.argmax()))
    return torch.tensor(sorted(chosen))


def from_tensor(kept: Tensor, features: int, most: int) -> Neighbours:
    """Make them of what a model file has: at most so many (M, D) in 16 bits; raises :class:`ValueError` for others."""
    if kept.ndim != 2 or kept.shape[1] != features or not 0 < len(kept) <= most:
        raise ValueError(f"neighbours {tuple(kept.shape)}, at most {most} of {features} features wanted")
    if kept.dtype != torch.float16 or not bool(torch.isfinite(kept).all()):
        raise ValueError("neighbours that are no finite numbers of 16 bits")
    return Neighbours(kept)
