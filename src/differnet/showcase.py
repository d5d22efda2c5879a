"""The demo: fit one detector a texture, judge its test tiles, draw them beside the true masks."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from differnet import pictures
from differnet.data import datasets
from differnet.data.images import load
from differnet.data.stream import Progress
from differnet.demo import cell_of, write_demo_data
from differnet.detector.detector import DifferNet
from differnet.errors import DifferNetWarning
from differnet.evaluation_files import panel_title
from differnet.flow.train import by_epoch
from differnet.metrics import PixelAuroc, auroc

# The few tiles held out can promise one false alarm in ten; tiles of one cell overlap and stay together.
SETTINGS: dict[str, Any] = {"rate": 0.1, "review_rate": 0.3, "holdout": 0.3, "map_views": 2}


def run_demo(directory: Path, seed: int, progress: Progress) -> dict[str, Any]:
    """Write data, models and contact sheets below ``directory`` and return the figures."""
    started = time.perf_counter()
    data = directory / "data" / f"seed-{seed}"
    names = write_demo_data(data, seed)
    textures: dict[str, Any] = {}
    found = {name: datasets.read_mvtec(data, [name])[0] for name in names}
    backbone = DifferNet("default", seed, **SETTINGS)
    for name, dataset in found.items():
        textures[name] = _one_texture(dataset, directory, backbone.sibling(), _prefixed(progress, name))
    return {
        "textures": textures,
        "image_auroc_mean": float(np.mean([figures["image_auroc"] for figures in textures.values()])),
        "pixel_auroc_mean": float(np.mean([figures["pixel_auroc"] for figures in textures.values()])),
        "seconds": time.perf_counter() - started,
        "open": [figures["sheet"] for figures in textures.values()],
    }


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
    pixels, panels, predictions = PixelAuroc(), [], []
    judged = detector.predict_iter([sample.path for sample in dataset.test], heat_map=True)
    for index, (sample, prediction) in enumerate(zip(dataset.test, judged, strict=True), 1):
        predictions.append(prediction)
        if prediction.heat_map is not None:
            heat = prediction.heat_map
            mask = sample.true_mask(heat.shape)
            pixels.add(heat, mask)
            is_right = prediction.is_defective == sample.is_defective
            title = panel_title(sample, prediction)
            panels.append(pictures.Panel(load(sample.path), heat, mask, title, is_right))
        progress("judging", index, len(dataset.test))
    labels = np.array([sample.is_defective for sample in dataset.test])
    flags = np.array([bool(prediction.is_defective) for prediction in predictions])
    figures = {
        "image_auroc": auroc(np.array([prediction.score for prediction in predictions]), labels),
        "pixel_auroc": pixels.value(),
        "n_train": detector.model.train_count,
        "n_good": int((~labels).sum()),
        "n_defective": int(labels.sum()),
        "found": int((flags & labels).sum()),
        "false_alarms": int((flags & ~labels).sum()),
        "found_out": str(detector.model.choice),
        "promised_false_alarm_rate": detector.promise.promised if detector.promise else None,
        "model": str(model),
        "sheet": str(sheet),
    }
    title = f"{dataset.name}: AUROC {figures['image_auroc']:.3f}; tile, heat map, true mask"
    pictures.contact_sheet(sheet, panels, title)
    return figures


def _prefixed(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)
