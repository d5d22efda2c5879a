"""What names and files say of which images belong together: counters in stems, folders, the time of taking."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import Image

_NUMBERS = re.compile(r"(\d+)")
_EXIF, _TAKEN, _CHANGED = (
    0x8769,
    0x9003,
    0x0132,
)  # the EXIF folder, DateTimeOriginal in it, DateTime beside it
_LONG = 5.0  # times the median gap ends a burst


@dataclass(frozen=True)
class Partition:
    """A way to put images into groups: the ``labels`` (N,), and ``by`` what.

    ``is_plain``: members repeat from group to group (part07-1, part07-2, part08-1, ...), which says by itself that
    the rest of the name is what they have in common; else the pictures have to bear it out. ``of_parts``: what
    they bear it out by: the same texture, which only one part has, and not by the same light.
    """

    labels: tuple[str, ...]
    by: str
    is_plain: bool = False
    of_parts: bool = False


def tokens(name: str) -> tuple[str, ...]:
    """Return text and numbers of a name in turns.

    >>> tokens("part07-2")
    ('part', '07', '-', '2', '')
    """
    return tuple(_NUMBERS.split(name))


def in_order(paths: Sequence[Path | None]) -> list[int]:
    """Return the positions of images in the order of their names, numbers counted; those without one stay."""
    if any(path is None for path in paths):
        return list(range(len(paths)))
    keys = [_sortable(path) for path in paths if path is not None]
    return sorted(range(len(paths)), key=lambda index: keys[index])


def _sortable(path: Path) -> tuple[tuple[tuple[int, str], ...], ...]:
    def key(text: str) -> tuple[tuple[int, str], ...]:
        return tuple((int(one), "") if one.isdecimal() else (-1, one) for one in tokens(text))

    return (key(str(path.parent)), key(path.stem), key(path.name))


def partitions(paths: Sequence[Path | None]) -> list[Partition]:
    """Return the ways in which names and the times of taking put images into groups, the likeliest first."""
    known = [path for path in paths if path is not None]
    if len(known) < len(paths):
        return []
    found = [*_by_file(known), *_by_folder(known), *_by_stem(known), *_by_time(known)]
    return [one for one in found if 1 < len(set(one.labels)) < len(one.labels)]


def _by_file(paths: Sequence[Path]) -> list[Partition]:
    return [Partition(tuple(map(str, paths)), "file, of which they are pages", is_plain=True)]


def _by_folder(paths: Sequence[Path]) -> list[Partition]:
    folders = tuple(str(path.parent) for path in paths)
    return [Partition(folders, "folder")]


def _by_stem(paths: Sequence[Path]) -> list[Partition]:
    """List the groups by the beginning of a stem up to each part of it that varies, the longest first, then others."""
    split = [tokens(path.stem) for path in paths]
    if len({len(one) for one in split}) != 1:
        return []
    columns = list(zip(*split, strict=True))
    varying = [place for place, column in enumerate(columns) if len(set(column)) > 1]
    folders = [str(path.parent) for path in paths]
    found = []
    for place in reversed(varying[:-1]):
        labels = tuple(
            "\0".join((folder, *one[: place + 1])) for folder, one in zip(folders, split, strict=True)
        )
        members = ["\0".join(one[place + 1 :]) for one in split]
        found.append(Partition(labels, "name", _repeats(labels, members)))
    if len(varying) > 1:
        ends = tuple("\0".join(one[varying[0] + 1 :]) for one in split)
        found.append(Partition(ends, "name", of_parts=True))
    return found


def _repeats(labels: Sequence[str], members: Sequence[str]) -> bool:
    """Whether most images have a number within their group that other groups use, too."""
    used = Counter(members)
    shared = sum(used[one] > 1 for one in members)
    return shared >= 0.8 * len(members) and len(set(labels)) <= len(labels) / 1.5


def _by_time(paths: Sequence[Path]) -> list[Partition]:
    """Group pictures that were taken in one go, by the time that the camera wrote into them (EXIF).

    The date of a file is not used: copying the file changes it, and the same pictures should give the same model.
    """
    taken = [time_of(path) for path in paths]
    times = [one for one in taken if one is not None]
    if len(times) < len(paths) or len(set(times)) < 2:
        return []
    seconds = np.array([(one - times[0]).total_seconds() for one in times])
    order = np.argsort(seconds, kind="stable")
    gaps = np.diff(seconds[order])
    breaks = gaps > max(_LONG * float(np.median(gaps)), 1.0)
    bursts = np.concatenate(([0], np.cumsum(breaks)))
    labels = [""] * len(paths)
    for index, burst in zip(order, bursts, strict=True):
        labels[int(index)] = f"burst {burst}"
    return [Partition(tuple(labels), "time of taking")]


def time_of(path: Path) -> datetime | None:
    """Return when the camera says that it took a picture, or nothing."""
    try:
        with Image.open(path) as image:
            exif = image.getexif()
            said = exif.get_ifd(_EXIF).get(_TAKEN) or exif.get(_CHANGED)
        return None if said is None else datetime.strptime(str(said).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, Image.DecompressionBombError):
        return None
