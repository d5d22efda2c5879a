"""What is to be seen in good pictures before a fit: copies, sisters, and those that are unlike the others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from differnet.data.sisters.find import Grouping, find
from differnet.studio.pictures import Picture, Seen, thumbnails_of

_MOST_ARE = 0.7  # of the pictures have a property, so that the others are odd
_FAR = 6.0  # robust standard deviations from the median, from which light is odd
_FEWEST = 8  # pictures, of fewer there is no median to be far from
_LEAST_BRIGHTNESS, _LEAST_SHARPNESS = 12.0, 0.7  # grey levels, and of a natural logarithm


@dataclass(frozen=True)
class Findings:
    """What was found in ``count`` readable pictures.

    ``sizes``: how many there are of each (width, height), the most frequent first. ``copy_of``: of each copy, pixel for
    pixel, the first picture that shows the same. ``sisters``: the number of the group of each picture that belongs
    together with others. ``odd``: of each picture that is unlike the others in what: "size", "colour", "depth",
    "brightness", "sharpness". ``told``: of sisters, in words.
    """

    count: int
    sizes: tuple[tuple[int, int, int], ...] = ()
    copy_of: dict[str, str] = field(default_factory=dict)
    sisters: dict[str, int] = field(default_factory=dict)
    odd: dict[str, tuple[str, ...]] = field(default_factory=dict)
    told: str = ""


def findings_of(pictures: Sequence[Picture], seed: int = 0) -> Findings:
    """Return what is found in those that could be read."""
    read = [one for one in pictures if one.seen is not None]
    if not read:
        return Findings(0)
    looks = [one.seen for one in read if one.seen is not None]
    sizes = Counter((seen.width, seen.height) for seen in looks)
    grouping = find(thumbnails_of(read), [seen.digest for seen in looks], [one.path for one in read], seed)
    return Findings(
        count=len(read),
        sizes=tuple((*size, count) for size, count in sizes.most_common()),
        copy_of=_copies(read),
        sisters=_sisters(read, grouping),
        odd=_odd(read, looks),
        told=str(grouping.summary) if len(read) > 1 else "",
    )


def _copies(read: Sequence[Picture]) -> dict[str, str]:
    first: dict[str, str] = {}
    found = {}
    for one in read:
        digest = one.seen.digest if one.seen else ""
        original = first.setdefault(digest, one.id)
        if original != one.id:
            found[one.id] = original
    return found


def _sisters(read: Sequence[Picture], grouping: Grouping) -> dict[str, int]:
    sizes = Counter(grouping.labels)
    numbers: dict[str, int] = {}
    together = [(one, label) for one, label in zip(read, grouping.labels, strict=True) if sizes[label] > 1]
    return {one.id: numbers.setdefault(label, len(numbers) + 1) for one, label in together}


def _odd(read: Sequence[Picture], looks: Sequence[Seen]) -> dict[str, tuple[str, ...]]:
    apart = {
        "size": _other_than_most(looks, lambda seen: (seen.width, seen.height)),
        "colour": _other_than_most(looks, lambda seen: seen.is_grey),
        "depth": _other_than_most(looks, lambda seen: seen.is_deep),
        "brightness": _far([seen.light.brightness for seen in looks], _LEAST_BRIGHTNESS),
        "sharpness": _far([math.log(max(seen.light.sharpness, 1e-9)) for seen in looks], _LEAST_SHARPNESS),
    }
    found = {}
    for index, one in enumerate(read):
        reasons = tuple(name for name, is_odd in apart.items() if is_odd[index])
        if reasons:
            found[one.id] = reasons
    return found


def _other_than_most(looks: Sequence[Seen], of: Callable[[Seen], object]) -> list[bool]:
    values = [of(seen) for seen in looks]
    usual, count = Counter(values).most_common(1)[0]
    if count < _MOST_ARE * len(values):
        return [False] * len(values)
    return [value != usual for value in values]


def _far(values: Sequence[float], least: float) -> list[bool]:
    """Return which values are far from their median, by deviations and by the ``least`` that would matter."""
    if len(values) < _FEWEST:
        return [False] * len(values)
    table = np.array(values)
    gap = np.abs(table - np.median(table))
    scale = 1.4826 * float(np.median(gap))
    return [bool(one > max(_FAR * scale, least)) for one in gap]
