"""Freed memory goes back to the system: what a fit needs for a moment must not add up to its peak."""

from __future__ import annotations

import contextlib
import ctypes
import gc

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's names of them begin with M_


def give_back() -> None:
    """Collect garbage and return freed pages to the system, where the C library can (glibc's ``malloc_trim``).

    Without it the holes that large tables leave stay in the process, as do the leftovers of NNCF, which are larger
    than a bank of features.
    """
    gc.collect()
    trim()


def trim() -> None:
    """Return freed pages alone, which takes a tenth of the time: what no cycle of references holds is freed at once."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # TypeError: on Windows
        ctypes.CDLL(None).malloc_trim(0)


def keep_large_tables_apart() -> None:
    """Map every block from 4 MiB on by itself, so that it goes back as soon as it is freed (glibc's ``mallopt``).

    By itself glibc learns from the first large image that is freed to keep such blocks, and a fit on images of 12
    megapixels then holds some hundred megabytes that nothing uses. Smaller blocks stay: once one limit is set glibc
    learns neither, and would return the end of the heap from 128 KiB on, to be asked for anew with every table. For
    programs; it changes the whole process.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # TypeError: on Windows
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 4 * 2**20)
        library.mallopt(_TRIM_THRESHOLD, 16 * 2**20)
