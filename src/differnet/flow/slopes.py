"""How the score of a view rises with its features, by forward operations alone, so that a graph can compute it.

With L = ||z||^2 / 2 (eq. 5 before the mean) and z = f_NF(y), dL/dz = z is carried back through the flow part by part:
a permutation takes it back to the old order; an affine coupling (eq. 1) gives, for the slopes g1 and g2 at its outputs,

    at s2: g1 y_in1 exp(s2),  at t2: g1,  at y_out2: g2 plus what the second network carries back of these,
    at s1: y_out2's slope times y_in2 exp(s1), at t1: y_out2's slope,  at y_in1: g1 exp(s2) plus what the first carries
    back,  at y_in2: y_out2's slope times exp(s1);

a fully connected layer multiplies by its weights, ReLU lets pass where it was above 0, and the soft clamp (eq. 2) has
the derivative (2 / pi) / (1 + (h / a)^2). For a flow whose couplings are the identity, as it starts, what is left is
W W^T (y - mean).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from differnet.flow import score
from differnet.flow.flow import CouplingBlock, Flow, Permutation, Subnet
from differnet.flow.neighbours import Neighbours


class Slope(NamedTuple):
    """``norms`` (B,): L of every row; ``slopes`` (B, D): dL/dy."""

    norms: Tensor
    slopes: Tensor


def is_linear(flow: Flow) -> bool:
    """Whether every coupling is the identity, as in a flow that starts as a Gaussian and was not trained."""
    blocks = [step for chain in flow.chains for step in chain if isinstance(step, CouplingBlock)]
    lasts = [net.layers[-1] for block in blocks for net in (block.subnet1, block.subnet2)]
    return all(not parameter.any() for last in lasts for parameter in last.parameters())


class LatentNorm(nn.Module):
    """L of features, and its slope; couplings that are the identity are left out, since permutations change no norm.

    ``whole``: nothing is left out, so that latents are in the order that the flow gives them in.
    """

    def __init__(self, flow: Flow, whole: bool = False) -> None:
        super().__init__()
        self.whitening = flow.whitening
        short = is_linear(flow) and not whole
        self.chains = nn.ModuleList([nn.ModuleList()] if short else flow.chains)

    def forward(self, y: Tensor) -> Tensor:
        """Map features (B, D) to L (B,), the mean over flows."""
        return score.latent_norm(self.latents(y))

    def latents(self, y: Tensor) -> Tensor:
        """Map features (B, D) to the latents z of all flows, put together as :class:`Flow` does."""
        u = self._whiten(y)
        return self._joined([_path(list(chain.children()), u)[-1] for chain in self.chains])

    def rise(self, y: Tensor, near: Neighbours | None = None) -> Slope:
        """Return L (B,) of features (B, D) with its slope (B, D).

        ``near``: the good parts that are kept, whose :meth:`~differnet.flow.neighbours.Neighbours.soft_distances` are
        added to L before the slope is taken.
        """
        u = self._whiten(y)
        paths = [_path(list(chain.children()), u) for chain in self.chains]
        z = self._joined([path[-1] for path in paths])
        at_z = z if near is None else z + near.slopes(z)
        parts = [
            _back(list(chain.children()), path, at_end)
            for chain, path, at_end in zip(self.chains, paths, at_z.chunk(len(paths), dim=1), strict=True)
        ]
        slope = parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0) / math.sqrt(len(parts))
        if self.whitening is not None:
            slope = slope @ self.whitening.matrix.T
        return Slope(score.latent_norm(z), slope)

    def _whiten(self, y: Tensor) -> Tensor:
        return y if self.whitening is None else self.whitening(y)[0]

    @staticmethod
    def _joined(latents: list[Tensor]) -> Tensor:
        return latents[0] if len(latents) == 1 else torch.cat(latents, dim=1) / math.sqrt(len(latents))


def _path(steps: list[nn.Module], u: Tensor) -> list[Tensor]:
    """Return whitened features (B, D) and what they become after every step of a flow, the latents last."""
    path = [u]
    for step in steps:
        path.append(step(path[-1])[0])
    return path


def _back(steps: list[nn.Module], path: list[Tensor], slope: Tensor) -> Tensor:
    """Carry slopes (B, D) at the latents back to whitened features, along the path that these took."""
    for step, came in zip(reversed(steps), reversed(path[:-1]), strict=True):
        if isinstance(step, Permutation):
            slope = slope[:, step.inverse_order]
        elif isinstance(step, CouplingBlock):
            slope = _through_coupling(step, came, slope)
    return slope


def _through_coupling(block: CouplingBlock, x: Tensor, slope: Tensor) -> Tensor:
    in1, in2 = x[:, : block.first], x[:, block.first :]
    g1, g2 = slope[:, : block.first], slope[:, block.first :]
    s1, t1 = block.subnet1(in1)
    grown1 = in2 * torch.exp(s1)
    out2 = grown1 + t1
    s2, _ = block.subnet2(out2)
    grow2 = torch.exp(s2)
    at_out2 = g2 + _through_subnet(block.subnet2, out2, g1 * in1 * grow2, g1)
    at_in1 = g1 * grow2 + _through_subnet(block.subnet1, in1, at_out2 * grown1, at_out2)
    return torch.cat((at_in1, at_out2 * torch.exp(s1)), dim=1)


def _through_subnet(net: Subnet, x: Tensor, at_s: Tensor, at_t: Tensor) -> Tensor:
    """Carry slopes at s and t back to the input of their network, at ``x``."""
    layers = list(net.layers)
    passed = []
    for layer in layers:
        x = layer(x)
        passed.append(x)
    h, _ = x.chunk(2, dim=1)
    slope = torch.cat((at_s * (2 / math.pi) / (1 + (h / net.clamp).square()), at_t), dim=1)
    for layer, came in zip(reversed(layers), reversed(passed), strict=True):
        if isinstance(layer, nn.Linear):
            slope = slope @ layer.weight
        else:  # written as a product with (came > 0), OpenVINO 2026.4 crashes when it compiles the graph
            slope = torch.where(came > 0, slope, torch.zeros_like(slope))
    return slope
