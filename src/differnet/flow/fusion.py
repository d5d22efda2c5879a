"""Several flows on one row of features, each with a reading of its own (:mod:`differnet.decision.fusion`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from differnet.errors import ConfigError
from differnet.features.pooling import RowReading
from differnet.flow import score
from differnet.flow.flow import Flow
from differnet.flow.neighbours import Neighbours

Reads: TypeAlias = Callable[[Tensor], Tensor]  # features (V, W) to readings (T, V, R), as Fusion.forward
_WHOLE = 0.3  # of what parts at the smallest size count in a map (docs/decisions.md)


class Fusion(nn.Module):
    """Flows, and of each how it reads a row of features: (B, W) to what every flow says of every view.

    ``reads``: as many as ``flows``; all are of rows of the same width. ``neighbours``: by the number of a flow of
    parts, the good ones that are kept of it.
    """

    def __init__(
        self,
        flows: Sequence[Flow],
        reads: Sequence[RowReading],
        neighbours: Mapping[int, Neighbours] | None = None,
    ) -> None:
        super().__init__()
        self.flows = nn.ModuleList(flows)
        self.reads = tuple(reads)
        self.kept = nn.ModuleDict({str(number): kept for number, kept in (neighbours or {}).items()})

    @property
    def parts(self) -> list[tuple[Flow, RowReading]]:
        """Each flow with what it reads."""
        flows = [flow for flow in self.flows if isinstance(flow, Flow)]
        return list(zip(flows, self.reads, strict=True))

    @property
    def neighbours(self) -> dict[int, Neighbours]:
        """The good parts that are kept, by the number of their flow."""
        return {int(number): kept for number, kept in self.kept.items() if isinstance(kept, Neighbours)}

    @property
    def near(self) -> list[Neighbours | None]:
        """The good parts that are kept of each flow, nothing where none are."""
        neighbours = self.neighbours
        return [neighbours.get(number) for number in range(len(self.reads))]

    @property
    def of_tile(self) -> Fusion:
        """The same flows on the part of a row that stands for one tile."""
        flows = [flow for flow, _ in self.parts]
        return Fusion(flows, [read.of_tile for read in self.reads], self.neighbours)

    def shares(self, sizes: Sequence[int]) -> list[float]:
        """Return how much each flow counts in a heat map; 1 for a single one.

        Of several, the unit is one feature, so that none is louder for having more. Parts at a larger one of the
        ``sizes`` know better where, and the whole image knows least.
        """
        if len(self.reads) == 1:
            return [1.0]
        loud = [_WHOLE, *(size / sizes[-1] for size in sizes)]
        return [one / read.features for one, read in zip(loud, self.reads, strict=True)]

    def means(self) -> Tensor:
        """Return a row (W,) with the mean of good images in every column that some flow reads, and 0 elsewhere.

        Raises :class:`ConfigError` for a flow that knows no mean.
        """
        rows = []
        for flow, read in self.parts:
            if flow.whitening is None:
                raise ConfigError(
                    "gradient = 'features' needs a flow that starts as a Gaussian; take 'pixels'"
                )
            rows.append(read.in_row(flow.whitening.mean))
        return torch.stack(rows).sum(dim=0)

    def forward(self, features: Tensor) -> Tensor:
        """Return the readings of each tile of each view: (B, W) to (T, B, R).

        First the norm by each flow, in 64 bits, then the distances to neighbours.
        """
        norms, distances = [], []
        for (flow, read), near in zip(self.parts, self.near, strict=True):
            z = flow(read.rows(features))[0]
            found = score.latent_norm(z.cpu().double())
            norms.append(read.of_tiles(found))
            if near is not None:
                by_tile = found.view(len(features) * read.tiles, -1).to(z)
                apart = near(z, by_tile)
                distances.append(apart.cpu().double().view(-1, read.tiles))
        return torch.stack(norms + distances, dim=2).transpose(0, 1)
