"""Freed memory goes back to the system: what a fit needs for a moment must not add up to its peak."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def give_back() -> None:
    """Collect garbage and return freed pages to the system, where the C library can (glibc's ``malloc_trim``).

    Without it the holes that large tables leave stay in the process, as do the leftovers of NNCF, which are larger
    than a bank of features.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
