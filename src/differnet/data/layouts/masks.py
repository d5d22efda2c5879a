"""Which pictures of a folder are masks, and of which images: a mask is no part, and not to be counted as one.

A picture is taken for a mask when its content is that of one, few colours or black and white, and something else says
so too: its name or that of a folder it lies in (``00_mask.png``, ``masks/``, ``ground_truth/``), an image of the same
name with another suffix beside it (``00.jpg``, ``00.png``), or that all pictures of its folder have two values where
those of another have many. Where the parts themselves are black and white, nothing is taken for a mask.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from differnet.data.images import Pixels, load, shape_of
from differnet.errors import ImageError, agreeing, counted, warn

_WORDS = r"masks?|maske|masken|ground[ _-]?truths?|gt|labels?|annotations?|annos?|segmentations?|segs?"
_NAMED = re.compile(rf"(?:(?<![a-z])(?:{_WORDS})(?![a-z]))", re.IGNORECASE)
_JOINTS = " _-."
_FEW = 8  # colours: masks of several kinds of defect have some
_NEAR = 24  # grey levels from black and white, for masks that were saved as JPEG
_SHARE = 0.98
_MOST_FOLDERS = 200  # that are looked into for pictures of two values
_SAMPLE = 3  # pictures of a folder by which it is judged


@dataclass(frozen=True)
class Mask:
    """The mask of an image, and from which brightness on a pixel of it counts."""

    path: Path
    level: int


@dataclass
class Sorted:
    """The images of a folder, the masks of some of them, the masks of none, and what is only named like a mask."""

    images: list[Path]
    masks: dict[Path, Mask] = field(default_factory=dict)
    unpaired: list[Path] = field(default_factory=list)
    misnamed: list[Path] = field(default_factory=list)


def without_masks(paths: Sequence[Path], root: Path, good: Collection[Path] = ()) -> Sorted:
    """Part the pictures below ``root`` into images and masks, and say what was taken for a mask.

    ``good``: those that are no defective parts, whose defects no mask can show unless its folder says so.
    """
    found = _parted(paths, root)
    if not found.unpaired:
        _say(found, root)
        return found
    _pair(found, root, set(good))
    _say(found, root)
    return found


def is_mask(pixels: Pixels) -> bool:
    """Whether pixels (H, W, 3) are those of a mask: a few colours, or black and white as JPEG keeps them."""
    few = _colours(pixels, _FEW + 1)
    if few <= _FEW:
        return True
    edges = (pixels <= _NEAR) | (pixels >= 255 - _NEAR)
    is_grey = (pixels.max(axis=2).astype(int) - pixels.min(axis=2)) <= _NEAR
    return bool((edges.all(axis=2) & is_grey).mean() >= _SHARE and (pixels >= 255 - _NEAR).any())


def is_mask_file(path: Path) -> bool:
    """Whether a file can be read and has the content of a mask."""
    try:
        return is_mask(load(path))
    except ImageError:  # which is said where it is judged
        return False


def own_stem(path: Path) -> str:
    """Return the name of a mask's image: its own, without suffix and the words that name it a mask.

    >>> own_stem(Path("07_mask.png")), own_stem(Path("gt-07.png")), own_stem(Path("07.png"))
    ('07', '07', '07')
    """
    return _NAMED.sub("", path.stem.lower()).strip(_JOINTS) or path.stem.lower()


def _parted(paths: Sequence[Path], root: Path) -> Sorted:
    """Tell masks from images, nothing paired yet."""
    named = [path for path in paths if any(map(_NAMED.search, _parts(path, root)))]
    suspects = {*named, *_twins(paths)}
    rest = [path for path in paths if path not in suspects]
    if not suspects:
        masks = set(_by_content(rest, root))
        return Sorted([path for path in paths if path not in masks], unpaired=sorted(masks))
    masks = {path for path in suspects if is_mask_file(path)}
    others = [path for path in paths if path not in masks]
    reference = (rest or others)[:: max(1, len(rest or others) // _SAMPLE)][:_SAMPLE]
    if not others or (
        reference and all(map(is_mask_file, reference))
    ):  # the parts are black and white themselves
        return Sorted(list(paths), misnamed=named)
    masks |= set(_by_content([path for path in rest if path not in masks], root))
    misnamed = [path for path in named if path not in masks and _NAMED.search(path.stem)]
    return Sorted([path for path in paths if path not in masks], unpaired=sorted(masks), misnamed=misnamed)


def _twins(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the pictures beside which there is one of the same name with another suffix."""
    by_stem = defaultdict(list)
    for path in paths:
        by_stem[path.with_suffix("")].append(path)
    for some in by_stem.values():
        if len(some) > 1:
            yield from some


def _by_content(paths: Sequence[Path], root: Path) -> Iterator[Path]:
    """Yield the pictures of folders in which all have two values, where some other folder's have many."""
    folders = defaultdict(list)
    for path in paths:
        folders[path.relative_to(root).parts[:-1]].append(path)
    if not 2 <= len(folders) <= _MOST_FOLDERS:
        return
    binary = {name for name, some in folders.items() if all(_has_two_values(path) for path in some[:_SAMPLE])}
    if len(binary) == len(folders):
        return
    for name in binary:
        yield from (path for path in folders[name] if _has_two_values(path))


def _has_two_values(path: Path) -> bool:
    try:
        return _colours(load(path), 3) == 2
    except ImageError:
        return False


def _colours(pixels: Pixels, most: int) -> int:
    """Return how many colours there are, ``most`` for so many or more."""
    packed = pixels.reshape(-1, 3).astype(np.uint32) @ np.array([1, 256, 65536], np.uint32)
    if len(np.unique(packed[:: max(1, len(packed) // 4096)])) >= most:
        return most
    return min(len(np.unique(packed)), most)


def _parts(path: Path, root: Path) -> tuple[str, ...]:
    """Return the folders from ``root`` on, and the name without its suffix."""
    inner = path.relative_to(root)
    return (*inner.parts[:-1], inner.stem)


def _place(path: Path, root: Path) -> tuple[str, ...]:
    """Return the folders from ``root`` on without the words that name masks: where the image would lie."""
    names = (_NAMED.sub("", name.lower()).strip(_JOINTS) for name in path.relative_to(root).parts[:-1])
    return tuple(name for name in names if name)


def _pair(found: Sorted, root: Path, good: set[Path]) -> None:
    """Give each mask to the one image that it can be of: of its name, and of its place or the only one."""
    by_stem = defaultdict(list)
    for path in found.images:
        by_stem[path.stem.lower()].append(path)
    left = []
    for mask in found.unpaired:
        of_name = by_stem[own_stem(mask)] or by_stem[mask.stem.lower()]
        here = [path for path in of_name if path.parent == mask.parent]
        of_place = [path for path in of_name if _place(path, root) == _place(mask, root)]
        bad = [path for path in of_name if path not in good]
        owners = next((some for some in (here, of_place, bad) if some), [])
        is_only = len(owners) == 1 and owners[0] not in found.masks
        if is_only and shape_of(owners[0]) == shape_of(mask):
            found.masks[owners[0]] = Mask(mask, _level(mask))
        else:
            left.append(mask)
    found.unpaired = left


def _level(path: Path) -> int:
    """Return from which brightness on a pixel counts: 1 where the brightest is below 128, as in masks of 0 and 1."""
    return 1 if 0 < int(load(path).max()) < 128 else 128


def _say(found: Sorted, root: Path) -> None:
    used = [mask.path for mask in found.masks.values()]
    every = sorted([*used, *found.unpaired])
    if every:
        count = len(every)
        verb = agreeing(count, "is a mask and no part", "are masks and no parts")
        text = f"{root}: {counted(count, 'file')} {verb}, such as {every[0].relative_to(root)}"
        if used:
            text += (
                f"; {len(used)} of them {agreeing(len(used), 'shows', 'show')} the defects of an image here"
            )
        if found.unpaired:
            rest = len(found.unpaired)
            text += (
                f"; {rest} {agreeing(rest, 'is', 'are')} left out, since no image of that name and size can be told, "
                f"such as {found.unpaired[0].relative_to(root)}"
            )
        warn(text)
    if found.misnamed:
        count = len(found.misnamed)
        verb = agreeing(count, "is named like a mask and has", "are named like masks and have")
        warn(
            f"{root}: {counted(count, 'file')} {verb} the content of a picture, so counted as one, such as "
            f"{found.misnamed[0].relative_to(root)}"
        )
