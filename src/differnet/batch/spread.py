"""Where evaluations, cells and fits are computed: one after the other here, or as tasks of a Ray cluster.

The same functions do the work either way. On a cluster every machine must see the data, and the folder that is written
to, under the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from differnet.batch.executor import Crew
from differnet.config import presets
from differnet.data.datasets import Dataset
from differnet.data.stream import Progress, silent
from differnet.evaluation.evaluate import Evaluation, Run, evaluate
from differnet.evaluation.paper import cells
from differnet.evaluation.paper.cells import Cell, Lab
from differnet.evaluation.paper.plan import Plan
from differnet.evaluation.paper.report import Report, Study
from differnet.evaluation.plots import Gallery, Panel
from differnet.evaluation.results import panel_title

Panels = dict[str, list[Panel]]
Bars = Callable[[], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Asked:
    """How data sets are evaluated; see :func:`differnet.evaluation.evaluate.evaluate`."""

    settings: presets.Config
    seeds: Sequence[int]
    shots: int | None
    weights: str | None
    device: str
    maps: bool


def evaluations(
    crew: Crew, tables: Sequence[Dataset], asked: Asked, on_run: Callable[[Run], None], bars: Bars
) -> Iterator[tuple[Evaluation, Panels]]:
    """Yield the evaluation of every data set, in order, with the pictures of its first seed; ``bars`` show progress."""
    if crew.ray is None:
        for data in tables:
            with bars() as progress:
                evaluated = _evaluated(data, asked, asked.seeds, progress, on_run)
            yield evaluated
        return
    jobs = [(data, asked, seed) for data in tables for seed in asked.seeds]
    found: dict[int, tuple[Run, Panels]] = {}
    with bars() as progress:
        for index, result in crew.each(_one_seed, jobs):
            if isinstance(result, Exception):
                raise result
            found[index] = result
            on_run(result[0])
            progress("evaluating", len(found), len(jobs))
    count = len(asked.seeds)
    for place, data in enumerate(tables):
        some = [found[index] for index in range(place * count, (place + 1) * count)]
        yield Evaluation(data, asked.settings, asked.shots, tuple(run for run, _ in some)), some[0][1]


def _one_seed(job: tuple[Dataset, Asked, int]) -> tuple[Run, Panels]:
    data, asked, seed = job
    result, panels = _evaluated(data, asked, [seed], silent, lambda run: None)
    return result.runs[0], panels if seed == asked.seeds[0] else {}


def _evaluated(
    data: Dataset, asked: Asked, seeds: Sequence[int], progress: Any, on_run: Callable[[Run], None]
) -> tuple[Evaluation, Panels]:
    gallery = Gallery(panel_title)
    result = evaluate(
        data, asked.settings, seeds, asked.shots, weights=asked.weights, device=asked.device, maps=asked.maps,
        progress=progress, on_map=gallery.on_map, on_run=on_run,
    )  # fmt: skip
    return result, gallery.panels


def made(crew: Crew, make: Callable[[Study], Report], study: Study, lab: Lab) -> Report:
    """Return the report of ``make``; a cluster first computes its cells, which are kept in the folder of ``lab``.

    Alone, cells are computed when their turn comes. A cell that could not be computed raises its error once the others
    are there.
    """
    if crew.ray is not None:
        _compute(crew, make, study, lab)
    return make(study)


def _compute(crew: Crew, make: Callable[[Study], Report], study: Study, lab: Lab) -> None:
    jobs = [(lab.folder, lab.weights, lab.device, plan) for plan in plans_of(make, study)]
    errors = []
    for done, (_, result) in enumerate(crew.each(_one_cell, jobs), 1):
        if isinstance(result, Exception):
            errors.append(result)
        lab.progress("computing cells", done, len(jobs))
    if errors:
        raise errors[0]


def plans_of(make: Callable[[Study], Report], study: Study) -> list[Plan]:
    """Return the plans of all cells that ``make`` asks for, each once, by having it make a report of nothing."""
    found: dict[Plan, None] = {}

    def note(plan: Plan) -> Cell:
        found[plan] = None
        return _blank(plan)

    make(replace(study, run=note))
    return list(found)


def _one_cell(job: tuple[Path, str | None, str, Plan]) -> None:
    folder, weights, device, plan = job
    Lab(folder, weights, device, silent, lambda cell, was_kept: None).run(plan)


def _blank(plan: Plan) -> Cell:
    """Return a cell of the right shape in which nothing was measured."""
    cells.check_kinds(plan.dataset)
    tests = plan.dataset.test
    scores = np.arange(len(tests), dtype=np.float64)
    return Cell(
        dataset=plan.dataset.name, seed=plan.seed, shots=plan.shots,
        n_train=plan.shots or len(plan.dataset.train), defects=tuple(sample.defect for sample in tests),
        scores=scores, by_views=dict.fromkeys(plan.view_counts, scores), looks=(), pixel_auroc=None,
        pixel_aupro=None, fit_seconds=0.0, score_seconds_per_image=0.0, choice=None, backbone="", precision="",
    )  # fmt: skip
