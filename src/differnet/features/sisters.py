"""Which images of a fit belong together: as they were given, or as they are found to be."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from contextlib import closing
from itertools import accumulate
from pathlib import Path

import numpy as np

from differnet.config import sections
from differnet.data.sisters import find
from differnet.data.sisters.thumbnails import SIDE
from differnet.data.stream import LookAhead, Progress
from differnet.features.backbone.torch_runtime import count_lanes
from differnet.features.look import Given, Look

KEPT = 2 * 2**30  # bytes of squares that are kept for later; the other images are decoded once more


def together(
    images: Sequence[Look],
    groups: Sequence[Hashable] | None,
    decision: sections.Decision,
    seed: int,
    progress: Progress,
) -> Given:
    """Return images with the groups that were given, or else with those that are found, if ``decision`` wants it."""
    if groups is not None or decision.sisters == "ignore" or len(images) < 2:
        return Given(images, groups)
    found = grouping_of(images, seed, progress)
    return Given(images, found.groups, found.summary)


def grouping_of(images: Sequence[Look], seed: int, progress: Progress) -> find.Grouping:
    """Return which images belong together, by what they show and by their names."""
    thumbnails = np.empty((len(images), SIDE, SIDE, 3), np.uint8)
    digests: list[str] = []
    count = count_lanes()
    kept = (size <= KEPT for size in accumulate(image.size for image in images))
    given = zip(images, kept, strict=True)
    with closing(LookAhead(lambda one: one[0].glance(keep=one[1]), given, 2 * count, count)) as ahead:
        while found := ahead.take():
            (image, _), seen = found[0]
            thumbnails[len(digests)] = image.thumbnail
            digests.append(seen.digest)
            progress("looking for images that belong together", len(digests), len(images))
    return find.find(thumbnails, digests, [_path(image) for image in images], seed)


def _path(image: Look) -> Path | None:
    source = image.image
    return Path(source) if isinstance(source, (str, os.PathLike)) else None
