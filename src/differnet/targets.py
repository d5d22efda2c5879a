"""The tables and figures of the paper: which cells each is made of, and what stands beside them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from differnet import pictures, published
from differnet.config import presets
from differnet.data.datasets import Dataset
from differnet.errors import LayoutError
from differnet.metrics import auroc, mean, spread
from differnet.plans import Plan
from differnet.reports import BEST, FEW, OWN, PUBLISHED, SPREAD, Order, Report, Table, Value, best, over, own
from differnet.reproduction import Cell, check_kinds

COUNTS = (8, 16, 32, 64, 128, 256, 512)
_TEST_VIEWS = (1, 4, 16, 64)
_RATES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Target:
    """How a table or figure is made, from which preset where nobody names one, with which settings changed.

    ``takes_shots``, ``takes_counts``: whether a number of training images, or several of them, can be asked for.
    """

    make: Callable[[Order], Report]
    about: str
    preset: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    takes_shots: bool = True
    takes_counts: bool = False


def table1(order: Order) -> Report:
    """Table 1: every category, with all training images and with a few."""
    few_name = f"{order.few} images: "
    found = [(data, order.cells(data), order.cells(data, order.few)) for data in order.datasets]
    rows: list[tuple[Value, ...]] = []
    for data, all_images, few in found:
        rows.append((data.name, len(data.train), None, *own(all_images), best(all_images), None, *own(few)))
    if len(found) > 1:
        whole, few_means = over([cells for _, cells, _ in found]), over([cells for _, _, cells in found])
        by_test = mean(best(cells) for _, cells, _ in found)
        is_mvtec = _is_mvtec(order.datasets)
        means = published.TABLE1_MEAN if is_mvtec else None
        few_mean = published.TABLE1_MEAN_16 if is_mvtec and order.few == FEW else None
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


def table2(order: Order) -> Report:
    """Table 2: magnetic tiles, beside other methods as published."""
    data = order.dataset
    whole, few = order.cells(data), order.cells(data, order.few)
    is_mtd = _is_papers_tiles(data)
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
        *_other_split(data),
    )
    cells = (*whole, *few)
    return Report(f"Table 2: {data.name}", Table(columns, tuple(rows)), cells, notes)


def fig5(order: Order) -> Report:
    """Figure 5: the ROC curve."""
    data = order.dataset
    cells = order.cells(data, order.shots)
    is_mtd = _is_papers_tiles(data) and order.shots is None
    rows: list[tuple[Value, ...]] = [
        ("AUROC", published.TABLE2_DIFFERNET if is_mtd else None, *own(cells), best(cells))
    ]
    for rate in _RATES:
        recalls = [100 * recall_at(cell, rate) for cell in cells]
        known = published.FIG5_RECALL if is_mtd and rate == 0 else None
        rows.append(
            (f"recall at false alarms of {100 * rate:g} %", known, mean(recalls), spread(recalls), None)
        )
    runs = [(cell.scores, cell.is_defective) for cell in cells]
    return Report(
        f"Figure 5: ROC of {data.name}",
        Table(("", PUBLISHED, "own, %", SPREAD, BEST), tuple(rows)),
        tuple(cells),
        ((f"Published: {published.PAPER}, of magnetic tiles.",) if is_mtd else _other_split(data))
        + order.drawn,
        lambda path: pictures.roc_picture(path, runs, data.name),
    )


def fig6(order: Order) -> Report:
    """Figure 6: the histogram of scores, of the first seed."""
    data = order.dataset
    (cell,) = order.cells(data, order.shots, seeds=order.seeds[:1])
    edges = pictures.score_bins(cell.scores)
    logs, labels = pictures.logarithms(cell.scores), cell.is_defective
    good, bad = (np.histogram(logs[labels == label], edges)[0] for label in (False, True))
    rows = tuple(
        (float(edges[i]), float(edges[i + 1]), int(good[i]), int(bad[i])) for i in range(len(edges) - 1)
    )
    title = f"{data.name}, seed {cell.seed}"
    return Report(
        f"Figure 6: scores of {title}",
        Table(("log10 of the score, from", "to", "good images", "defective images"), rows),
        (cell,),
        (
            f"Of the histogram of {published.PAPER} no figures are at hand.",
            f"AUROC {100 * cell.auroc:.2f} %; {100 * cell.recall:.1f} % of the defective images score above every "
            "good one.",
            *order.drawn,
        ),
        lambda path: pictures.histogram_picture(path, cell.scores, labels, title),
    )


def table3(order: Order) -> Report:
    """Table 3: what several scales, transformed training views and many test views bring."""
    data, base = order.dataset, order.settings
    limit = base.views.score_views
    counts = tuple(sorted({min(count, limit) for count in _TEST_VIEWS}))
    sizes = base.backbone.sizes
    one, all_sizes = sizes[:1], sizes
    rows: list[tuple[Value, ...]] = []
    cells: list[Cell] = []
    for letter, chosen, turned in (("A", one, False), ("B", all_sizes, False), ("C", one, True)):
        found = order.cells(data, order.shots, ablated(base, chosen, turned))
        cells += found
        views = limit if turned else 1
        rows.append((letter, _sizes(chosen), _yes(turned), views, *own(found), best(found)))
    found = order.cells(data, order.shots, ablated(base, all_sizes, True), view_counts=counts)
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
        *order.drawn,
    )
    return Report(f"Table 3: ablation on {data.name}", Table(columns, tuple(rows)), tuple(cells), notes)


def fig7(order: Order) -> Report:
    """Figure 7: AUROC against the number of training images, a random subset for each seed."""
    data = order.dataset
    counts = [count for count in order.counts if count < len(data.train)]
    found = [order.cells(data, count) for count in counts] + [order.cells(data)]
    rows = tuple((cells[0].n_train, *own(cells), best(cells)) for cells in found)
    points = [(cells[0].n_train, [cell.auroc for cell in cells]) for cells in found]
    return Report(
        f"Figure 7: AUROC of {data.name} by the number of training images",
        Table(("training images", OWN, SPREAD, BEST), rows),
        tuple(cell for cells in found for cell in cells),
        (
            f"Of the curves of {published.PAPER} no figures are at hand.",
            "Each seed draws a subset of its own; the last row is of all images, and seeds differ in the rest.",
        ),
        lambda path: pictures.count_picture(path, points, data.name),
    )


def fig8(order: Order) -> Report:
    """Figure 8: heat maps beside true masks, with pixel AUROC and AUPRO."""
    data = order.dataset
    masks = sum(sample.mask is not None for sample in data.test)
    if not masks:
        raise LayoutError(f"{data!r}: no masks of defects; figure 8 needs them")
    cells = order.cells(data, order.shots, maps=True)
    rows: list[tuple[Value, ...]] = [("AUROC of images", *own(cells), best(cells))]
    for name, values in (
        ("AUROC of pixels", [cell.pixel_auroc for cell in cells]),
        ("AUPRO up to 30 % false positives", [cell.pixel_aupro for cell in cells]),
    ):
        percent = [None if value is None else 100 * value for value in values]
        rows.append((name, mean(percent), spread(percent), None))
    gallery = cells[0].picture
    failures = dict.fromkeys(cell.pixel_failure for cell in cells if cell.pixel_failure)
    return Report(
        f"Figure 8: heat maps of {data.name}",
        Table(("", "own, %", SPREAD, BEST), tuple(rows)),
        tuple(cells),
        (
            f"Of the heat maps of {published.PAPER} no figures are at hand.",
            f"{masks} masks. The picture has the first images of every kind of defect, and the first good ones, of the "
            "first seed: none was picked.",
            *(f"Heat maps could not be measured: {reason}" for reason in failures),
            *order.drawn,
        ),
        None if gallery is None else lambda path: _copy(gallery, path),
    )


def multimodal(order: Order) -> Report:
    """One model over all categories."""
    if len(order.datasets) < 2:
        raise LayoutError("multimodal: several categories are wanted, found one")
    for data in order.datasets:
        check_kinds(data)
    cells = [order.run(Plan(_together(order, seed), order.settings, seed)) for seed in order.seeds]
    rows: list[tuple[Value, ...]] = []
    by_category, start = [], 0
    for data in order.datasets:
        part = slice(start, start + len(data.test))
        start = part.stop
        values = [100 * auroc(cell.scores[part], cell.is_defective[part]) for cell in cells]
        by_category.append(values)
        count = min(order.shots or len(data.train), len(data.train))
        rows.append((data.name, count, None, mean(values), spread(values), None))
    means = np.mean(by_category, axis=0).tolist()
    known = published.MULTIMODAL_MEAN if _is_mvtec(order.datasets) and order.shots is None else None
    rows.append(("mean", cells[0].n_train, known, mean(means), spread(means), None))
    rows.append(("all test images as one", cells[0].n_train, None, *own(cells), best(cells)))
    columns = ("category", "training images", PUBLISHED, OWN, SPREAD, BEST)
    notes = (f"Published: {published.PAPER}, MVTec AD, a flow of 12 blocks.", *order.drawn)
    return Report("One model for all categories", Table(columns, tuple(rows)), tuple(cells), notes)


def btad_report(order: Order) -> Report:
    """A student report's protocol on BTAD."""
    found = [(data, order.cells(data, order.shots)) for data in order.datasets]
    rows: list[tuple[Value, ...]] = []
    for data, own_cells in found:
        is_btad = data.layout == "btad" and order.shots is None
        known = published.BTAD_REPORT.get(data.name) if is_btad else None
        rows.append((data.name, own_cells[0].n_train, known, *own(own_cells), best(own_cells)))
    if len(found) > 1:
        by_test = mean(best(cells) for _, cells in found)
        rows.append(("mean", None, None, *over([cells for _, cells in found]), by_test))
    columns = ("product", "training images", PUBLISHED, OWN, SPREAD, BEST)
    images, training = order.settings.backbone, order.settings.training
    length = "" if training.length == 1 else f", their number times {training.length}"
    notes = (
        f"Published: {published.BTAD_SOURCE}. Here: {images.backbone}, {_sizes(images.sizes)} pixels, "
        f"{training.epochs} epochs{length}.",
        *order.drawn,
    )
    cells = tuple(cell for _, cells in found for cell in cells)
    return Report("BTAD, protocol of a student report", Table(columns, tuple(rows)), cells, notes)


TARGETS: Mapping[str, Target] = {
    "table1": Target(table1, "MVTec AD by category, all training images and a few"),
    "table2": Target(table2, "magnetic tiles, beside other methods as published"),
    "fig5": Target(fig5, "ROC curve"),
    "fig6": Target(fig6, "histogram of the scores"),
    "table3": Target(table3, "ablation: scales, training views, test views", "turned", {"score_views": 64}),
    "fig7": Target(fig7, "AUROC by the number of training images", takes_shots=False, takes_counts=True),
    "fig8": Target(fig8, "heat maps beside true masks"),
    "multimodal": Target(multimodal, "one model of 12 blocks over all categories", settings={"blocks": 12}),
    "btad-report": Target(
        btad_report, "a student report's protocol", settings={"sizes": [448], "epochs": 40, "length": 1.0}
    ),
}


def recall_at(cell: Cell, rate: float) -> float:
    """Return the share of defective images above all good ones but a share of ``rate``."""
    good = np.sort(cell.scores[~cell.is_defective])
    allowed = int(rate * len(good) + 1e-9)
    return float(np.mean(cell.scores[cell.is_defective] > good[len(good) - 1 - allowed]))


def ablated(base: presets.Config, sizes: tuple[int, ...], turned: bool) -> presets.Config:
    """Return a row of the ablation: nothing found out, and as many optimisation steps in every row.

    Without transformations all training views of an image are the same, so one is kept and shown more often.
    """
    views, training = base.views, base.training
    count = views.train_views if isinstance(views.train_views, int) else 32
    changes: dict[str, Any] = {"sizes": sizes, "read_stages": "all", "pooling": "whole", "grid": 1}
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


def _is_mvtec(datasets: Sequence[Dataset]) -> bool:
    """Whether these are the categories that the paper's means are over."""
    names = {data.name for data in datasets}
    return names == published.MVTEC and all(data.layout == "mvtec" for data in datasets)


def _is_papers_tiles(data: Dataset) -> bool:
    """Whether these are magnetic tiles by a split file; which one cannot be told, and the page shows its name."""
    return data.layout == "mtd" and data.split_file is not None


def _other_split(data: Dataset) -> tuple[str, ...]:
    if data.layout != "mtd" or _is_papers_tiles(data):
        return ()
    return (
        "No published figures beside: they are of the paper's split, and this is a random one (`--split FILE` names "
        "the training images).",
    )


def _together(order: Order, seed: int) -> Dataset:
    """Return all categories as one data set, of each the images that ``seed`` draws where few are wanted."""
    parts = [
        data.shots(order.shots, seed) if order.shots and order.shots < len(data.train) else data
        for data in order.datasets
    ]
    return Dataset("all categories", tuple(sample for part in parts for sample in part.samples))


def _sizes(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
