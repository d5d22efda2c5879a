"""Which grey level is white for a model: settled once, from all of its training pictures.

They are decoded for it in the very squares that they are looked at in later, by the white that suits those before; as
a rule that of the first is the white of all, and each is decoded once. Where one reaches further, those before it are
decoded once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from differnet.config import presets
from differnet.data.formats.levels import Levels, Meter
from differnet.data.images import ImageLike, is_deep, load
from differnet.features.look import Look


def with_white(asked: presets.Config, looks: Sequence[Look]) -> presets.Config:
    """Return ``asked`` with its white settled, by which the images are looked at from now on.

    Raises :class:`ImageError` for an image that cannot be read, and where the images have no white in common.
    """
    if asked.views.white == "auto":
        asked = presets.resolve(asked, {"white": white_of(looks)})
    for look in looks:
        look.go_by(asked.views)
    return asked


def scale_of(paths: Iterable[ImageLike]) -> Levels:
    """Return the scale of training pictures, for methods that look at pictures by themselves."""
    meter = Meter()
    for path in paths:
        if is_deep(path):
            load(path, meter)
    return Levels(_white(meter))


def white_of(looks: Sequence[Look]) -> float | Literal["type"]:
    """Return the white of all that have more than eight bits, or ``"type"`` where none has."""
    meter = Meter()
    for look in looks:
        if is_deep(look.image):
            look.measure(meter)
    return _white(meter)


def _white(meter: Meter) -> float | Literal["type"]:
    return "type" if meter.extent is None else meter.extent.white("the training pictures")
