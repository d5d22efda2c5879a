"""How several readings of a view become one score: the geometric mean of latent norms and distances among latents.

Both come in units of half the number of features, so that those of different flows cannot be added up. Their
geometric mean needs no scale of its own: with R readings

    score = (L_1 L_2 ... L_R)^(1/R),   L_r = ||z_r||^2 / 2, or how far z_r is from good ones,

which orders images as the sum of logarithms does. Of one reading it is that reading's norm, to the bit.
docs/decisions.md compares it with sums that are standardised by good images, and with maxima. In NumPy alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from differnet.decision.calibration import ViewScores

Norms = npt.NDArray[np.float64]


def view_scores(groups: Iterable[Norms]) -> Iterator[ViewScores]:
    """Turn the readings (T, V, R) of the views of an image, some at a time, into the score of each view (V,).

    Of T tiles the most anomalous one counts.
    """
    for norms in groups:
        scores: ViewScores = geometric_mean(norms).max(axis=0)
        yield scores


def geometric_mean(norms: Norms) -> Norms:
    """Return the geometric mean over the last axis.

    >>> geometric_mean(np.array([[1.0, 4.0], [4.0, 9.0]])).round(12).tolist()
    [2.0, 6.0]
    """
    if norms.shape[-1] == 1:
        return norms[..., 0]
    mean: Norms = np.exp(np.log(np.maximum(norms, np.finfo(np.float64).tiny)).mean(axis=-1))
    return mean
