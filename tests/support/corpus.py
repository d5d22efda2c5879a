"""All bad and odd images in one folder, each with the white of the model that it is for and what must come of it.

Those of :mod:`support.hostile` as they are, those of :mod:`support.levels` and :mod:`support.strips` as files whose
names say nothing of what they hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from support import hostile, levels, strips

FEWEST = 1000


@dataclass(frozen=True)
class Item:
    """One file: ``white`` and ``beyond`` of the model; refused for a reason with ``refused`` in it, or read.

    ``pixels``: which it must give, where that is known to the bit.
    """

    path: Path
    white: float | str
    beyond: str
    refused: str | None
    pixels: np.ndarray | None


def make(root: Path) -> list[Item]:
    """Write all of them below ``root``."""
    odd = [
        Item(
            case.path,
            "picture",
            "saturate",
            "no image found" if case.path.name == "folder.png" else case.refused,
            case.pixels,
        )
        for case in hostile.make(root / "hostile")
        if "\0" not in str(case.path)
    ]
    (root / "levels").mkdir()
    return odd + [
        _written(root / f"levels/{number:04}.img", case)
        for number, case in enumerate([*levels.cases(), *strips.cases()])
    ]


def _written(path: Path, case: levels.Level) -> Item:
    path.write_bytes(case.content)
    white = "picture" if case.white == "auto" else case.white  # as for a model of before
    return Item(path, white, case.beyond, case.refused, None if case.refused is not None else case.wanted)


def by_scale(items: list[Item]) -> dict[tuple[float | str, str], list[Item]]:
    """Return the items of each white and beyond."""
    found: dict[tuple[float | str, str], list[Item]] = {}
    for item in items:
        found.setdefault((item.white, item.beyond), []).append(item)
    return found
