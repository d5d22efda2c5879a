"""The demo: a detector for each texture, its verdicts on good tiles, on clear defects and on hard ones.

Which defects are hard is measured on the pixels and has nothing to do with the detector: a defect is clear
when it stands out from good tiles as far as a person needs to see it reliably.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from differnet.data import datasets
from differnet.data.images import load
from differnet.data.samples import Sample
from differnet.data.stream import Progress
from differnet.decision.verdict import Heat, Prediction
from differnet.detector.detector import DifferNet
from differnet.errors import DifferNetWarning
from differnet.evaluation import plots
from differnet.evaluation.demo import TEXTURES, cell_of, write_demo_data
from differnet.evaluation.measure import Measured, measure
from differnet.evaluation.results import panel_title
from differnet.flow.train import by_epoch

SHOWN = ("brick", "moon")  # on two quiet cores within three minutes
# The few tiles held out can promise one false alarm in ten; tiles of one cell overlap and stay together.
SETTINGS: dict[str, Any] = {"rate": 0.1, "review_rate": 0.3, "holdout": 0.3, "map_views": 2}
# Rose's criterion: what is five standard deviations off is seen reliably.
CLEAR_FROM = 5.0
_LEAST_DEVIATION = 2.0  # grey levels, of 255: less is not seen on any ground

Mask = npt.NDArray[np.bool_]
Field = npt.NDArray[np.float32]


@dataclass
class Shown:
    """What is on the contact sheet of a texture: panels with how far each stands out, by what it shows.

    ``right`` counts the verdicts that are right.
    """

    panels: list[tuple[float, plots.Panel]] = field(default_factory=list)

    @property
    def right(self) -> int:
        """Good tiles that passed, or defects that were found."""
        return sum(bool(panel.is_right) for _, panel in self.panels)

    def in_order(self) -> list[plots.Panel]:
        """Return the panels, what stands out most first; good tiles as they came."""
        return [panel for _, panel in sorted(self.panels, key=lambda pair: -pair[0])]


def run_demo(
    directory: Path, seed: int, progress: Progress, textures: Sequence[str] = SHOWN
) -> dict[str, Any]:
    """Write data, models and contact sheets below ``directory`` and return the figures of ``textures``."""
    started = time.perf_counter()
    data = directory / "data" / f"seed-{seed}"
    write_demo_data(data, seed)  # all of them: a texture's tiles depend on its place among them
    figures: dict[str, Any] = {}
    backbone = DifferNet("default", seed, **SETTINGS)
    for name in textures:
        dataset = datasets.read_mvtec(data, [name])[0]
        figures[name] = _one_texture(dataset, directory, backbone.sibling(), _prefixed(progress, name))
    return {
        "textures": figures,
        "not_run": [name for name in TEXTURES if name not in figures],
        "image_auroc_mean": float(np.mean([one["image_auroc"] for one in figures.values()])),
        "pixel_auroc_mean": float(np.mean([one["pixel_auroc"] for one in figures.values()])),
        "seconds": time.perf_counter() - started,
        "open": [one["sheet"] for one in figures.values()],
    }


def visibility(tile: Field, mask: Mask, good: Field) -> float:
    """Return how far a tile (H, W) stands out from ``good`` ones (N, H, W) within a mask (H, W), by its pixels alone.

    Two things are looked at: the contrast, which is the median brightness within the mask less that of a rim around
    it, and the standard deviation of the brightness within it. Of each, the distance to the mean of the good tiles
    at the same pixels, in their standard deviations; the larger counts.
    """
    usual = _seen(good, mask)
    deviation = np.maximum(usual.std(axis=0), _LEAST_DEVIATION)
    return float((np.abs(_seen(tile[None], mask)[0] - usual.mean(axis=0)) / deviation).max())


def _seen(tiles: Field, mask: Mask) -> npt.NDArray[np.float64]:
    """Return contrast and standard deviation (N, 2) of tiles (N, H, W) within a mask."""
    within = tiles[:, mask].astype(np.float64)
    around = tiles[:, _grown(mask, 12) & ~_grown(mask, 2)].astype(np.float64)
    contrast = np.median(within, axis=1) - np.median(around, axis=1)
    return np.stack([contrast, within.std(axis=1)], axis=1)


def _grown(mask: Mask, by: int) -> Mask:
    return np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(2 * by + 1))) > 0


def _brightness(path: Path) -> Field:
    grey: Field = load(path).mean(axis=2, dtype=np.float32)
    return grey


def _one_texture(
    dataset: datasets.Dataset, directory: Path, detector: DifferNet, progress: Progress
) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)  # the promise is among the figures
        detector.fit(
            [sample.path for sample in dataset.train],
            groups=[cell_of(sample.path) for sample in dataset.train],
            progress=progress,
            on_epoch=by_epoch(progress),
        )
    model, sheet = directory / f"{dataset.name}.safetensors", directory / f"{dataset.name}.png"
    detector.save(model)
    measured, shown = _judged(dataset, detector, progress)
    _draw(sheet, dataset.name, shown)
    return _figures(detector, measured, shown) | {"model": str(model), "sheet": str(sheet)}


def _judged(
    dataset: datasets.Dataset, detector: DifferNet, progress: Progress
) -> tuple[Measured, dict[str, Shown]]:
    """Return what was measured, and what there is to see of good tiles, clear defects and hard ones."""
    good = np.stack([_brightness(sample.path) for sample in dataset.train])
    shown = {"good": Shown(), "clear": Shown(), "hard": Shown()}

    def show(sample: Sample, heat: Heat, prediction: Prediction) -> None:
        mask = sample.true_mask(heat.shape) if sample.is_defective else None
        stands_out = 0.0 if mask is None else visibility(_brightness(sample.path), mask, good)
        kind = "good" if mask is None else "clear" if stands_out >= CLEAR_FROM else "hard"
        title = panel_title(sample, prediction, "" if mask is None else kind)
        is_right = prediction.is_defective == sample.is_defective
        word = plots.word_of(sample.is_defective, prediction.verdict)
        panel = plots.Panel(load(sample.path), heat, mask, title, is_right, word)
        shown[kind].panels.append((stands_out, panel))

    return measure(detector, dataset, True, progress, show), shown


def _draw(sheet: Path, name: str, shown: dict[str, Shown]) -> None:
    said = {kind: f"{one.right} of {len(one.panels)}" for kind, one in shown.items()}
    headings = {
        "good": f"Good tiles: {said['good']} accepted",
        "clear": f"Clear defects: {said['clear']} found",
        "hard": f"Hard defects, which a person may overlook too: {said['hard']} found",
    }
    groups = [(headings[kind], one.in_order()) for kind, one in shown.items() if one.panels]
    plots.grouped_sheet(sheet, groups, f"{name}. Of each tile: picture with the defect drawn, and its heat.")


def _figures(detector: DifferNet, measured: Measured, shown: dict[str, Shown]) -> dict[str, Any]:
    good, clear, hard = shown["good"], shown["clear"], shown["hard"]
    return {
        "image_auroc": measured.image_auroc,
        "pixel_auroc": measured.pixels and measured.pixels.auroc,
        "n_train": detector.model.train_count,
        "n_good": len(good.panels),
        "n_defective": len(clear.panels) + len(hard.panels),
        "found": clear.right + hard.right,
        "n_clear": len(clear.panels),
        "found_clear": clear.right,
        "n_hard": len(hard.panels),
        "found_hard": hard.right,
        "false_alarms": len(good.panels) - good.right,
        "found_out": str(detector.model.choice),
        "promised_false_alarm_rate": detector.promise.promised if detector.promise else None,
    }


def _prefixed(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)
