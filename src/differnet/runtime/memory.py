"""Freed memory goes back to the system: what a fit needs for a moment must not add up to its peak."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # this is imported before anything that takes time
    import numpy.typing as npt

_MMAP_THRESHOLD = -3  # glibc's name of it: M_MMAP_THRESHOLD
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


def give_back() -> None:
    """Collect garbage and return freed pages to the system, where the C library can (glibc's ``malloc_trim``).

    Without it the holes that large tables leave stay in the process, as do the leftovers of NNCF, which are larger
    than a bank of features.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # TypeError: on Windows
        ctypes.CDLL(None).malloc_trim(0)


def keep_large_tables_apart() -> None:
    """Map every block from 4 MiB on by itself, so that it goes back as soon as it is freed (glibc's ``mallopt``).

    By itself glibc learns from the first large image that is freed to keep such blocks, and a fit on images of 12
    megapixels then holds some hundred megabytes that nothing uses. For programs; it changes the whole process.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # TypeError: on Windows
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 4 * 2**20)
