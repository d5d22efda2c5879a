"""Where a flow's batches of features come from: a bank that is kept, or views drawn afresh."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from differnet.config.settled import SettledTraining
from differnet.data.stream import Progress, name_of, silent
from differnet.features.describer import Describer
from differnet.features.look import Shown
from differnet.features.mapped import BLOCK, letting_go
from differnet.features.seeds import generator
from differnet.features.views import random_views

_TOGETHER = 16 * 2**20  # bytes of whole rows that are copied to take a few columns of them


class FreshViews:
    """A source of batches that draws new views of every image in every epoch, as the paper trains.

    A batch holds ``views_per_step`` views of each of ``batch / views_per_step`` images; an epoch shows each
    image ``train_views`` times.
    """

    def __init__(
        self,
        describer: Describer,
        images: Sequence[Shown],
        settings: SettledTraining,
        seed: int,
        progress: Progress = silent,
        read: Callable[[Tensor], Tensor] = lambda rows: rows,
    ) -> None:
        self.describer = describer
        self.images = images
        self.seed = seed
        self.read = read
        self.progress = progress
        self.together = min(settings.views_per_step, describer.views.train_views)
        self.images_a_batch = max(1, settings.batch // self.together)
        self.rounds = math.ceil(describer.views.train_views / self.together)

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.rounds * math.ceil(len(self.images) / self.images_a_batch)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Yield the batches (B, D) of one epoch."""
        step = 0
        for turn in range(self.rounds):
            draws = generator(self.seed, "fresh views", epoch, turn)
            order = torch.randperm(len(self.images), generator=draws)
            count = min(self.together, self.describer.views.train_views - turn * self.together)
            for chosen in order.split(self.images_a_batch):
                batch = self.read(torch.cat([self._describe(int(index), count, draws) for index in chosen]))
                step += 1
                self.progress(f"epoch {epoch + 1}", step, self.steps)
                yield batch

    def sample(self, most: int) -> Tensor:
        """Return the rows of the first epoch's first batches, ``most`` or a few more."""
        found: list[Tensor] = []
        for batch in self.batches(0):
            found.append(batch)
            if sum(map(len, found)) >= most:
                break
        return torch.cat(found)

    def _describe(self, index: int, count: int, draws: torch.Generator) -> Tensor:
        views = random_views(count, self.describer.views, draws)
        image = self.images[index]
        return self.describer.features(self.describer.square(image), views, name_of(image))


class Batches(Protocol):
    """What a flow is trained on."""

    @property
    def steps(self) -> int:
        """Batches in an epoch."""

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Yield the batches (B, D) of one epoch, the same ones whenever the epoch is asked for."""


class Source(Batches, Protocol):
    """Where batches come from: a cached bank, fresh views, or toys."""

    def sample(self, most: int) -> Tensor:
        """Return about ``most`` of the rows (B, D), or all: what a Gaussian is fitted to."""


class Shuffled(ABC):
    """What is the same whenever rows are at hand: they are shuffled anew each epoch by the seed.

    ``rows`` (M, W) are learned from, or some ``only``, by their positions (K,), which takes no copy of them.
    ``places``: how many things each of them is; ``batch``: how many of these are drawn at a time. ``size``: bytes
    that are mapped to read one of these, where the rows are in a file.
    """

    def __init__(
        self, rows: Tensor, batch: int, seed: int, only: Tensor | None, size: int, places: int = 1
    ) -> None:
        self.rows = rows
        self.only = torch.arange(len(rows)) if only is None else only
        self.count = len(self.only) * places
        self.batch = batch
        self.seed = seed
        self.size = size

    @property
    def steps(self) -> int:
        """Batches in an epoch, the last one may be smaller."""
        return math.ceil(self.count / self.batch)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Return every row once, in an order that depends on seed and epoch alone."""
        return self._taken(self._order("epoch", epoch))

    def _taken(self, order: Tensor) -> Iterator[Tensor]:
        return letting_go(map(self._take, order.split(self.batch)), self.batch * self.size)

    def _order(self, purpose: str, *numbers: int) -> Tensor:
        return torch.randperm(self.count, generator=generator(self.seed, purpose, *numbers))

    @abstractmethod
    def _take(self, chosen: Tensor) -> Tensor:
        """Return what is learned of the things at these positions."""


class Bank(Shuffled):
    """A fixed set of feature rows (M, W), or ``only`` some of them.

    ``read`` takes what the flow maps from each batch of them.
    """

    def __init__(
        self,
        rows: Tensor,
        batch: int,
        seed: int,
        read: Callable[[Tensor], Tensor] = lambda rows: rows,
        only: Tensor | None = None,
    ) -> None:
        super().__init__(rows, batch, seed, only, rows[:1].nbytes + BLOCK)
        self.read = read

    def sample(self, most: int) -> Tensor:
        """Return what is read from so many random rows that it comes to about ``most``."""
        first = self.read(self.rows[:1])
        each = len(first)
        chosen = self._order("sample")[: max(1, most // each)].sort().values
        found = first.new_empty(each * len(chosen), first.shape[1])  # parts put together would be there twice
        start, together = 0, max(1, _TOGETHER // self.rows[:1].nbytes)
        for part in letting_go(map(self._take, chosen.split(together))):
            found[start : start + len(part)] = part
            start += len(part)
        return found

    def _take(self, chosen: Tensor) -> Tensor:
        return self.read(self.rows[self.only[chosen]])


class Parts(Shuffled):
    """A fixed set of feature rows (M, W), or ``only`` some, of which each part is a row to learn: P of each.

    ``columns`` (P, D): where each part stands in a row. ``batch`` counts parts.
    """

    def __init__(
        self, rows: Tensor, columns: Tensor, batch: int, seed: int, only: Tensor | None = None
    ) -> None:
        super().__init__(rows, batch, seed, only, BLOCK * _count_blocks(columns), len(columns))
        self.columns = columns

    def sample(self, most: int) -> Tensor:
        """Return ``most`` random parts, or all."""
        chosen = self._order("sample")[:most].sort().values
        return torch.cat(list(self._taken(chosen)))

    def _take(self, chosen: Tensor) -> Tensor:
        places = len(self.columns)
        return self.rows[self.only[chosen // places][:, None], self.columns[chosen % places]]


def _count_blocks(columns: Tensor) -> int:
    """Return on about how many blocks of a row of 32-bit floats the columns (P, D) of a part lie."""
    return max(len(one.unique()) for one in 4 * columns // BLOCK)
