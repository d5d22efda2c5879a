"""Test images that were fitted to, under another path or as a copy: figures of them are too good."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from differnet.data.datasets import Dataset
from differnet.data.formats.levels import Scale
from differnet.data.images import load
from differnet.data.pixels import pixel_digest
from differnet.data.stream import Progress
from differnet.errors import ImageError, agreeing, counted, warn
from differnet.features.white import scale_of


def before_fits(dataset: Dataset, progress: Progress) -> tuple[Path, ...]:
    """Return the test images that are for training as well, by the white of all training images.

    Images that cannot be read are passed over: what is wrong with them, a fit says.
    """
    paths = [sample.path for sample in dataset.train]
    try:
        scale = scale_of(paths)
    except ImageError:
        return fitted_to(dataset, [""] * len(dataset.test), ())
    found = []
    for sample in (*dataset.train, *dataset.test):
        found.append(_digest(sample.path, scale))
        progress(f"comparing images of {dataset.name}", len(found), len(dataset.samples))
    return fitted_to(dataset, found[len(paths) :], set(found[: len(paths)]) - {""})


def _digest(path: Path, scale: Scale) -> str:
    try:
        return pixel_digest(load(path, scale))
    except ImageError:
        return ""


def digests(dataset: Dataset, scale: Scale, progress: Progress) -> list[str]:
    """Return the digest of the pixels of each test image by the white of what was fitted.

    Raises :class:`ImageError` for what cannot be read.
    """
    found = []
    for sample in dataset.test:
        found.append(pixel_digest(load(sample.path, scale)))
        progress("comparing test images", len(found), len(dataset.test))
    return found


def fitted_to(dataset: Dataset, of_test: Sequence[str], fitted: Collection[str]) -> tuple[Path, ...]:
    """Return the test images that were fitted to: by where their paths lead, and by their pixels.

    ``of_test``: what :func:`digests` gave; ``fitted``: the digests of the images that were fitted to.
    """
    places = {os.path.realpath(sample.path) for sample in dataset.train}
    known = set(fitted)
    return tuple(
        sample.path
        for sample, digest in zip(dataset.test, of_test, strict=True)
        if digest in known or os.path.realpath(sample.path) in places
    )


def tell(dataset: Dataset, copies: Sequence[Path]) -> None:
    """Warn of test images that were fitted to."""
    if copies:
        warn(sentence(dataset, copies))


def sentence(dataset: Dataset, copies: Sequence[Path]) -> str:
    """Say that test images were fitted to, and what of it."""
    return (
        f"{dataset.name}: {len(copies)} of {counted(len(dataset.test), 'test image')} "
        f"{agreeing(len(copies), 'is', 'are')} pixel for pixel among those fitted to, such as {copies[0]}: a model "
        "scores what it was fitted to lower than new parts, so the figures are too good; remove the copies"
    )
