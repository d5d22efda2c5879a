"""Maps brought to the size of a picture, with NumPy alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from differnet.decision.verdict import Heat

_STRIP = 2**20  # pixels of a map that are worked on at a time
Numbers = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]


def enlarge(part: Numbers, shape: tuple[int, ...]) -> Heat:
    """Bring a map (h, w) bilinearly to (H, W), pixel centres on pixel centres, the rim continued.

    Two pixels count for each in either direction, first in the one that leaves less to do: what it takes goes by the
    pixels of the two maps.
    """
    (height, width), (found_height, found_width) = shape, part.shape
    if height * found_width <= found_height * width:
        enlarged: Heat = np.ascontiguousarray(_rows(_rows(part, height).T, width).T)
        return enlarged
    return _rows(_rows(part.T, width).T, height)


def _rows(part: Numbers, count: int) -> Heat:
    """Bring a map (h, w) to (count, w), some rows at a time."""
    low, high, rest = _taps(count, part.shape[0])
    found: Heat = np.empty((count, part.shape[1]), dtype=np.float32)
    step = max(1, _STRIP // part.shape[1])
    for start in range(0, count, step):
        some = slice(start, start + step)
        share = rest[some, None]
        found[some] = part[low[some]] * (1 - share) + part[high[some]] * share
    return found


def _taps(wanted: int, found: int) -> tuple[Places, Places, Numbers]:
    """Return of each of ``wanted`` pixels which two of ``found`` count for it, and how much the second does."""
    at = np.clip((np.arange(wanted) + 0.5) * (found / wanted) - 0.5, 0, found - 1)
    low = at.astype(np.intp)
    return low, np.minimum(low + 1, found - 1), (at - low).astype(np.float32)
