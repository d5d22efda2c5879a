"""The pages of a TIFF: which of them are pictures, which one is looked at, and that the others are not.

A page that is a smaller copy of another one (a thumbnail) or a mask of what is transparent is no picture of its own:
bits 0 and 2 of the tag NewSubfileType, or the value 2 of SubfileType (TIFF 6.0, section 8).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal, NamedTuple

from differnet.errors import ImageError, PagesWarning, agreeing, counted, warn

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NEW_KIND, _KIND, _INNER = 254, 255, 330
_TEXT, _DEPTH = 270, 32997
_REDUCED, _MASK = 1, 4
_MOST_TEXT = 2**16  # bytes of a description that are looked at
_PART = 2**20
_BEHIND_IT = {"JPEG": b"\xff\xd9\xff\xd8\xff", "PNG": b"IEND\xaeB`\x82\x89PNG\r\n", "GIF": b";GIF8"}
_MOST_TAGS = 256  # of a page that are looked at; they are sorted, and these come early
_MOST_PAGES = 10_000  # that are looked at to find the one that is shown


class Directory(NamedTuple):
    """A page by its number, the first being 1; whether it is a thumbnail or a mask, and whether it has pages inside.

    ``planes``: of a volume; ``samples``: of one plane; ``text``: where its description begins, and its bytes.
    """

    number: int
    is_lesser: bool
    has_inner: bool
    planes: int = 1
    samples: int = 0
    text: tuple[int, int] = (0, 0)


class Shown(NamedTuple):
    """The number of the page that a file shows, how many others are pictures as well, and whether more are lost.

    ``stacked``: how many pictures lie in that page, one behind the other.
    """

    number: int
    others: int
    breaks_off: bool = False
    stacked: int = 1


def shown_page(file: BinaryIO, name: str) -> Shown:
    """Return which page of a TIFF stands for it: the first that is no thumbnail. The place in the file stays.

    Raises :class:`ImageError` where there are only thumbnails and the pictures lie inside of pages, as in raw files of
    cameras.
    """
    at, found, whole, breaks_off = file.tell(), list[Directory](), list[int](), False
    try:
        for page in _pages(file):
            found.append(page)
            if not page.is_lesser:
                whole.append(page.number)
            if len(found) == _MOST_PAGES:
                break
    except ValueError:
        breaks_off = True  # what there is can be shown; asking for all pages is refused
    stacked = _stacked(file, found[whole[0] - 1]) if whole else 1
    file.seek(at)
    if not whole and any(page.has_inner for page in found):
        raise ImageError(
            f"{name}: has a thumbnail and its picture in a directory below (SubIFDs), as raw files of cameras have; "
            "save the picture as a TIFF, PNG or JPEG"
        )
    if not whole:
        whole = [page.number for page in found] or [1]
    return Shown(whole[0], len(whole) - 1, breaks_off, stacked if len(whole) == 1 else 1)


def _stacked(file: BinaryIO, page: Directory) -> int:
    """Return how many pictures a page holds: planes of a volume, or a stack that ImageJ or tifffile has described."""
    start, count = page.text
    text = ""
    if 0 < start < size_of(file):
        file.seek(start)
        text = file.read(min(count, _MOST_TEXT)).decode("latin-1")
    if text.startswith("ImageJ="):
        said = re.search(r"^images=(\d{1,9})\s*$", text, re.MULTILINE)
        return max(page.planes, int(said[1]) if said else 1)
    said = re.match(r'\{"shape": \[([\d, ]+)\]', text)
    all_samples = math.prod(int(one) for one in said[1].split(",") if one.strip()) if said else 0
    return max(page.planes, all_samples // page.samples if page.samples else 1)


def page_numbers(file: BinaryIO) -> list[int]:
    """Return the numbers of the pages of a TIFF that are pictures, or else of all of them; [1] for any other file.

    Raises :class:`ValueError` when the chain of pages breaks off, or comes back to where it was: there were more.
    """
    found = list(_pages(file))
    whole = [page.number for page in found if not page.is_lesser]
    return whole or [page.number for page in found] or [1]


def tell_of_others(name: str, shown: Shown) -> None:
    """Warn that a file has pages that are not looked at, or that are lost."""
    if shown.others:
        verb = agreeing(shown.others, "is", "are")
        warn(
            f"{name}: page {shown.number} is looked at, and {counted(shown.others, 'more page')} of it {verb} not; "
            "--all-pages (score, fit, calibrate) takes all of them",
            PagesWarning,
        )
    if shown.stacked > 1:
        warn(
            f"{name}: holds {shown.stacked} pictures in one page, as ImageJ's stacks and volumes do; the first is "
            "looked at, and the others are not: save them as pages, or as files of their own",
            PagesWarning,
        )
    if shown.breaks_off:
        warn(
            f"{name}: page {shown.number} is looked at, and behind it the list of pages breaks off: there were more, "
            "and the file is cut off or damaged",
            PagesWarning,
        )


def tell_of_frames(image: Any, file: BinaryIO, kind: str, name: str) -> None:
    """Warn that an animation, or a file of several pictures, has more of them than the first, which was read."""
    try:
        has_more = bool(getattr(image, "is_animated", False)) or _has_another(file, kind)
    except Exception:  # of the first picture nothing is wrong
        return
    if has_more:
        warn(
            f"{name}: is an animation or has several pictures; the first is looked at, and the others are not: save "
            "them as files of their own",
            PagesWarning,
        )


def _has_another(file: BinaryIO, kind: str) -> bool:
    """Whether a second file stands right behind the end of the first, as in streams of frames."""
    mark, before = _BEHIND_IT.get(kind), b""
    file.seek(0)
    while mark and (part := file.read(_PART)):
        if mark in before + part:
            return True
        before = part[-len(mark) :]
    return False


def _pages(file: BinaryIO) -> Iterator[Directory]:
    """Yield the pages by the chain of their directories; none for what is no TIFF."""
    file.seek(0)
    head, size = file.read(16), size_of(file)
    if not head.startswith(MAGIC):
        return
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    is_big = head[2:4] in (b"+\0", b"\0+")
    wide, counter, entry = (8, 8, 20) if is_big else (4, 2, 12)
    at, seen = int.from_bytes(head[8:16] if is_big else head[4:8], order), set[int]()
    while at:
        file.seek(at)
        entries = int.from_bytes(file.read(counter), order)
        end = at + counter + entry * entries
        if at in seen or end + wide > size:
            raise ValueError(f"its directories break off after page {len(seen)}")
        seen.add(at)
        tags = file.read(entry * min(entries, _MOST_TAGS))
        yield _page(len(seen), tags, entry, order)
        file.seek(end)
        at = int.from_bytes(file.read(wide), order)


def _page(number: int, tags: bytes, entry: int, order: Literal["little", "big"]) -> Directory:
    """Read the tags of a page; of a number that stands elsewhere, the place of it."""
    values, counts, wide = {}, {}, entry == 20
    for start in range(0, len(tags), entry):
        kind = int.from_bytes(tags[start + 2 : start + 4], order)
        place = start + (12 if entry == 20 else 8)
        tag = int.from_bytes(tags[start : start + 2], order)
        size = 2 if kind == 3 else 8 if wide and kind != 4 else 4
        values[tag] = int.from_bytes(tags[place : place + size], order)
        counts[tag] = int.from_bytes(tags[start + 4 : place], order)
    lesser = bool(values.get(_NEW_KIND, 0) & (_REDUCED | _MASK)) or values.get(_KIND) == 2
    samples = values.get(256, 0) * values.get(257, 0) * values.get(277, 1)
    text = values.get(_TEXT, 0), counts.get(_TEXT, 0)
    return Directory(number, lesser, _INNER in values, values.get(_DEPTH, 1), samples, text)


def size_of(file: BinaryIO) -> int:
    """Return how many bytes there are; the place in the file stays."""
    at = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(at)
    return size
