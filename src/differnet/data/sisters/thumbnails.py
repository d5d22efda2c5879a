"""Pictures in small, and how alike they are: in their fine texture, which only one part has, and in their light."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from differnet.data.pixels import Pixels

Table = npt.NDArray[np.float32]
Thumbnail = npt.NDArray[np.uint8]

SIDE = 64
ALIKE = 0.5  # whitened correlation from which two pictures show the same part
_LEAST_ALIKE = 0.35
_FAR, _FAR_PLAIN = 4.0, 3.0  # times the correlation with the tenth nearest
_DARK = 8.0  # grey levels added before the logarithm, so that noise in the dark counts little
_SHIFT = 3  # pixels of a thumbnail, a twentieth of the picture
_NEIGHBOURS = 10  # of each image, whose correlation is looked at more closely
_MOST_WHITENED = 1000  # images from which the common variation is learned
_LEAST_VARIED = 1e-4  # of what each direction would have, were all the same: less counts as much as before
_MOST_COMPARED = 1500  # images, each with each
_COARSE = 8
_AT_A_TIME = 500  # images that are in floats
_MOVED = 16  # images whose shifted pictures are in memory


def thumbnail(pixels: Pixels) -> Thumbnail:
    """Return the picture (H, W, 3) in small: (64, 64, 3)."""
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(small, dtype=np.uint8)


def layouts(thumbnails: npt.NDArray[np.uint8]) -> Table:
    """Return unit vectors (N, 192) of how light and colour lie in each of (N, 64, 64, 3), beside the mean picture."""
    side = SIDE // _COARSE

    def averages(some: npt.NDArray[np.uint8]) -> Table:
        split = some.astype(np.float32).reshape(-1, _COARSE, side, _COARSE, side, 3)
        return np.asarray(split.mean(axis=(2, 4)))

    blocks = _by_parts(thumbnails, averages)
    rows = np.log(blocks + _DARK).reshape(len(blocks), -1)
    rows = rows - rows.mean(axis=0)
    return _unit(rows / np.maximum(rows.std(axis=0), 0.02))


def textures(thumbnails: npt.NDArray[np.uint8]) -> Table:
    """Return unit vectors (N, D) of the fine texture of each of (N, 64, 64, 3), whitened."""
    return _Texture(_grey(thumbnails), blur=3.0, shift=0).rows


def near_copies(thumbnails: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Return the pairs of (N, 64, 64, 3) that show the same part: exposures, pictures shifted by a little, copies.

    Two pictures do where their fine texture agrees after what varies in many pictures was made to count little
    (whitening): aligned parts look alike all over, but do not share scratches, grain and dust. It agrees where its
    correlation, at the best of all shifts by up to a twentieth of the picture, is 0.5, or 0.35 and four times that with
    the tenth nearest picture: parts that lie alike by chance have many that are about as near. Without whitening, which
    takes the texture of few parts for what varies in all, 0.5 and three times that of the tenth is agreement as well.
    Of more than 1,500 images each is compared with the others of its 1,500.
    """
    if len(thumbnails) > _MOST_COMPARED:
        starts = range(0, len(thumbnails), _MOST_COMPARED)
        parts = [(start, near_copies(thumbnails[start : start + _MOST_COMPARED])) for start in starts]
        return [(start + i, start + j) for start, pairs in parts for i, j in pairs]
    if len(thumbnails) < 2:
        return []
    grey = _grey(thumbnails)
    whitened, plain = _nearest(grey, True), _nearest(grey, False)
    apart = whitened.scores >= np.maximum(_LEAST_ALIKE, _FAR * whitened.tenth)
    found = [
        whitened.pairs[(whitened.scores >= ALIKE) | apart],
        plain.pairs[plain.scores >= np.maximum(ALIKE, _FAR_PLAIN * plain.tenth)],
    ]
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    return [(int(i), int(j)) for i, j in pairs]


class _Nearest(NamedTuple):
    """Pairs (P, 2) of images with their ten nearest, their correlations (P,), and the larger of that with the tenth."""

    pairs: npt.NDArray[np.intp]
    scores: Table
    tenth: Table


def _nearest(grey: Table, whiten: bool) -> _Nearest:
    """Compare each picture with the ten that are most like it at half the size."""
    halves = grey.reshape(len(grey), SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4))
    pairs = _candidates(_Texture(halves, blur=2.0, shift=_SHIFT - 1, whiten=whiten))
    scores = _Texture(grey, blur=3.0, shift=_SHIFT, whiten=whiten).of_pairs(pairs)
    tenth = scores.reshape(len(grey), -1).min(axis=1)
    return _Nearest(pairs, scores, tenth[pairs].max(axis=1))


def _grey(thumbnails: npt.NDArray[np.uint8]) -> Table:
    """Return the logarithm of how bright pixels are: (N, 64, 64)."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return _by_parts(thumbnails, lambda some: np.log(some.astype(np.float32) @ weights + _DARK))


def _by_parts(thumbnails: npt.NDArray[np.uint8], work: Callable[[npt.NDArray[np.uint8]], Table]) -> Table:
    """Put together what ``work`` makes of some pictures at a time: all of them in floats take four times their room."""
    starts = range(0, max(1, len(thumbnails)), _AT_A_TIME)
    return np.concatenate([work(thumbnails[start : start + _AT_A_TIME]) for start in starts])


def _candidates(rough: _Texture) -> npt.NDArray[np.intp]:
    """Return pairs (P, 2) that are worth a closer look: each image with the ten that are most like it."""
    table = rough.table()
    np.fill_diagonal(table, -1.0)
    most = min(_NEIGHBOURS, len(table) - 1)
    nearest = np.argpartition(-table, most - 1, axis=1)[:, :most]
    return np.stack([np.repeat(np.arange(len(table)), most), nearest.ravel()], axis=1)


class _Texture:
    """The fine texture of grey pictures (N, S, S), whitened or not, and its correlation over shifts."""

    def __init__(self, grey: Table, blur: float, shift: int, whiten: bool = True) -> None:
        smooth = _smoothing(grey.shape[1], blur)
        self._fine = (grey - smooth @ grey @ smooth.T).astype(np.float32)
        self._shift = shift
        inner = self._cut(0, 0)
        self._mean = inner.mean(axis=0)
        self._whitening = self._found_whitening(inner) if whiten else None
        self.rows = self._whitened(inner)

    def _found_whitening(self, inner: Table) -> tuple[Table, Table]:
        """Return the axes (K, D) along which pictures vary, and by how much more (K,) each is to count.

        They come from the products of pictures with each other, which are fewer than those of pixels.
        """
        some = _unit(inner[:: -(-len(inner) // _MOST_WHITENED)] - self._mean)
        exact = some.astype(np.float64)
        sizes, turns = np.linalg.eigh(exact @ exact.T)
        variances = sizes / len(some)
        level = max(float(variances.sum()) / inner.shape[1], 1e-12)
        varies = variances > _LEAST_VARIED * level
        axes = (turns[:, varies] / np.sqrt(sizes[varies])).T.astype(np.float32) @ some
        return axes, (np.sqrt(level / (variances[varies] + level)) - 1).astype(np.float32)

    def table(self) -> Table:
        """Return the largest correlation of each pair over the shifts: (N, N)."""
        best = np.full((len(self.rows), len(self.rows)), -1.0, np.float32)
        against = self._stretched(self.rows).T  # whitening is symmetric: one side is whitened for both
        for down, right in self._shifts():
            moved = _unit(self._cut(down, right) - self._mean)
            alike = moved @ against
            alike /= self._lengths(moved)
            np.maximum(best, alike, out=best)
        found: Table = np.maximum(best, best.T)
        return found

    def of_pairs(self, pairs: npt.NDArray[np.intp]) -> Table:
        """Return of some pairs (P, 2) what :meth:`table` has of all: (P,)."""
        against = self._stretched(self.rows)  # whitening is symmetric: one side is whitened for both
        both = np.concatenate([pairs, pairs[:, ::-1]])
        order = np.argsort(both[:, 0], kind="stable")
        others = np.split(both[order, 1], np.searchsorted(both[order, 0], np.arange(1, len(against))))
        best = np.empty(len(both), np.float32)
        best[order] = np.concatenate(
            [
                found
                for start in range(0, len(against), _MOVED)
                for found in self._best(start, others, against)
            ]
        )
        found: Table = best.reshape(2, -1).max(axis=0)
        return found

    def _best(self, start: int, others: Sequence[npt.NDArray[np.intp]], against: Table) -> Iterator[Table]:
        """Yield of some images the largest correlation over the shifts with each of the ``others`` of each."""
        end = start + _MOVED
        moved = np.stack([self._cut(*shift, start, end) for shift in self._shifts()], axis=1) - self._mean
        rows = _unit(moved.reshape(-1, moved.shape[2]))
        lengths = self._lengths(rows).reshape(*moved.shape[:2], 1)
        for one, length, other in zip(rows.reshape(moved.shape), lengths, others[start:end], strict=True):
            yield (one @ against[other].T / length).max(axis=0)

    def _shifts(self) -> list[tuple[int, int]]:
        """Half of all shifts: the other half is that of the other picture."""
        steps = range(-self._shift, self._shift + 1)
        return [(down, right) for down in steps for right in steps if (down, right) >= (0, 0)]

    def _cut(self, down: int, right: int, start: int = 0, end: int | None = None) -> Table:
        side, edge = self._fine.shape[1], self._shift
        part = self._fine[start:end, edge + down : side - edge + down, edge + right : side - edge + right]
        return np.ascontiguousarray(part).reshape(len(part), -1)

    def _whitened(self, rows: Table) -> Table:
        unit = _unit(rows - self._mean)
        return unit if self._whitening is None else _unit(self._stretched(unit))

    def _stretched(self, unit: Table) -> Table:
        """Whiten unit vectors (N, D), whose lengths change."""
        if self._whitening is None:
            return unit
        axes, gains = self._whitening
        stretched: Table = unit + ((unit @ axes.T) * gains) @ axes
        return stretched

    def _lengths(self, unit: Table) -> Table:
        """Return the lengths (N, 1) of unit vectors (N, D) that are whitened."""
        if self._whitening is None:
            return np.ones((len(unit), 1), np.float32)
        axes, gains = self._whitening
        squares = 1 + (unit @ axes.T) ** 2 @ ((1 + gains) ** 2 - 1)
        lengths: Table = np.sqrt(np.maximum(squares, 1e-12))[:, None]
        return lengths


def _unit(rows: Any) -> Table:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-6), dtype=np.float32)


def _smoothing(side: int, width: float) -> Table:
    """Return the matrix (side, side) that blurs by a Gaussian of that standard deviation, edges kept level."""
    steps = np.arange(side)
    weights = np.exp(-0.5 * ((steps[:, None] - steps[None]) / width) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
