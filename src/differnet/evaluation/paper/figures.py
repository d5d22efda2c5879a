"""The figures of the paper: which cells each is made of, and how it is drawn."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from differnet.errors import LayoutError
from differnet.evaluation import plots
from differnet.evaluation.metrics import mean, spread
from differnet.evaluation.paper import published
from differnet.evaluation.paper.cells import Cell
from differnet.evaluation.paper.published import is_papers_tiles, other_split
from differnet.evaluation.paper.report import (
    BEST,
    OWN,
    PUBLISHED,
    SPREAD,
    Report,
    Study,
    Table,
    Value,
    best,
    own,
)

_RATES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)


def fig5(study: Study) -> Report:
    """Figure 5: the ROC curve."""
    data = study.dataset
    cells = study.cells(data, study.shots)
    is_mtd = is_papers_tiles(data) and study.shots is None
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
        ((f"Published: {published.PAPER}, of magnetic tiles.",) if is_mtd else other_split(data))
        + study.drawn,
        lambda path: plots.roc_picture(path, runs, data.name),
    )


def fig6(study: Study) -> Report:
    """Figure 6: the histogram of scores, of the first seed."""
    data = study.dataset
    (cell,) = study.cells(data, study.shots, seeds=study.seeds[:1])
    edges = plots.score_bins(cell.scores)
    logs, labels = plots.logarithms(cell.scores), cell.is_defective
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
            *study.drawn,
        ),
        lambda path: plots.histogram_picture(path, cell.scores, labels, title),
    )


def fig7(study: Study) -> Report:
    """Figure 7: AUROC against the number of training images, a random subset for each seed."""
    data = study.dataset
    counts = [count for count in study.counts if count < len(data.train)]
    found = [study.cells(data, count) for count in counts] + [study.cells(data)]
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
        lambda path: plots.count_picture(path, points, data.name),
    )


def fig8(study: Study) -> Report:
    """Figure 8: heat maps beside true masks, with pixel AUROC and AUPRO."""
    data = study.dataset
    masks = sum(sample.mask is not None for sample in data.test)
    if not masks:
        raise LayoutError(f"{data!r}: no masks of defects; figure 8 needs them")
    cells = study.cells(data, study.shots, maps=True)
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
            *study.drawn,
        ),
        None if gallery is None else lambda path: _copy(gallery, path),
    )


def recall_at(cell: Cell, rate: float) -> float:
    """Return the share of defective images above all good ones but a share of ``rate``."""
    good = np.sort(cell.scores[~cell.is_defective])
    allowed = int(rate * len(good) + 1e-9)
    return float(np.mean(cell.scores[cell.is_defective] > good[len(good) - 1 - allowed]))


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
