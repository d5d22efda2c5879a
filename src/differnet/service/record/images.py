"""The images and heat maps that are kept beside the record, one file each, by day.

A folder has a file of marks, one a line, of the records that have files in it: what has no row in the only one is
nobody's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from differnet.data.files import write_whole
from differnet.errors import StoreError
from differnet.service.record.inspection import Inspection

_FRESH = 3600  # seconds for which a file may lack its row: it is written before that
MARKS = ".differnet-records"
_OURS = re.compile(r"\d{4}-\d\d-\d\d/\.?[0-9a-f]{32}\..+")  # day/id.suffix, and hidden while it is written
_KINDS = (
    (b"\x89PNG", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"BM", ".bmp"),
    (b"II", ".tif"),
    (b"MM", ".tif"),
    (b"GIF8", ".gif"),
    (b"RIFF", ".webp"),
)
Keep = Literal["none", "flagged", "all"]


class KeptImages:
    """The files below ``folder`` of the record with the mark ``record``."""

    def __init__(self, folder: Path, record: str) -> None:
        self.folder, self.record = folder, record
        self._is_marked = False

    def write(self, inspection: Inspection, image: bytes | None) -> Inspection:
        """Write the bytes of an image as they were received; return the inspection that says where they are."""
        if image is None:
            return inspection
        name = f"{_day(inspection)}/{inspection.id}{suffix_of(image)}"
        self.write_file(name, image)
        return replace(inspection, image=name, kept_bytes=len(image))

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file for its owner alone, whole or not at all; raises :class:`OSError`."""
        self._mark()
        path = self.path(name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(path, content, mode=0o600)

    @staticmethod
    def name_of_map(inspection: Inspection) -> str:
        """Return under which name the heat map of an inspection is kept."""
        return f"{_day(inspection)}/{inspection.id}.map.png"

    def is_shared(self) -> bool:
        """Whether another record has files in the folder; leaves the mark of this one."""
        if not self.folder.is_dir():
            return False
        self._mark()
        return self._marks() != {self.record}

    def _mark(self) -> None:
        if self._is_marked and self.folder.is_dir():
            return
        if self.record not in self._marks():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            marks = self.folder / MARKS
            marks.touch(0o600)
            with marks.open("a", encoding="ascii") as file:
                file.write(f"{self.record}\n")
        self._is_marked = True

    def _marks(self) -> set[str]:
        try:
            return set((self.folder / MARKS).read_text("ascii", "replace").split())
        except FileNotFoundError:
            return set()

    def path(self, name: str) -> Path:
        """Return where a file is; raises :class:`StoreError` for a name that leads elsewhere."""
        path = self.folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise StoreError(f"{name!r} lies outside of {self.folder}")
        return path

    def remove(self, *names: str | None) -> None:
        """Remove files, those that are gone already included, and their folder when that leaves it empty."""
        for name in names:
            if name is None:
                continue
            path = self.path(name)
            path.unlink(missing_ok=True)
            try:
                path.parent.rmdir()
            except OSError:
                continue  # it is not empty

    def old_files(self) -> Iterator[str]:
        """Yield the files of ours that are old enough to have their row, or to have none for ever; no other files.

        Those that were there before the folder was marked may be of another record.
        """
        try:
            since = (self.folder / MARKS).stat().st_mtime
        except FileNotFoundError:
            return
        for path in self.folder.glob("*/*"):
            name = path.relative_to(self.folder).as_posix()
            if not _OURS.fullmatch(name):
                continue
            try:
                changed = path.stat().st_mtime
            except FileNotFoundError:
                continue
            if changed >= since and time.time() - changed > _FRESH:
                yield name


def _day(inspection: Inspection) -> str:
    return f"{inspection.time:%Y-%m-%d}"


def suffix_of(content: bytes) -> str:
    """Return the suffix of an image file by its first bytes."""
    return next((suffix for magic, suffix in _KINDS if content.startswith(magic)), ".bin")


def is_kept(keep: Keep, flagged: bool) -> bool:
    """Whether something of an inspection is kept."""
    return keep == "all" or (keep == "flagged" and flagged)
