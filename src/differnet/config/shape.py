"""How high and wide pictures are when a network sees them: a square, or, where all are long, an oblong of its area.

A square costs a long part what it has most of: of 500 x 1,250 pixels, 448 x 448 keep every third row and every column.
An oblong has the same number of pixels, so it takes the same time. Large pictures are cut into pieces of that shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Shape = tuple[int, int]  # height and width

LONGEST = 4.0  # the most that one side is of the other
NEARLY_SQUARE = 1.5  # up to here the square stays: most cameras give 4 : 3 or 3 : 2
LARGEST_SQUARE = 8192  # pixels of the side that a picture is brought to; in memory that is 800 MB
MOST_TILES = 4  # a side, where the pictures say how many; 16 times the work
SHRUNK = 2.0  # pixels of a piece, a side, to those that the network sees of it: about as many at least
_MOST_APART = 1.5  # between the aspects below and above which a tenth of the pictures lies each
_COARSEST = 32  # pixels: by as much the last maps of the usual networks are smaller


class Aspect(NamedTuple):
    """Height over width of what the network sees, ``value``, and of the pictures: the median, and the tenths.

    ``is_mixed``: whether the pictures are of so many shapes that no oblong suits them.
    """

    value: float
    median: float = 1.0
    low: float = 1.0
    high: float = 1.0

    @property
    def is_mixed(self) -> bool:
        """Whether the shapes of the pictures differ too much for one oblong."""
        return self.high > _MOST_APART * self.low


def aspect_of(shapes: Sequence[Shape]) -> Aspect:
    """Find the aspect that suits pictures of these shapes (H, W); a square for no shapes, and for very different ones.

    >>> aspect_of([(1250, 500), (1240, 500), (1260, 500)]).value
    2.5
    >>> aspect_of([(480, 640)] * 3).value, aspect_of([(100, 300), (300, 100)]).is_mixed
    (1.0, True)
    """
    if not shapes:
        return Aspect(1.0)
    ratios = sorted(height / width for height, width in shapes)
    last = len(ratios) - 1
    low, median, high = (ratios[round(share * last)] for share in (0.1, 0.5, 0.9))
    found = Aspect(1.0, median, low, high)
    if found.is_mixed or 1 / NEARLY_SQUARE <= median <= NEARLY_SQUARE:
        return found
    return found._replace(value=round(min(max(median, 1 / LONGEST), LONGEST), 4))


class Tiling(NamedTuple):
    """Into how many rows and columns of pieces pictures are cut, and how high and wide the median picture is."""

    tiles: int
    picture: Shape | None = None


def tiling_of(shapes: Sequence[Shape], size: int) -> Tiling:
    """Find into how many pieces pictures of these shapes (H, W) are cut for a network that sees ``size`` pixels a side.

    As many a side as leave each piece about twice the pixels that the network sees, sqrt(H W) / (2 size) rounded, of
    the picture whose area is the median; at least 1, at most 4, and no more than 8,192 pixels a side are seen of
    all pieces together. For no shapes it is the whole picture.

    >>> [tiling_of([shape] * 3, 448).tiles for shape in [(480, 640), (1900, 1900), (3000, 4000), (9000, 9000)]]
    [1, 2, 4, 4]
    >>> tiling_of([(3000, 4000)], 224), tiling_of([], 448)
    (Tiling(tiles=4, picture=(3000, 4000)), Tiling(tiles=1, picture=None))
    """
    if not shapes:
        return Tiling(1)
    by_area = sorted(shapes, key=math.prod)
    picture = by_area[(len(by_area) - 1) // 2]
    wanted = math.floor(math.sqrt(math.prod(picture)) / (SHRUNK * size) + 0.5)
    return Tiling(max(1, min(wanted, MOST_TILES, LARGEST_SQUARE // size)), picture)


def view_shape(size: int, aspect: float) -> Shape:
    """Return height and width of an input of ``size``: about ``size * sqrt(aspect)`` and ``size / sqrt(aspect)``.

    Both are multiples of a power of two that is small beside them, so that halves and quarters are whole.

    >>> view_shape(448, 1.0), view_shape(448, 2.5), view_shape(224, 2.5), view_shape(448, 0.4)
    ((448, 448), (704, 288), (352, 144), (288, 704))
    """
    if aspect == 1:
        return size, size
    step = min(_COARSEST, 2 ** int(math.log2(max(1.0, size / 14))))
    stretched = math.sqrt(aspect)
    height, width = (max(step, step * round(side / step)) for side in (size * stretched, size / stretched))
    return height, width


def smaller(shape: Shape, size: int, largest: int) -> Shape:
    """Return the ``shape`` of the ``largest`` input brought down to another ``size``.

    >>> smaller((704, 288), 224, 448)
    (352, 144)
    """
    height, width = (max(1, round(side * size / largest)) for side in shape)
    return height, width


def grid_shape(grid: int, shape: Shape) -> Shape:
    """Return the rows and columns of parts of an input: about ``grid * grid`` parts, each about a square.

    >>> grid_shape(7, (448, 448)), grid_shape(7, (704, 288)), grid_shape(2, (288, 704))
    ((7, 7), (11, 4), (1, 3))
    """
    if grid == 1:
        return 1, 1
    stretched = math.sqrt(shape[0] / shape[1])
    return max(1, round(grid * stretched)), max(1, round(grid / stretched))


def count_places(grid: int, shape: Shape) -> int:
    """Return how many places of an input are pooled: the whole, and with a ``grid`` each of its parts.

    >>> count_places(1, (448, 448)), count_places(7, (448, 448)), count_places(7, (704, 288))
    (1, 50, 45)
    """
    rows, columns = grid_shape(grid, shape)
    return 1 if grid == 1 else 1 + rows * columns


def times(shape: Shape, count: int) -> Shape:
    """Return the shape of ``count`` x ``count`` such pieces."""
    return shape[0] * count, shape[1] * count


def in_words(shape: Shape, aspect: float, tiles: int = 1, picture: Shape | None = None) -> str:
    """Say at how many pixels pictures are looked at, in how many pieces, and why.

    ``picture``: the shape of that by which the pieces were found; nothing where they were asked for.

    >>> in_words((704, 288), 2.5)
    '704 x 288 pixels, since the pictures are about 2.5 times as high as wide'
    >>> in_words((448, 448), 1.0, 2).partition(":")[0]
    '448 x 448 pixels a piece; cut into 2 x 2 pieces'
    """
    pixels = f"{shape[0]} x {shape[1]} pixels" + (" a piece" if tiles > 1 else "")
    if shape[0] != shape[1]:
        how = "high as wide" if aspect > 1 else "wide as high"
        pixels += f", since the pictures are about {max(aspect, 1 / aspect):.3g} times as {how}"
    if tiles == 1:
        return pixels
    since = f", since the pictures are about {how_large(picture)}" if picture else ""
    return (
        f"{pixels}; cut into {tiles} x {tiles} pieces{since}: small defects stay visible, at {tiles**2} times the work "
        "(tiles=1 looks at each as a whole)"
    )


def how_large(picture: Shape) -> str:
    """Say how large a picture is.

    >>> how_large((3000, 4000))
    '4000 pixels wide and 3000 high'
    """
    return f"{picture[1]} pixels wide and {picture[0]} high"
