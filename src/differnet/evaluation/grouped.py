"""Labelled data with the groups that a fit to its training images would find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from differnet.config import sections
from differnet.config.settled import is_open
from differnet.data.datasets import Dataset
from differnet.data.stream import Progress
from differnet.detector.detector import DifferNet
from differnet.detector.promise.split import folds_for
from differnet.features.look import Look
from differnet.features.sisters import together
from differnet.features.white import with_white


def grouped(
    detector: DifferNet,
    dataset: Dataset,
    train: Sequence[Look],
    decision: sections.Decision,
    progress: Progress,
) -> tuple[Dataset, sections.Decision]:
    """Return the data with the groups that are found among training images, where they have none and it matters."""
    if dataset.groups is not None or not (decision.is_calibrated or is_open(detector.config)):
        return dataset, decision
    with_white(detector.config, train)
    found = together(train, None, decision, detector.seed, progress).groups
    if found is None:
        return dataset, decision
    grouped = [replace(sample, group=str(group)) for sample, group in zip(dataset.train, found, strict=True)]
    folds = folds_for(found, decision.folds)
    return replace(dataset, samples=(*grouped, *dataset.test)), replace(decision, folds=folds)
