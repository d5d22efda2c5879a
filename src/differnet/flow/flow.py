"""The normalizing flow z = f_NF(y) of section 3.1: permutations and affine coupling blocks.

Each part maps a batch and returns ``(output, log_det)`` from one call and remembers nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from differnet.config.settled import SettledFlow
from differnet.errors import ConfigError, ShapeError


def soft_clamp(h: Tensor, clamp: float) -> Tensor:
    """Bound the log-scale smoothly, eq. 2: sigma_a(h) = (2a / pi) arctan(h / a), within (-a, a)."""
    return (2 * clamp / math.pi) * torch.atan(h / clamp)


class Permutation(nn.Module):
    """A fixed random permutation of the features; its log-determinant is 0.

    ``order`` and its inverse are buffers, so they travel with the state dict.
    """

    order: Tensor
    inverse_order: Tensor

    def __init__(self, features: int, generator: torch.Generator) -> None:
        super().__init__()
        order = torch.randperm(features, generator=generator)
        self.register_buffer("order", order)
        self.register_buffer("inverse_order", torch.argsort(order))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reorder (B, D)."""
        return x.index_select(1, self.order), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Undo :meth:`forward`."""
        return z.index_select(1, self.inverse_order), z.new_zeros(len(z))

    @property
    def is_valid(self) -> bool:
        """Whether every feature has one place, and the inverse undoes it: a file may have other numbers."""
        positions = torch.arange(len(self.order))
        return torch.equal(self.order.sort().values, positions) and torch.equal(
            self.order[self.inverse_order], positions
        )


class Whitening(nn.Module):
    """u = (y - mean) W with a fixed upper triangular W; the log-determinant is the sum of log |W_ii|.

    It is the identity until :meth:`set` is called.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("matrix", torch.eye(features))

    def set(self, mean: Tensor, matrix: Tensor) -> None:
        """Take ``mean`` (D,) and ``matrix`` (D, D), upper triangular with a diagonal above 0."""
        self.mean.copy_(mean)
        self.matrix.copy_(matrix)

    @property
    def log_det(self) -> Tensor:
        """log |det W|, the same for every row."""
        return self.matrix.diagonal().log().sum()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Whiten (B, D)."""
        return (x - self.mean) @ self.matrix, self.log_det.expand(x.shape[0])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Undo :meth:`forward`."""
        y = torch.linalg.solve_triangular(self.matrix, z, upper=True, left=False)
        return y + self.mean, -self.log_det.expand(len(z))


class Subnet(nn.Module):
    """The fully connected network that gives log-scale s and shift t of one coupling.

    ``depth`` hidden layers of ``hidden`` units with ReLU; s passes the soft clamp, eq. 2.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, depth: int, clamp: float) -> None:
        super().__init__()
        widths = [inputs] + [hidden] * depth
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 2 * outputs))
        self.clamp = clamp

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clamped s and t, each (B, outputs)."""
        s, t = self.layers(x).chunk(2, dim=1)
        return soft_clamp(s, self.clamp), t


class CouplingBlock(nn.Module):
    """Two affine couplings, eq. 1, on the halves y1 (the first D // 2 features) and y2.

    y_out2 = y_in2 * exp(s1(y_in1)) + t1(y_in1);  y_out1 = y_in1 * exp(s2(y_out2)) + t2(y_out2).
    The log-determinant is the sum of the clamped s.
    """

    def __init__(self, features: int, hidden: int, depth: int, clamp: float) -> None:
        super().__init__()
        self.first = features // 2
        second = features - self.first
        self.subnet1 = Subnet(self.first, second, hidden, depth, clamp)
        self.subnet2 = Subnet(second, self.first, hidden, depth, clamp)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, D) to (B, D) and the log-determinant (B,)."""
        in1, in2 = x[:, : self.first], x[:, self.first :]
        s1, t1 = self.subnet1(in1)
        out2 = in2 * torch.exp(s1) + t1
        s2, t2 = self.subnet2(out2)
        out1 = in1 * torch.exp(s2) + t2
        return torch.cat((out1, out2), dim=1), s1.sum(dim=1) + s2.sum(dim=1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Undo :meth:`forward`; the log-determinant is that of the inverse."""
        out1, out2 = z[:, : self.first], z[:, self.first :]
        s2, t2 = self.subnet2(out2)
        in1 = (out1 - t2) * torch.exp(-s2)
        s1, t1 = self.subnet1(in1)
        in2 = (out2 - t1) * torch.exp(-s1)
        return torch.cat((in1, in2), dim=1), -(s1.sum(dim=1) + s2.sum(dim=1))


class Flow(nn.Module):
    """z = f_NF(y): ``blocks`` times a fixed permutation followed by a coupling block (section 3.1.1).

    ``features``: D, at least 2. The other defaults are the paper's. Permutations and initial weights
    come from ``seed`` alone. ``start="gaussian"`` puts a :class:`Whitening` first and lets the blocks begin as the
    identity (up to their permutations): with the Gaussian of the data, z begins with the identity as covariance.
    Without any block it is that Gaussian.
    ``forward`` maps (B, D) to z (B, D) and ``log |det dz/dy|`` (B,).

    ``flows``: n > 1 are n flows in one, behind the same whitening, with permutations and weights of their own: z is
    (B, n D), their latents side by side divided by the root of n, and the log-determinant their mean, so that score
    and likelihood of eq. 4 and 5 come out as the means over the flows. Such a z has no inverse.

    >>> flow = Flow(features=6, blocks=2, hidden=8, depth=1)
    >>> y = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    >>> z, log_det = flow(y)
    >>> back, negative_log_det = flow.inverse(z)
    >>> bool(torch.allclose(back, y, atol=1e-5)), bool(torch.allclose(log_det, -negative_log_det))
    (True, True)
    """

    def __init__(
        self,
        features: int,
        blocks: int = 8,
        hidden: int = 2048,
        depth: int = 3,
        clamp: float = 3.0,
        seed: int = 0,
        start: str = "random",
        flows: int = 1,
    ) -> None:
        super().__init__()
        fewest = 0 if start == "gaussian" else 1
        if features < 2 or blocks < fewest or flows < 1:
            found = f"{features}, {blocks} and {flows}"
            raise ConfigError(f"a flow needs features >= 2, blocks >= {fewest} and flows >= 1, not {found}")
        self.features = features
        self.clamp = clamp
        others = torch.randint(2**62, (flows - 1,), generator=torch.Generator().manual_seed(seed)).tolist()
        self.steps = _chain(features, blocks, hidden, depth, clamp, seed)
        self.others = nn.ModuleList(_chain(features, blocks, hidden, depth, clamp, one) for one in others)
        self.whitening = Whitening(features) if start == "gaussian" else None
        if self.whitening is not None:
            for chain in self.chains:
                for step in chain:
                    _start_as_identity(step)

    @property
    def count(self) -> int:
        """How many flows this is."""
        return 1 + len(self.others)

    @property
    def learns(self) -> bool:
        """Whether there is a block to train; without one a flow is a Gaussian."""
        return len(self.steps) > 0

    @property
    def chains(self) -> list[nn.ModuleList]:
        """The steps of every flow."""
        return cast(list[nn.ModuleList], [self.steps, *self.others])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, D) to latents z and ``log |det dz/dy|`` (B,); raises :class:`ShapeError` otherwise."""
        u, whitening = self.whiten(x)
        z, rest = self.transform(u)
        return z, whitening + rest

    def whiten(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first part of :meth:`forward`: what the blocks map, x itself without a Gaussian."""
        self._check(x)
        return (x, x.new_zeros(x.shape[0])) if self.whitening is None else self.whitening(x)

    def transform(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the second part of :meth:`forward`: the blocks."""
        found = [_through(u, list(chain), "forward") for chain in self.chains]
        if len(found) == 1:
            return found[0]
        latents, log_dets = zip(*found, strict=True)
        return torch.cat(latents, dim=1) / math.sqrt(len(found)), torch.stack(log_dets).mean(dim=0)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map latents (B, D) back to features, with the log-determinant of that direction.

        Raises :class:`ConfigError` for several flows in one, which share no inverse.
        """
        if self.others:
            raise ConfigError(f"{self.count} flows in one have no inverse; one flow has")
        self._check(z)
        u, log_det = _through(z, list(self.steps)[::-1], "inverse")
        if self.whitening is None:
            return u, log_det
        y, rest = self.whitening.inverse(u)
        return y, log_det + rest

    def _check(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != self.features:
            raise ShapeError(f"expected a batch (B, {self.features}), found shape {tuple(x.shape)}")

    def extra_repr(self) -> str:
        """Say the width and the number of parameters."""
        count = sum(parameter.numel() for parameter in self.parameters())
        several = f", flows={self.count}" if self.others else ""
        return f"features={self.features}, clamp={self.clamp:g}, parameters={count:,}{several}"


def _chain(features: int, blocks: int, hidden: int, depth: int, clamp: float, seed: int) -> nn.ModuleList:
    """Return ``blocks`` times a permutation and a coupling block."""
    orders, steps = torch.Generator().manual_seed(seed), nn.ModuleList()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for _ in range(blocks):
            steps.append(Permutation(features, orders))
            steps.append(CouplingBlock(features, hidden, depth, clamp))
    return steps


def _through(x: Tensor, steps: list[nn.Module], direction: str) -> tuple[Tensor, Tensor]:
    log_det = x.new_zeros(x.shape[0])
    for step in steps:
        x, part = getattr(step, direction)(x)
        log_det = log_det + part
    return x, log_det


def _start_as_identity(step: nn.Module) -> None:
    if isinstance(step, CouplingBlock):
        for subnet in (step.subnet1, step.subnet2):
            for parameter in subnet.layers[-1].parameters():
                nn.init.zeros_(parameter)


def parameter_count(features: int, shape: SettledFlow) -> int:
    """Return how many floating-point numbers a flow is made of, its whitening included, without building it.

    >>> shape = SettledFlow(blocks=2, hidden=5, depth=2, flows=3)
    >>> sum(p.numel() for p in Flow(7, 2, 5, 2, flows=3).parameters()) == parameter_count(7, shape)
    True
    """
    first = features // 2
    second = features - first
    blocks, hidden = shape.blocks, shape.hidden

    def subnet(inputs: int, outputs: int) -> int:
        widths = [inputs] + [hidden] * shape.depth + [2 * outputs]
        return sum((a + 1) * b for a, b in itertools.pairwise(widths))

    whitening = features * (features + 1) if shape.start == "gaussian" else 0
    return whitening + shape.flows * blocks * (subnet(first, second) + subnet(second, first))


def tensor_count(shape: SettledFlow) -> int:
    """Return how many tensors the state of a flow has, whatever its width, without building it.

    >>> shape = SettledFlow(blocks=2, hidden=5, depth=2, flows=3)
    >>> len(Flow(7, 2, 5, 2, flows=3).state_dict()) == tensor_count(shape)
    True
    """
    orders, layers = 2, shape.depth + 1
    whitening = 2 if shape.start == "gaussian" else 0
    return whitening + shape.flows * shape.blocks * (orders + 2 * 2 * layers)


def from_state(state: Mapping[str, Tensor], shape: SettledFlow, features: int) -> Flow:
    """Make a flow of what :meth:`Flow.state_dict` gave, for use alone.

    Raises :class:`ValueError` for numbers that no flow has, and :class:`RuntimeError` for tensors of other names or
    shapes.
    """
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise ValueError("NaN or infinite numbers")
    flow = Flow(features, **shape.arguments)
    flow.load_state_dict(state)
    for step in itertools.chain(*flow.chains):
        if isinstance(step, Permutation) and not step.is_valid:
            raise ValueError("a permutation of the flow is none")
    if flow.whitening is not None and not bool((flow.whitening.matrix.diagonal() > 0).all()):
        raise ValueError("the whitening of the flow cannot be undone")
    return flow.eval().requires_grad_(False)
