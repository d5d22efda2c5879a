"""Tables in files that are mapped into memory: their pages stay with the system and do not add up in the process."""

from __future__ import annotations

import contextlib
import mmap
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy.typing as npt

_OFTEN = 4  # steps that read a mapped file between two times that its pages are let go
_mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
Item = TypeVar("Item")


def keep_on_disk(table: npt.NDArray[Any]) -> None:
    """Have :func:`let_go` take the pages of a table in a mapped file out of the process, and map small pages alone."""
    mapped = table.base
    if not isinstance(mapped, mmap.mmap):
        raise TypeError(f"a table in {type(mapped).__name__}, where a mapped file was wanted")
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages
            mapped.madvise(mmap.MADV_NOHUGEPAGE)
    _mapped.add(mapped)


def let_go() -> None:
    """Take the pages of mapped files out of the process; they stay in the system's cache, or come from the file."""
    for one in list(_mapped) if hasattr(mmap, "MADV_DONTNEED") else ():
        with contextlib.suppress(ValueError):  # closed meanwhile
            one.madvise(mmap.MADV_DONTNEED)


def letting_go(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items whose making reads or fills mapped files, whose pages do not add up."""
    for number, item in enumerate(items, 1):
        yield item
        if number % _OFTEN == 0:
            let_go()
