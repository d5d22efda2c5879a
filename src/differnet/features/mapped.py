"""Tables in files that are mapped into memory: their pages stay with the system and do not add up in the process."""

from __future__ import annotations

import contextlib
import mmap
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy.typing as npt

_mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
_KEPT = 32 * 2**20  # bytes that may stay mapped: to take them out costs as much as to map some hundred parts
BLOCK = 64 * 2**10  # bytes that Linux maps around a page that is touched
Item = TypeVar("Item")


def keep_on_disk(table: npt.NDArray[Any]) -> None:
    """Have :func:`let_go` take the pages of a table in a mapped file out of the process, and map small pages alone.

    Read ahead, Linux keeps pages in blocks of up to 2 MB, and maps a whole block (from 6.18 on) for a part of a row.
    """
    mapped = table.base
    if not isinstance(mapped, mmap.mmap):
        raise TypeError(f"a table in {type(mapped).__name__}, where a mapped file was wanted")
    for advice in ("MADV_NOHUGEPAGE", "MADV_RANDOM"):
        if hasattr(mmap, advice):
            with contextlib.suppress(OSError):  # a kernel without huge pages
                mapped.madvise(getattr(mmap, advice))
    _mapped.add(mapped)


def let_go() -> None:
    """Take the pages of mapped files out of the process; they stay in the system's cache, or come from the file."""
    for one in list(_mapped) if hasattr(mmap, "MADV_DONTNEED") else ():
        with contextlib.suppress(ValueError):  # closed meanwhile
            one.madvise(mmap.MADV_DONTNEED)


def letting_go(items: Iterable[Item], size: int = _KEPT) -> Iterator[Item]:
    """Yield items whose making reads mapped files, or whose use fills them, letting pages go in between.

    ``size``: bytes that an item maps, about. Pages of all files go after items of some 32 MB, after each where its
    size is not given, and at the end, also where not all items are taken.
    """
    mapped = 0
    try:
        for item in items:
            mapped += size
            if mapped >= _KEPT:
                let_go()
                mapped = 0
            yield item
    finally:
        let_go()
