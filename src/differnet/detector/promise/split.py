"""Which good images are fitted to and which set the threshold: images that belong together stay on one side."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from differnet.config import sections
from differnet.data.groups import folds_of, hold_out
from differnet.data.stream import Progress
from differnet.decision import thresholds
from differnet.errors import ConfigError, counted
from differnet.features.look import Given, Look, Shown
from differnet.features.sisters import together


class Split(NamedTuple):
    """Images to fit to, at the positions ``chosen``, and those ``held`` out."""

    fitted: Given
    held: Given
    chosen: list[int]


def divide(
    images: Sequence[Look],
    groups: Sequence[Hashable] | None,
    decision: sections.Decision,
    seed: int,
    progress: Progress,
    is_open: bool,
) -> Split:
    """Split images as :func:`split` does, by the groups that were given, or else by those that are found in them.

    ``is_open``: whether something is found out from the images, for which some are held out as well. Where no image is
    held out for anything, none is looked for.
    """
    chosen, held = split(images, groups, decision, seed)  # refuses at once what cannot be
    given = Given(images, groups)
    if decision.is_calibrated or is_open:
        given = together(images, groups, decision, seed, progress)
        if given.found is not None and given.groups is not None:
            chosen, held = split(images, given.groups, decision, seed, is_found=True)
    return Split(part(given, chosen), part(given, held), chosen)


def split(
    images: Sequence[Shown],
    groups: Sequence[Hashable] | None,
    decision: sections.Decision,
    seed: int,
    is_found: bool = False,
) -> tuple[list[int], list[int]]:
    """Return the positions of images to fit to and of those held out, whole groups together.

    ``is_found``: nobody asked for these groups, so fewer of them than folds are no error (:func:`folds_for`). Raises
    :class:`ConfigError` for no images, too few groups, groups that do not go with the images, fewer held out than the
    wanted confidence needs, and a confidence for cross-fitted scores.
    """
    if groups is not None and len(groups) != len(images):
        raise ConfigError(f"{len(groups)} groups for {len(images)} images; one each is needed")
    if not images:
        raise ConfigError("no images were given; good images are needed to fit")
    names = range(len(images)) if groups is None else groups
    if decision.folds:
        thresholds.check_count(len(images), decision.rate, decision.confidence, decision.folds)
        folds_of(names, folds_for(groups if is_found else None, decision.folds), seed)
    if not decision.holdout or decision.folds:
        return list(range(len(images))), []
    chosen, held = hold_out(names, decision.holdout, seed)
    thresholds.check_count(len(held), decision.rate, decision.confidence)
    return chosen, held


def folds_for(found: Sequence[Hashable] | None, folds: int) -> int:
    """Return how many folds there are: no more than groups, where these were ``found`` and not given."""
    return folds if found is None else min(folds, len(set(found)))


def part(given: Given, chosen: Sequence[int]) -> Given:
    """Return some of the images, with their groups and what was found in all of them."""
    groups = None if given.groups is None else [given.groups[i] for i in chosen]
    return Given([given.images[i] for i in chosen], groups, given.found)


def check_blind(held: Sequence[Look], looked_at: frozenset[str]) -> None:
    """Refuse to hold out images that took part in finding out what to look at: :class:`ConfigError`.

    ``looked_at``: the digests of those.
    """
    known = [image for image in held if looked_at and image.glance(keep=True).digest in looked_at]
    if known:
        raise ConfigError(
            f"{len(known)} of {counted(len(held), 'held-out image')} took part in finding out what to look at, such as "
            f"{known[0]}: the threshold that they set would promise too much; prepare and fit with the same images, "
            "seed and holdout, which keeps them apart, or fit alone"
        )
