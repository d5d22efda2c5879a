"""The files of a folder that have their row: by their names, and by what stays when a file gets another name."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from differnet.service.watch.sources import Stamp

_DISPLACED = 10_000  # files that are known though their name is another file's by now
Wherever = tuple[int, int, int]


class KnownFiles:
    """What is known of the files below ``root``; ``stamps``: what was known before."""

    def __init__(self, root: Path, stamps: Iterable[Stamp]) -> None:
        self.root = root
        self._stamps: dict[str, Stamp] = {}
        self._places: dict[Wherever, Stamp] = {}
        self._displaced: OrderedDict[Wherever, Stamp] = OrderedDict()
        for stamp in stamps:
            self.note(stamp)

    def __contains__(self, path: object) -> bool:
        return path in self._stamps

    def get(self, path: str) -> Stamp | None:
        """Return the stamp of a file by its name."""
        return self._stamps.get(path)

    def has_been(self, stamp: Stamp) -> bool:
        """Whether a file of this number, size and time is known, by whatever name."""
        return stamp.wherever in self._places or stamp.wherever in self._displaced

    def paths(self) -> set[str]:
        """Return all names."""
        return set(self._stamps)

    def note(self, stamp: Stamp) -> None:
        """From now on a file is known as it is; one that had its name before is known by itself."""
        before = self._stamps.get(stamp.path)
        if before is not None and before.wherever != stamp.wherever:
            self._displaced[before.wherever] = before
            if self._places.get(before.wherever) is before:
                del self._places[before.wherever]
            if len(self._displaced) > _DISPLACED:
                self._displaced.popitem(last=False)
        self._stamps[stamp.path] = self._places[stamp.wherever] = stamp

    def forget(self, paths: Iterable[str]) -> None:
        """Forget files by their names."""
        for path in paths:
            stamp = self._stamps.pop(path, None)
            if stamp is not None and self._places.get(stamp.wherever) is stamp:
                del self._places[stamp.wherever]

    def same(self, stamp: Stamp, is_read: bool) -> Stamp | None:
        """Return the known file that a file is: the one of its name, or one that has got another name since.

        Of the same name it is when the bytes are the same, whatever its times and rights are now. By another name it is
        when number, size, time and bytes are the same, unless the file is still there by its old name: then it is a
        link. ``is_read``: whether the bytes could be had; without them number, size and time say it.
        """
        here = self._stamps.get(stamp.path)
        if here is not None and self._is_same(here, stamp, is_read, here.wherever == stamp.wherever):
            return here
        there = self._places.get(stamp.wherever) or self._displaced.get(stamp.wherever)
        if there is None or there.path == stamp.path or not self._is_same(there, stamp, is_read, True):
            return None
        try:
            now = Stamp.of(there.path, os.stat(self.root / there.path))  # noqa: PTH116
        except OSError:
            return there
        return None if now.wherever == stamp.wherever else there

    @staticmethod
    def _is_same(known: Stamp, stamp: Stamp, is_read: bool, in_place: bool) -> bool:
        if is_read and known.digest:
            return known.digest == stamp.digest
        return in_place  # its bytes are not known: now, or since it was there before the first start
