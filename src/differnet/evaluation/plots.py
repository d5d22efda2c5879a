"""Pictures for people: overlays, contact sheets, ROC curve and histogram, as PNG files."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.metrics import roc_curve

from differnet.data.files import write_whole
from differnet.data.images import Pixels, load
from differnet.data.samples import Sample
from differnet.decision.verdict import Heat, Prediction
from differnet.errors import MissingExtraError
from differnet.runtime.heatmap import overlay, screen_overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]
_A_DEFECT = 4  # panels of a gallery
_GOOD, _DEFECTIVE = "#2a7f62", "#c0392b"
# Of a contact sheet, in inches: a picture's side, from one picture to the next, a row with its title, a heading.
_SIDE, _STEP, _ROW, _HEADING, _EDGE = 1.35, 1.42, 1.62, 0.46, 0.1


@dataclass(frozen=True)
class Panel:
    """One row of a contact sheet: an image, its heat map, its true mask if known, and what was said."""

    pixels: Pixels
    heat: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_] | None
    title: str
    is_right: bool | None = None


class Gallery:
    """Collects the first few heat maps of each kind of defect, with what ``title`` says of them.

    ``panels``: by the kind of defect.
    """

    def __init__(self, title: Callable[[Sample, Prediction], str]) -> None:
        self.panels: dict[str, list[Panel]] = {}
        self._title = title

    def on_map(self, sample: Sample, heat: Heat, prediction: Prediction) -> None:
        """Keep a heat map where there are few of its kind."""
        kind = self.panels.setdefault(sample.defect, [])
        if len(kind) < _A_DEFECT:
            mask = sample.true_mask(heat.shape) if sample.mask else None
            said = prediction.is_defective
            is_right = None if said is None else said == sample.is_defective
            kind.append(Panel(load(sample.path), heat, mask, self._title(sample, prediction), is_right))


def check_there() -> None:
    """Refuse to draw figures where there is no Matplotlib: :class:`MissingExtraError`, before any other work."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("figures need Matplotlib: pip install 'differnet[plots]'")


def save_overlay(path: Path, pixels: Pixels, heat: Array) -> None:
    """Write a heat map (h, w) over its picture (H, W, 3) as PNG at the size of a screen, whole or not at all."""
    _save_image(path, screen_overlay(pixels, heat))


def contact_sheet(path: Path, panels: Sequence[Panel], title: str, columns: int = 3) -> None:
    """Write image, heat map and true mask of each panel, ``columns`` panels side by side."""
    grouped_sheet(path, [("", panels)], title, columns)


def grouped_sheet(
    path: Path, groups: Sequence[tuple[str, Sequence[Panel]]], title: str, columns: int = 3
) -> None:
    """Write a contact sheet of groups, each with a heading and in rows of its own.

    ``columns``: panels side by side; more of them in a group that knows no mask.
    """
    shapes = [_shape_of(panels, columns) for _, panels in groups]
    heights = [
        rows * _ROW + (_HEADING if heading else 0)
        for (heading, _), (rows, _, _) in zip(groups, shapes, strict=True)
    ]
    size = (2 * _EDGE + columns * 3 * _STEP, _HEADING + sum(heights) + _EDGE)
    figure = _figure(size)
    figure.text(_EDGE / size[0], 1 - 0.24 / size[1], title, fontsize=10, va="center")
    top = size[1] - _HEADING
    for (heading, panels), (_, across, pictures), height in zip(groups, shapes, heights, strict=True):
        if heading:
            figure.text(
                _EDGE / size[0], (top - 0.36) / size[1], heading, fontsize=12, va="center", weight="bold"
            )
        first = top - (_HEADING if heading else 0)
        for index, panel in enumerate(panels):
            row, column = divmod(index, across)
            left = _EDGE + column * columns * 3 * _STEP / across
            corners = [(left + i * _STEP, first - (row + 1) * _ROW) for i in range(pictures)]
            _draw_panel([figure.add_axes(_box(corner, size)) for corner in corners], panel)
        top -= height
    _save_figure(path, figure)


def _shape_of(panels: Sequence[Panel], columns: int) -> tuple[int, int, int]:
    """Return how many rows, panels side by side and pictures of a panel a group takes."""
    pictures = 2 if all(panel.mask is None for panel in panels) else 3
    across = 3 * columns // pictures
    return -(-len(panels) // across), across, pictures


def _box(corner: tuple[float, float], size: tuple[float, float]) -> tuple[float, float, float, float]:
    return corner[0] / size[0], corner[1] / size[1], _SIDE / size[0], _SIDE / size[1]


def roc_picture(path: Path, runs: Sequence[tuple[Array, Array]], title: str) -> None:
    """Draw one ROC curve a seed, counted from 0, from (scores, is_defective)."""
    figure = _figure((5, 4.6))
    axes = figure.subplots()
    for seed, (scores, labels) in enumerate(runs):
        false_alarms, recall, _ = roc_curve(labels, scores)
        axes.plot(false_alarms, recall, lw=1.4, label=f"seed {seed}")
    axes.plot([0, 1], [0, 1], color="0.8", lw=0.8)
    axes.set(xlabel="false-alarm rate", ylabel="recall", title=title, xlim=(-0.01, 1), ylim=(0, 1.01))
    axes.legend(loc="lower right")
    figure.tight_layout()
    _save_figure(path, figure)


def histogram_picture(path: Path, scores: Array, is_defective: Array, title: str) -> None:
    """Draw the scores of good and defective images as two histograms."""
    figure = _figure((6, 3.8))
    axes = figure.subplots()
    logs, bins = logarithms(scores), score_bins(scores)
    for label, colour, name in ((False, _GOOD, "good"), (True, _DEFECTIVE, "defective")):
        chosen = logs[is_defective == label]
        axes.hist(chosen, bins=bins.tolist(), color=colour, alpha=0.6, label=f"{name} ({len(chosen)})")
    axes.set(xlabel="log10 of the score", ylabel="images", title=title)
    axes.legend()
    figure.tight_layout()
    _save_figure(path, figure)


def logarithms(scores: Array) -> Array:
    """Return log10 of scores, which a histogram counts."""
    logs: Array = np.log10(np.maximum(scores, 1e-12))
    return logs


def score_bins(scores: Array) -> Array:
    """Return the edges of the histogram's bins, in :func:`logarithms`."""
    logs = logarithms(scores)
    return np.linspace(logs.min(), logs.max(), 40)


def count_picture(path: Path, points: Sequence[tuple[int, Sequence[float]]], title: str) -> None:
    """Draw AUROC against the number of training images, from (number, one AUROC for each subset)."""
    figure = _figure((6, 3.8))
    axes = figure.subplots()
    counts = [count for count, _ in points]
    axes.plot(counts, [float(np.mean(values)) for _, values in points], color=_GOOD, lw=1.4, label="mean")
    for index, (count, values) in enumerate(points):
        label = "a random subset" if index == 0 else None
        axes.plot([count] * len(values), values, "o", color=_GOOD, alpha=0.45, ms=4, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set(xlabel="training images", ylabel="AUROC", title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.tight_layout()
    _save_figure(path, figure)


def _draw_panel(axes: Sequence[Any], panel: Panel) -> None:
    for one in axes:
        one.axis("off")
    axes[0].imshow(panel.pixels)
    axes[1].imshow(overlay(panel.pixels, panel.heat))
    if panel.mask is not None:
        axes[2].imshow(panel.mask, cmap="gray", vmin=0, vmax=1)
    colour = "black" if panel.is_right is None else _GOOD if panel.is_right else _DEFECTIVE
    axes[0].set_title(panel.title, fontsize=8, loc="left", color=colour, pad=3)


def _figure(size: tuple[float, float]) -> Figure:
    """Return an empty figure of a size in inches; raises as :func:`check_there` does."""
    check_there()
    from matplotlib.figure import Figure  # here, since nothing but figures needs it

    return Figure(figsize=size, dpi=110)


def _save_figure(path: Path, figure: Figure) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    write_whole(path, buffer.getvalue())


def _save_image(path: Path, pixels: Pixels) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    write_whole(path, buffer.getvalue())
