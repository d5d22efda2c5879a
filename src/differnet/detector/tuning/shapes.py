"""In which shape, and in how many pieces, pictures are looked at: from their headers, where that is left open."""

from __future__ import annotations

from collections.abc import Sequence

from differnet.config import presets
from differnet.config.settled import Settled, implied
from differnet.config.shape import Aspect, Shape, Tiling, aspect_of, how_large, tiling_of, times, view_shape
from differnet.errors import warn
from differnet.features.look import Look


def with_shapes(asked: presets.Config, images: Sequence[Look]) -> tuple[presets.Config, Aspect, Tiling]:
    """Return ``asked`` with the aspect and the tiles that suit the images where they are open, and these two.

    The aspect is put in where views may stay upright, the tiles where it is known that they do.
    """
    ratio, tiles = asked.views.aspect, asked.backbone.tiles
    shapes: list[Shape] = []
    if "auto" in (ratio, tiles):
        shapes = [shape for image in images if (shape := image.announced) is not None]
    aspect = aspect_of(shapes) if ratio == "auto" else Aspect(ratio, ratio)
    tiling = tiling_of(shapes, asked.backbone.sizes[0]) if tiles == "auto" else Tiling(tiles)
    known = implied(asked)
    if known.views.aspect == "auto":
        known = presets.resolve(known, {"aspect": aspect.value})
    return with_tiles(known, known.views.rotation, tiling.tiles), aspect, tiling


def likely_canvas(asked: presets.Config, images: Sequence[Look]) -> Shape:
    """Return the shape of a square as it will be if views stay upright, where that is yet to be found out."""
    known, aspect, tiling = with_shapes(asked, images)
    is_turned = known.views.rotation == "full"
    ratio = (1.0 if is_turned else aspect.value) if known.views.aspect == "auto" else known.views.aspect
    tiles = tiling.tiles if known.backbone.tiles == "auto" else known.backbone.tiles
    return times(view_shape(known.backbone.sizes[0], ratio), tiles)


def with_tiles(asked: presets.Config, rotation: str, tiles: int) -> presets.Config:
    """Return ``asked`` with so many ``tiles``, or one where views turn, if they are open and the rotation is known."""
    if asked.backbone.tiles != "auto" or rotation == "auto":
        return asked
    return presets.resolve(asked, {"tiles": tiles if rotation == "none" else 1})


def tell_of_squares(aspect: Aspect, settings: Settled) -> None:
    """Say where pictures that are long are looked at in a square all the same."""
    if aspect.is_mixed and not settings.views.turns:
        warn(
            f"the pictures are of many shapes (a tenth is less than {aspect.low:.2g} times as high as wide, a tenth "
            f"more than {aspect.high:.2g} times), so each is brought to a square"
        )
    elif aspect.value != settings.views.aspect:
        warn(
            f"the pictures are about {aspect.median:.2g} times as high as wide, but views turn, so each is brought to "
            "a square; where all parts lie one way, rotation = 'none' sees more of them"
        )


def tell_of_whole(tiling: Tiling, settings: Settled) -> None:
    """Say where pictures that would be cut into pieces are looked at as a whole all the same."""
    if tiling.picture is None or tiling.tiles <= settings.backbone.tiles:
        return
    warn(
        f"the pictures are about {how_large(tiling.picture)}, but views turn, so each is looked at as a whole, where "
        "small defects are easily missed; if all parts lie one way, rotation = 'none' cuts pictures into pieces, and "
        f"tiles = {tiling.tiles} does so however they lie, at {tiling.tiles**2} times the work"
    )
