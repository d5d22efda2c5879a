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
from differnet.errors import agreeing, counted, warn


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
        warn(
            f"{dataset.name}: {len(copies)} of {counted(len(dataset.test), 'test image')} "
            f"{agreeing(len(copies), 'is', 'are')} pixel for pixel among those fitted to, such as {copies[0]}: a model "
            "scores what it was fitted to lower than new parts, so the figures are too good; remove the copies"
        )
