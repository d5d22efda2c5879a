"""What a table or figure is asked for with and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from differnet.config import presets
from differnet.data.datasets import Dataset
from differnet.errors import LayoutError
from differnet.evaluation.metrics import mean, spread
from differnet.evaluation.paper.cells import Cell
from differnet.evaluation.paper.plan import Plan

Value = str | int | float | None

BEST = "best epoch on the test images, % (chosen by them: not a result)"
FEW = 16  # images, as in the paper
OWN, SPREAD, PUBLISHED = "own AUROC, %", "standard deviation", "published, %"


@dataclass(frozen=True)
class Table:
    """Rows of values under columns; AUROC and rates in %."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Report:
    """What a target comes to: a table, the cells behind it, what must be said, and what draws the picture."""

    title: str
    table: Table
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()
    draw: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class Study:
    """What is asked for: data, settings, seeds, few images, and how a cell is had.

    ``shots``: how many training images each seed draws, nothing for all of them (and for ``FEW`` where a table has
    both all and few).
    """

    datasets: tuple[Dataset, ...]
    settings: presets.Config
    seeds: Sequence[int]
    shots: int | None
    counts: tuple[int, ...]
    run: Callable[[Plan], Cell]

    @property
    def few(self) -> int:
        """How many images the few are in a table that has all and few."""
        return self.shots or FEW

    @property
    def drawn(self) -> tuple[str, ...]:
        """What must be said where not all training images were fitted to."""
        note = f"Fitted to {self.shots} training images, drawn by each seed (all, where there are fewer)."
        return (note,) if self.shots else ()

    @property
    def dataset(self) -> Dataset:
        """The data set; raises :class:`LayoutError` where there are several."""
        if len(self.datasets) > 1:
            names = ", ".join(dataset.name for dataset in self.datasets)
            raise LayoutError(f"one category was wanted, found {names}: name one with --category")
        return self.datasets[0]

    def cells(
        self,
        dataset: Dataset,
        shots: int | None = None,
        settings: presets.Config | None = None,
        maps: bool = False,
        view_counts: tuple[int, ...] = (),
        seeds: Sequence[int] | None = None,
    ) -> list[Cell]:
        """Return the cells of all seeds or of ``seeds``; ``shots`` of as many images as there are, or more, are all."""
        few = None if shots is None or shots >= len(dataset.train) else shots
        chosen = settings or self.settings
        return [self.run(Plan(dataset, chosen, seed, few, maps, view_counts)) for seed in seeds or self.seeds]


def own(cells: Sequence[Cell]) -> tuple[float | None, float | None]:
    """Return mean and spread of the AUROC over seeds, in %."""
    values = [100 * cell.auroc for cell in cells]
    return mean(values), spread(values)


def best(cells: Sequence[Cell]) -> float | None:
    """Return the mean over seeds of the best epoch on the test images, in %."""
    return mean(100 * cell.best_auroc for cell in cells)


def over(categories: Sequence[Sequence[Cell]]) -> tuple[float | None, float | None]:
    """Return mean and spread over seeds of the means over categories, in %."""
    means = [100 * float(np.mean([cell.auroc for cell in seed])) for seed in zip(*categories, strict=True)]
    return mean(means), spread(means)


@dataclass(frozen=True)
class Target:
    """How a table or figure is made, from which preset where nobody names one, with which settings changed.

    ``takes_shots``, ``takes_counts``: whether a number of training images, or several of them, can be asked for.
    """

    make: Callable[[Study], Report]
    about: str
    preset: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    takes_shots: bool = True
    takes_counts: bool = False
