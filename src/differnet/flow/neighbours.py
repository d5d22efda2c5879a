"""How far the most anomalous parts are from the nearest good one, in the latent space of their flow.

The latent norm (eq. 5) measures from the centre of all parts. Good parts of several kinds, and single odd ones, lie
apart from it, and a flow that learned from few images does not bring them all there. So latents of good parts are
kept, and with c the nearest of them a part z of D features is

    (||z - c||^2 + D) / 2

from it. D is what noise of deviation 1 in both would add; it keeps copies of kept parts from having no distance at all.
The distances of the few parts of the largest norms count as their norms say: with weights in proportion to 1 / p_Z(z),
so that the most anomalous part nearly always counts alone, and of two that are as anomalous both do.

Distances to patches that are kept, chosen so that none is far from a chosen one, are those of PatchCore (Roth et al.,
Towards total recall in industrial anomaly detection, CVPR 2022), there among the features themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from differnet.errors import NumericalError
from differnet.features.seeds import generator
from differnet.flow.flow import Flow
from differnet.flow.score import latent_norm

FEW = 4  # parts that are compared; the weight of a fifth is next to nothing
_LARGEST = 65_504.0  # in 16 bits
_DIRECTIONS = 64  # random ones, in which distances between good parts are measured
_REACH = 60.0  # shares below exp(-60) of the largest add nothing to a float, and are left out
_TOGETHER = 4096  # parts that go through a flow at a time


class Neighbours(nn.Module):
    """The latents of good parts (M, D) that are kept, rounded to 16 bits, which is what a model file has of them.

    ``flows``: of how many flows the latents stand side by side (:class:`differnet.flow.flow.Flow`).
    """

    kept: Tensor
    halves: Tensor

    def __init__(self, kept: Tensor, flows: int = 1) -> None:
        super().__init__()
        rounded = kept.clamp(-_LARGEST, _LARGEST).half().float()
        self.noise = 0.5 * kept.shape[1] / flows
        self.register_buffer("kept", rounded)
        self.register_buffer("halves", latent_norm(rounded))

    def forward(self, z: Tensor, norms: Tensor) -> Tensor:
        """Return how far the most anomalous of P parts are from the nearest good one (B,).

        ``z`` (B * P, D): the latents of the parts; ``norms`` (B, P): of these.
        """
        count, width = norms.shape[1], z.shape[1]
        largest = norms.topk(min(FEW, count), dim=1)
        few = z.reshape(-1, count, width).gather(1, largest.indices.unsqueeze(2).expand(-1, -1, width))
        nearest = self.kept[self._closeness(few).argmax(dim=2)]
        apart = latent_norm(few - nearest)  # norms taken from each other would leave their rounding
        weights = torch.softmax(largest.values, dim=1)
        return (weights * apart).sum(dim=1) + self.noise

    def soft_distances(self, z: Tensor) -> Tensor:
        """Return the soft minimum of ||z - c||^2 / 2 over the kept parts c, of every latent (B, D): (B,).

        It is what heat maps share out: where two kept parts are as near, the smallest would have a kink.
        """
        return latent_norm(z) - torch.logsumexp(self._closeness_within_reach(z), dim=1)

    def slopes(self, z: Tensor) -> Tensor:
        """Return how :meth:`soft_distances` rise with z: (B, D), from the mean of the nearest kept parts to it."""
        weights = torch.softmax(self._closeness_within_reach(z), dim=1)
        return z - (self.kept.T @ weights.T).T  # so graphs have the table in one way, that of the score

    def _closeness_within_reach(self, z: Tensor) -> Tensor:
        """Return :meth:`_closeness`, (B, M), without a slope far from the largest.

        Shares there are near the smallest floats, with which a processor takes ten times as long to multiply.
        """
        closeness = self._closeness(z)
        return torch.maximum(closeness, closeness.detach().amax(dim=1, keepdim=True) - _REACH)

    def _closeness(self, z: Tensor) -> Tensor:
        """Return ||z||^2 / 2 - ||z - c||^2 / 2 of latents (..., D) and all M kept parts c: (..., M)."""
        return torch.nn.functional.linear(z, self.kept) - self.halves


@torch.no_grad()
def fit(flow: Flow, rows: Tensor, most: int, seed: int) -> Neighbours:
    """Keep the latents of ``most`` good parts of ``rows`` (N, D), so that none is far from a kept one, or of all.

    Raises :class:`NumericalError` where one is not finite.
    """
    latents = torch.cat([flow(some)[0] for some in rows.split(_TOGETHER)])
    if not bool(torch.isfinite(latents).all()):
        raise NumericalError("the flow gave no finite latent of a good part; lower learning_rate or clamp")
    return Neighbours(latents[spread(latents, most, seed)], len(flow.chains))


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


def from_tensor(kept: Tensor, flow: Flow, most: int) -> Neighbours:
    """Make them of what a model file has: the latents by ``flow`` of ``most`` good parts, or less, in 16 bits.

    Raises :class:`ValueError` for others.
    """
    flows, features = len(flow.chains), flow.features
    if kept.ndim != 2 or kept.shape[1] != flows * features or not 0 < len(kept) <= most:
        raise ValueError(
            f"neighbours {tuple(kept.shape)}, at most {most} of {flows} x {features} numbers wanted"
        )
    if kept.dtype != torch.float16 or not bool(torch.isfinite(kept).all()):
        raise ValueError("neighbours that are no finite numbers of 16 bits")
    return Neighbours(kept, flows)
