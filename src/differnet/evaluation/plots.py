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
from differnet.decision.verdict import Heat, Prediction, Verdict
from differnet.errors import MissingExtraError
from differnet.evaluation.drawing.bins import bin_edges
from differnet.evaluation.drawing.outline import COLOUR, over
from differnet.runtime.heatmap import LEVELS, colour_of, overlay, screen_overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]
_A_DEFECT = 4  # panels of a gallery
_GOOD, _DEFECTIVE = "#2a7f62", "#c0392b"
# Of a contact sheet, in inches: a picture's side, from one picture to the next, a row with its title, a heading.
_SIDE, _STEP, _ROW, _HEADING, _EDGE = 1.35, 1.45, 1.66, 0.46, 0.1
_PIXELS = 200  # to the longer side of a picture on a contact sheet
_WIDE = 3  # pictures' places to a column


@dataclass(frozen=True)
class Panel:
    """One row of a contact sheet: an image, its heat map, its true mask if known, and what was said.

    ``word``: what the verdict was for an image of this label, see :func:`word_of`.
    """

    pixels: Pixels
    heat: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_] | None
    title: str
    is_right: bool | None = None
    word: str = ""


def word_of(is_defective: bool, verdict: Verdict | None) -> str:
    """Return in a word what a verdict was for an image of that label.

    >>> word_of(True, "OK"), word_of(False, "NG"), word_of(True, "review"), word_of(True, None)
    ('MISSED', 'FALSE ALARM', 'to review', '')
    """
    if verdict is None:
        return ""
    if verdict == "review":
        return "to review"
    if is_defective:
        return "found" if verdict == "NG" else "MISSED"
    return "FALSE ALARM" if verdict == "NG" else "accepted"


class Gallery:
    """Collects a few heat maps of each kind of defect, those judged wrongly first, with what ``title`` says of them.

    ``panels``: by the kind of defect.
    """

    def __init__(self, title: Callable[[Sample, Prediction], str]) -> None:
        self.panels: dict[str, list[Panel]] = {}
        self._title = title

    def on_map(self, sample: Sample, heat: Heat, prediction: Prediction) -> None:
        """Keep a heat map where there are few of its kind, or one that is right can give way to it."""
        kind, said = self.panels.setdefault(sample.defect, []), prediction.verdict
        is_right = None if said in (None, "review") else (said == "NG") == sample.is_defective
        right = [index for index, one in enumerate(kind) if one.is_right]
        if len(kind) >= _A_DEFECT and (is_right is not False or not right):
            return
        if len(kind) >= _A_DEFECT:
            del kind[right[-1]]
        mask = sample.true_mask(heat.shape) if sample.mask else None
        title, word = self._title(sample, prediction), word_of(sample.is_defective, said)
        kind.append(Panel(load(sample.path), heat, mask, title, is_right, word))


def check_there() -> None:
    """Refuse to draw figures where there is no Matplotlib: :class:`MissingExtraError`, before any other work."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("figures need Matplotlib: pip install 'differnet[plots]'")


def save_overlay(path: Path, pixels: Pixels, heat: Array) -> None:
    """Write a heat map (h, w) over its picture (H, W, 3) as PNG at the size of a screen, whole or not at all."""
    _save_image(path, screen_overlay(pixels, heat))


def contact_sheet(path: Path, panels: Sequence[Panel], title: str, columns: int = 3) -> None:
    """Write each panel: its image with the outline of the true mask, and with its heat; see :func:`grouped_sheet`."""
    grouped_sheet(path, [("", panels)], title, columns)


def grouped_sheet(
    path: Path, groups: Sequence[tuple[str, Sequence[Panel]]], title: str, columns: int = 3
) -> None:
    """Write a contact sheet of groups, each with a heading and in rows of its own, and one legend.

    Panels that were judged wrongly come first, with a frame and a word. ``columns``: how wide it is, a panel with
    room to spare each.
    """
    across = _WIDE * columns // 2
    heights = [-(-len(panels) // across) * _ROW + (_HEADING if heading else 0) for heading, panels in groups]
    size = (2 * _EDGE + columns * _WIDE * _STEP, 2 * _HEADING + sum(heights) + _EDGE)
    figure = _figure(size)
    figure.text(_EDGE / size[0], 1 - 0.24 / size[1], title, fontsize=10, va="center")
    _draw_legend(figure, size, [panel for _, panels in groups for panel in panels])
    top = size[1] - 2 * _HEADING
    for (heading, panels), height in zip(groups, heights, strict=True):
        if heading:
            figure.text(
                _EDGE / size[0], (top - 0.36) / size[1], heading, fontsize=12, va="center", weight="bold"
            )
        first = top - (_HEADING if heading else 0)
        for index, panel in enumerate(sorted(panels, key=lambda one: one.is_right is not False)):
            row, column = divmod(index, across)
            left = _EDGE + column * columns * _WIDE * _STEP / across
            corners = [(left + i * _STEP, first - (row + 1) * _ROW) for i in range(2)]
            _draw_panel([figure.add_axes(_box(corner, size)) for corner in corners], panel)
        top -= height
    _save_figure(path, figure)


def _draw_legend(figure: Figure, size: tuple[float, float], panels: Sequence[Panel]) -> None:
    """Say once what the colours are: of heat, of the mask, and of the frames."""
    at, middle = _EDGE, 1 - 0.62 / size[1]

    def word(text: str, colour: str = "black", weight: str = "normal") -> None:
        nonlocal at
        figure.text(at / size[0], middle, text, fontsize=8, va="center", color=colour, weight=weight)
        at += 0.057 * len(text) + 0.12

    word("heat, of the hottest place of a typical good image: 1×")
    bar = figure.add_axes((at / size[0], middle - 0.045 / size[1], 0.9 / size[0], 0.09 / size[1]))
    bar.imshow([[colour_of(heat) for heat in np.linspace(LEVELS[0], LEVELS[-1], 64)]], aspect="auto")
    bar.axis("off")
    at += 1.0
    word("3×")
    if any(panel.mask is not None for panel in panels):
        word("—", "#{:02x}{:02x}{:02x}".format(*COLOUR), "bold")
        word("true mask")
    if any(panel.is_right is not None for panel in panels):
        word("solid frame: judged rightly", _GOOD)
        word("dashed frame: judged wrongly", _DEFECTIVE, "bold")


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
    """Return the edges of the histogram's bins, in :func:`logarithms`; see :func:`bin_edges`."""
    return bin_edges(logarithms(scores))


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
    pixels, heat, mask = _small(panel)
    axes[0].imshow(pixels if mask is None else over(pixels, mask))
    axes[1].imshow(overlay(pixels, heat))
    colour = "black" if panel.is_right is None else _GOOD if panel.is_right else _DEFECTIVE
    for one in axes:
        one.set(xticks=[], yticks=[])
        for side in one.spines.values():
            side.set(
                visible=panel.is_right is not None, color=colour, linewidth=1.2 if panel.is_right else 2.4
            )
            side.set_linestyle("-" if panel.is_right else "--")
    words = [one for one in (panel.word, panel.title) if one]
    weight = "bold" if panel.is_right is False else "normal"
    axes[0].set_title(" · ".join(words), fontsize=8, loc="left", color=colour, pad=3, weight=weight)


def _small(panel: Panel) -> tuple[Pixels, Array, npt.NDArray[np.bool_] | None]:
    """Return picture, heat and mask as large as they are shown, so that their lines are as wide as meant."""
    height, width = panel.heat.shape
    scale = min(1.0, _PIXELS / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    picture = Image.fromarray(panel.pixels).resize(size, Image.Resampling.LANCZOS)
    heat = Image.fromarray(panel.heat.astype(np.float32)).resize(size, Image.Resampling.BOX)
    mask = panel.mask
    if mask is not None:
        shrunk = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
        mask = np.asarray(shrunk) > 0
    return np.asarray(picture), np.asarray(heat), mask


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
