"""What ``evaluate --out`` leaves behind: figures, scores of every image, ROC, histogram, gallery."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from differnet.data.datasets import Dataset, Sample
from differnet.data.files import write_whole
from differnet.data.spreadsheet import cell
from differnet.decision.verdict import Prediction
from differnet.detector.model import versions
from differnet.evaluation import plots
from differnet.evaluation.evaluate import Evaluation
from differnet.evaluation.metrics import mean, spread


class Files:
    """Writes all files at the end of an evaluation; without a folder, nothing."""

    def __init__(self, directory: Path | None, dataset: Dataset, is_one_of_many: bool) -> None:
        below = directory / dataset.name if directory and is_one_of_many else directory
        self.directory = below
        self._panels: dict[str, list[plots.Panel]] = {}

    def take(self, panels: dict[str, list[plots.Panel]]) -> None:
        """Show what a gallery collected during the evaluation."""
        self._panels.update(panels)

    def finish(self, result: Evaluation) -> dict[str, Any]:
        """Write everything and return the figures."""
        document = result.to_dict() | {"versions": versions()}
        if self.directory is None:
            return document
        folder, name = self.directory, result.dataset.name
        write_whole(folder / "evaluation.json", json.dumps(document, indent=2, allow_nan=False).encode())
        write_whole(folder / "scores.csv", _score_table(result))
        if all(len(np.unique(run.is_defective)) == 2 for run in result.runs):
            runs = [(run.scores, run.is_defective) for run in result.runs]
            plots.roc_picture(folder / "roc.png", runs, name)
            plots.histogram_picture(folder / "histogram.png", *runs[0], f"{name}, seed {result.runs[0].seed}")
        panels = [panel for group in self._panels.values() for panel in group]
        if panels:
            plots.contact_sheet(
                folder / "gallery.png", panels, f"{name}: image with the true mask, and its heat"
            )
        return document


def combine(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One document for one data set; for several, the means over them and each under its name."""
    if len(documents) == 1:
        return documents[0]
    means: dict[str, Any] = {}
    for key in documents[0]:
        if key.endswith("_mean") or key in {"fit_seconds", "score_seconds_per_image"}:
            means[key] = mean(document[key] for document in documents)
    counts = {key: sum(d[key] for d in documents) for key in ("n_train", "n_good", "n_defective")}
    by_seed = [list(values) for values in zip(*(d["image_auroc"] for d in documents), strict=True)]
    image_auroc = [float(np.mean(v)) if None not in v else None for v in by_seed]
    return {
        **means,
        **counts,
        "image_auroc": image_auroc,
        "image_auroc_spread": spread(image_auroc),
        "config": documents[0]["config"],
        "categories": {document["dataset"]: document for document in documents},
    }


def panel_title(sample: Sample, prediction: Prediction, kind: str = "") -> str:
    """Say what an image is, of which ``kind`` where that is known, and what was said of it."""
    verdict = prediction.verdict or "no verdict"
    p = "" if prediction.p_value is None else f", p {prediction.p_value:.3f}"
    percent = "" if prediction.percent is None else f", {math.floor(prediction.percent)} %"
    what = f"{sample.defect}, {kind}" if kind else sample.defect
    return f"{what}: {verdict}{percent}{p}"


def _score_table(result: Evaluation) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(["seed", "image", "label", "score"])
    for run in result.runs:
        for sample, value in zip(result.dataset.test, run.scores, strict=True):
            writer.writerow([run.seed, cell(sample.path.name), cell(sample.defect), value])
    return buffer.getvalue().encode("utf-8", "surrogateescape")
