"""The bins of a histogram of scores, chosen by the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_FEWEST, _MOST = 8, 60


def bin_edges(
    values: npt.NDArray[Any], low: float | None = None, high: float | None = None
) -> npt.NDArray[Any]:
    """Return the edges of bins that are as wide as NumPy's rule "auto" finds: 8 to 60 of them.

    The rule takes the narrower of those by Freedman and Diaconis (1981), 2 IQR / n^(1/3), and by Sturges.
    ``low``, ``high``: where the bins begin and end, where not at the smallest and largest value.
    """
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    if not low < high:
        low, high = low - 0.5, high + 0.5
    width = float(np.diff(np.histogram_bin_edges(values, "auto")[:2])[0])
    count = (high - low) / width if width > 0 else _FEWEST
    return np.linspace(low, high, int(np.clip(np.ceil(count - 1e-6), _FEWEST, _MOST)) + 1)
