"""The figures of the report as numbers for SVG: a histogram of scores with its threshold and band, and two curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from differnet.evaluation.drawing.bins import bin_edges

Array = npt.NDArray[Any]
WIDTH, HEIGHT = 640, 250  # of the area that is drawn in
_TINY = 1e-12
_MOST_POINTS = 400


@dataclass(frozen=True)
class Bar:
    """One bar: left, top, width and height in the area; ``title`` says it in words."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Histogram:
    """Scores on a logarithmic axis. ``series``: name, kind and bars of each; ``ticks``: place and text.

    ``most``: the share of its group that the highest bar stands for. ``line``, ``band``: where the threshold is and
    where the review band begins, nothing without one.
    """

    series: tuple[tuple[str, str, tuple[Bar, ...]], ...]
    ticks: tuple[tuple[float, str], ...]
    most: float
    line: float | None
    band: float | None


@dataclass(frozen=True)
class Curve:
    """A curve in a square of side 1: ``points`` as SVG wants them, and its ``area``."""

    points: str
    area: float
    mark: tuple[float, float] | None


def histogram(
    groups: Sequence[tuple[str, str, Array]], threshold: float | None, review: float | None
) -> Histogram:
    """Return the histogram of scores of several groups (name, kind, scores), each bar as a share of its group."""
    known = [value for value in (threshold, review) if value is not None]
    logs = [np.log10(np.maximum(scores, _TINY)) for _, _, scores in groups]
    every = np.concatenate([*logs, np.log10(np.maximum(known, _TINY)) if known else np.empty(0)])
    low, high = float(every.min()), float(every.max())
    margin = max(0.02 * (high - low), 0.02)
    low, high = low - margin, high + margin
    edges = bin_edges(every, low, high)
    counts = [np.histogram(values, edges)[0] for values in logs]
    shares = [count / max(1, count.sum()) for count in counts]
    most = float(max(share.max() for share in shares)) or 1.0

    def place(log: float) -> float:
        return round(WIDTH * (log - low) / (high - low), 2)

    series = tuple(
        (f"{name} ({len(scores)})", kind, _bars(count, edges, most))
        for (name, kind, scores), count in zip(groups, counts, strict=True)
    )
    where = [None if value is None else place(math.log10(max(value, _TINY))) for value in (threshold, review)]
    return Histogram(series, tuple((place(log), text) for log, text in _ticks(low, high)), most, *where)


def _bars(counts: Array, edges: Array, most: float) -> tuple[Bar, ...]:
    wide, total = WIDTH / len(counts), int(counts.sum())
    found = []
    for index, count in enumerate(counts):
        if count:
            height = HEIGHT * float(count) / total / most
            low, high = 10 ** edges[index], 10 ** edges[index + 1]
            title = f"{count} of {total} images from {low:.3g} to {high:.3g}"
            x = wide * index
            found.append(
                Bar(round(x, 2), round(HEIGHT - height, 2), round(wide - 1, 2), round(height, 2), title)
            )
    return tuple(found)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return round numbers on a logarithmic axis, at least three where the axis holds so many."""
    found: list[tuple[float, str]] = []
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), tuple(range(1, 10)), tuple(np.arange(1, 10, 0.5))):
        powers = range(math.floor(low), math.ceil(high) + 1)
        values = [step * 10.0**power for power in powers for step in steps]
        found = [(math.log10(value), f"{value:.6g}") for value in values if low <= math.log10(value) <= high]
        if len(found) >= 3:
            break
    return found[:: max(1, math.ceil(len(found) / 9))]


def roc(scores: Array, labels: Array, threshold: float | None) -> Curve:
    """Return the ROC curve, its area, and where the threshold stands on it."""
    alarms, found, _ = roc_curve(labels, scores)
    mark = None
    if threshold is not None:
        mark = float((scores[~labels] >= threshold).mean()), float((scores[labels] >= threshold).mean())
    return Curve(_points(alarms, found), float(auc(alarms, found)), mark)


def precision_recall(scores: Array, labels: Array, threshold: float | None) -> Curve:
    """Return the curve of precision over recall, its average precision, and where the threshold stands on it."""
    precision, recall, _ = precision_recall_curve(labels, scores)
    mark = None
    if threshold is not None and (scores >= threshold).any():
        flagged = scores >= threshold
        mark = float(flagged[labels].mean()), float(labels[flagged].mean())
    return Curve(_points(recall[::-1], precision[::-1]), float(average_precision_score(labels, scores)), mark)


def _points(x: Array, y: Array) -> str:
    """Return points of a square with y upwards, thinned where there are many."""
    step = max(1, len(x) // _MOST_POINTS)
    chosen = sorted({*range(0, len(x), step), len(x) - 1})
    return " ".join(f"{x[i]:.4f},{1 - y[i]:.4f}" for i in chosen)
