"""The tables of the paper: which cells each is made of, and what stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from differnet.config import presets
from differnet.data.datasets import Dataset
from differnet.errors import LayoutError
from differnet.evaluation.metrics import auroc, mean, spread
from differnet.evaluation.paper import published
from differnet.evaluation.paper.cells import Cell, check_kinds
from differnet.evaluation.paper.plan import Plan
from differnet.evaluation.paper.published import is_mvtec, is_papers_tiles, other_split
from differnet.evaluation.paper.report import (
    BEST,
    FEW,
    OWN,
    PUBLISHED,
    SPREAD,
    Report,
    Study,
    Table,
    Value,
    best,
    over,
    own,
)

_TEST_VIEWS = (1, 4, 16, 64)


def table1(study: Study) -> Report:
    """Table 1: every category, with all training images and with a few."""
    few_name = f"{study.few} images: "
    found = [(data, study.cells(data), study.cells(data, study.few)) for data in study.datasets]
    rows: list[tuple[Value, ...]] = []
    for data, all_images, few in found:
        rows.append((data.name, len(data.train), None, *own(all_images), best(all_images), None, *own(few)))
    if len(found) > 1:
        whole, few_means = over([cells for _, cells, _ in found]), over([cells for _, _, cells in found])
        by_test = mean(best(cells) for _, cells, _ in found)
        is_known = is_mvtec(study.datasets)
        means = published.TABLE1_MEAN if is_known else None
        few_mean = published.TABLE1_MEAN_16 if is_known and study.few == FEW else None
        rows.append(("mean", None, means, *whole, by_test, few_mean, *few_means))
    few_columns = tuple(few_name + name for name in (PUBLISHED, OWN, SPREAD))
    columns = ("category", "training images", PUBLISHED, OWN, SPREAD, BEST, *few_columns)
    notes = (
        f"Published: {published.PAPER}, Table 1, MVTec AD; the means alone, as the figures by category could not be "
        f"checked here. On the same features the paper has 1-NN at {published.TABLE1_1NN} and the one-class SVM at "
        f"{published.TABLE1_OCSVM} (means).",
        "The standard deviation of the mean is that of the means over categories, over seeds.",
    )
    cells = tuple(cell for _, all_images, few in found for cell in (*all_images, *few))
    return Report("Table 1: AUROC by category", Table(columns, tuple(rows)), cells, notes)


def table2(study: Study) -> Report:
    """Table 2: magnetic tiles, beside other methods as published."""
    data = study.dataset
    whole, few = study.cells(data), study.cells(data, study.few)
    is_mtd = is_papers_tiles(data)
    rows: list[tuple[Value, ...]] = [
        (figure.method, figure.value, None, None, None, figure.source)
        for figure in (published.TABLE2 if is_mtd else ())
    ]
    paper, source = (published.TABLE2_DIFFERNET, published.PAPER) if is_mtd else (None, "")
    rows.append((f"DifferNet, {whole[0].n_train} images", paper, *own(whole), best(whole), source))
    rows.append((f"DifferNet, {few[0].n_train} images drawn by each seed", None, *own(few), best(few), ""))
    columns = ("method", PUBLISHED, OWN, SPREAD, BEST, "source of the published figure")
    notes = (
        "Own figures are of DifferNet alone; `differnet compare` runs the other methods on the same data.",
        *other_split(data),
    )
    cells = (*whole, *few)
    return Report(f"Table 2: {data.name}", Table(columns, tuple(rows)), cells, notes)


def table3(study: Study) -> Report:
    """Table 3: what several scales, transformed training views and many test views bring."""
    data, base = study.dataset, study.settings
    limit = base.views.score_views
    counts = tuple(sorted({min(count, limit) for count in _TEST_VIEWS}))
    sizes = base.backbone.sizes
    one, all_sizes = sizes[:1], sizes
    rows: list[tuple[Value, ...]] = []
    cells: list[Cell] = []
    for letter, chosen, turned in (("A", one, False), ("B", all_sizes, False), ("C", one, True)):
        found = study.cells(data, study.shots, ablated(base, chosen, turned))
        cells += found
        views = limit if turned else 1
        rows.append((letter, _sizes(chosen), _yes(turned), views, *own(found), best(found)))
    found = study.cells(data, study.shots, ablated(base, all_sizes, True), view_counts=counts)
    cells += found
    for letter, count in zip("DEFG", counts, strict=False):
        values = [100 * auroc(cell.by_views[count], cell.is_defective) for cell in found]
        chosen_by_test = best(found) if count == limit else None
        rows.append((letter, _sizes(all_sizes), "yes", count, mean(values), spread(values), chosen_by_test))
    columns = ("", "input sizes", "transformed training views", "test views", OWN, SPREAD, BEST)
    notes = (
        "Published: the paper has its ablation on MVTec AD; its figures and which letter is which could not be checked "
        "here, so the letters are this package's own.",
        "Everything else is equal: the flow, the number of optimisation steps (but for rounding), 32-bit floats, the "
        "average over the whole image of all stages of the backbone, no noise. Transformed views are turned by any "
        "angle, with other brightness and contrast.",
        f"D to G are one fit for each seed, scored in the first views of {counts[-1]}.",
        *study.drawn,
    )
    return Report(f"Table 3: ablation on {data.name}", Table(columns, tuple(rows)), tuple(cells), notes)


def multimodal(study: Study) -> Report:
    """One model over all categories."""
    if len(study.datasets) < 2:
        raise LayoutError("multimodal: several categories are wanted, found one")
    for data in study.datasets:
        check_kinds(data)
    cells = [study.run(Plan(_together(study, seed), study.settings, seed)) for seed in study.seeds]
    rows: list[tuple[Value, ...]] = []
    by_category, start = [], 0
    for data in study.datasets:
        part = slice(start, start + len(data.test))
        start = part.stop
        values = [100 * auroc(cell.scores[part], cell.is_defective[part]) for cell in cells]
        by_category.append(values)
        count = min(study.shots or len(data.train), len(data.train))
        rows.append((data.name, count, None, mean(values), spread(values), None))
    means = np.mean(by_category, axis=0).tolist()
    known = published.MULTIMODAL_MEAN if is_mvtec(study.datasets) and study.shots is None else None
    rows.append(("mean", cells[0].n_train, known, mean(means), spread(means), None))
    rows.append(("all test images as one", cells[0].n_train, None, *own(cells), best(cells)))
    columns = ("category", "training images", PUBLISHED, OWN, SPREAD, BEST)
    notes = (f"Published: {published.PAPER}, MVTec AD, a flow of 12 blocks.", *study.drawn)
    return Report("One model for all categories", Table(columns, tuple(rows)), tuple(cells), notes)


def btad_report(study: Study) -> Report:
    """A student report's protocol on BTAD."""
    found = [(data, study.cells(data, study.shots)) for data in study.datasets]
    rows: list[tuple[Value, ...]] = []
    for data, own_cells in found:
        is_btad = data.layout == "btad" and study.shots is None
        known = published.BTAD_REPORT.get(data.name) if is_btad else None
        rows.append((data.name, own_cells[0].n_train, known, *own(own_cells), best(own_cells)))
    if len(found) > 1:
        by_test = mean(best(cells) for _, cells in found)
        rows.append(("mean", None, None, *over([cells for _, cells in found]), by_test))
    columns = ("product", "training images", PUBLISHED, OWN, SPREAD, BEST)
    images, training = study.settings.backbone, study.settings.training
    length = "" if training.length == 1 else f", their number times {training.length}"
    notes = (
        f"Published: {published.BTAD_SOURCE}. Here: {images.backbone}, {_sizes(images.sizes)} pixels, "
        f"{training.epochs} epochs{length}.",
        *study.drawn,
    )
    cells = tuple(cell for _, cells in found for cell in cells)
    return Report("BTAD, protocol of a student report", Table(columns, tuple(rows)), cells, notes)


def ablated(base: presets.Config, sizes: tuple[int, ...], turned: bool) -> presets.Config:
    """Return a row of the ablation: nothing found out, and as many optimisation steps in every row.

    Without transformations all training views of an image are the same, so one is kept and shown more often.
    """
    views, training = base.views, base.training
    count = views.train_views if isinstance(views.train_views, int) else 32
    changes: dict[str, Any] = {"sizes": sizes, "read_stages": "all", "pooling": "whole", "grid": 1}
    changes |= {"aspect": 1.0, "tiles": 1}
    changes |= {"length": 1.0, "noise": 0.0, "train_views": count}
    changes |= {"blocks": 8} if base.flow.blocks == "auto" else {}
    changes |= {"hidden": 256} if base.flow.hidden == "auto" else {}
    changes |= {"precision": "f32"} if base.backbone.precision == "auto" else {}
    if turned:
        return presets.resolve(base, changes | {"rotation": "full", "score_rotations": "random"})
    changes |= {"rotation": "none", "score_rotations": "even", "brightness": (1, 1), "contrast": (1, 1)}
    if not views.fresh_views:
        changes |= {"train_views": 1, "epochs": training.epochs * count}
    return presets.resolve(base, changes)


def _together(study: Study, seed: int) -> Dataset:
    """Return all categories as one data set, of each the images that ``seed`` draws where few are wanted."""
    parts = [
        data.shots(study.shots, seed) if study.shots and study.shots < len(data.train) else data
        for data in study.datasets
    ]
    return Dataset("all categories", tuple(sample for part in parts for sample in part.samples))


def _sizes(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes))


def _yes(value: bool) -> str:
    return "yes" if value else "no"
