"""The files of a watched folder that are no images: known by their first bytes, and told of once for each suffix."""

from __future__ import annotations

import os
from pathlib import Path

from differnet.data.images import are_left_out, has_image, is_being_written, is_image_name
from differnet.service.record.inspection import Tell
from differnet.service.watch.sources import Stamp, writable

_NAMED = 3


class LeftOut:
    """What was looked into and is no image; a file is looked into again when it has changed."""

    def __init__(self, root: Path, tell: Tell) -> None:
        self.root, self.tell = root, tell
        self._stamps: dict[str, Stamp] = {}
        self._untold: dict[str, list[str]] = {}
        self._told: set[str] = set()
        self._there: set[str] = set()

    def is_image(self, stamp: Stamp) -> bool:
        """Whether a file is an image: by its suffix, or else by its first bytes."""
        last = stamp.path.rpartition("/")[2]
        if is_left_alone(last):
            return False
        if is_image_name(last):
            return True
        self._there.add(stamp.path)
        if self._stamps.get(stamp.path) == stamp:
            return False
        if has_image(self.root / stamp.path):
            self._stamps.pop(stamp.path, None)
            return True
        self._stamps[stamp.path] = stamp
        suffix = os.path.splitext(last)[1].lower()  # noqa: PTH122
        if suffix not in self._told and stamp.size:  # an empty one may become an image
            self._untold.setdefault(suffix, []).append(stamp.path)
        return False

    def tell_new(self) -> None:
        """Tell of the files with a suffix that was not told of before, how many and which the first of them are."""
        for suffix, paths in self._untold.items():
            names = ", ".join(writable(path) for path in sorted(set(paths))[:_NAMED])
            count = len(set(paths))
            kind = f"with the suffix {suffix}" if suffix else "without a suffix"
            more = ", ..." if count > _NAMED else ""
            self.tell(
                "left out",
                f"{are_left_out(count, kind)}: {names}{more}; others {kind} will not be told of",
            )
        self._told |= set(self._untold)
        self._untold.clear()

    def begin(self) -> None:
        """Begin a look at all files of the folder."""
        self._there.clear()

    def end(self) -> None:
        """End it: what was not looked at is not there any more, and what is new is told of."""
        for path in self._stamps.keys() - self._there:
            del self._stamps[path]
        self.tell_new()


def is_left_alone(name: str) -> bool:
    """Whether a file or folder of this name is hidden or temporary."""
    return name.startswith(".") or is_being_written(name)
