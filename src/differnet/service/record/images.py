"""The images and heat maps that are kept beside the record, one file each, by day."""

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
    """The files below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, inspection: Inspection, image: bytes | None, heat_map: bytes | None) -> Inspection:
        """Write the bytes of an image as they were received, and of its map (PNG); return where they are."""
        day = f"{inspection.time:%Y-%m-%d}"
        names: dict[str, str] = {}
        size = 0
        for field, content, suffix in (
            ("image", image, suffix_of(image or b"")),
            ("heat_map", heat_map, ".map.png"),
        ):
            if content is not None:
                names[field] = f"{day}/{inspection.id}{suffix}"
                self._make_private(day)
                write_whole(self.folder / names[field], content, mode=0o600)
                size += len(content)
        return replace(inspection, **names, kept_bytes=size)  # type: ignore[arg-type]

    def _make_private(self, day: str) -> None:
        """Make the folders of a day, for their owner alone; those that are there stay as they are."""
        for folder in (self.folder, self.folder / day):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

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
        """Yield the files of ours that are old enough to have their row, or to have none for ever; no other files."""
        for path in self.folder.glob("*/*"):
            name = path.relative_to(self.folder).as_posix()
            if not _OURS.fullmatch(name):
                continue
            try:
                age = time.time() - path.stat().st_mtime
            except FileNotFoundError:
                continue
            if age > _FRESH:
                yield name


def suffix_of(content: bytes) -> str:
    """Return the suffix of an image file by its first bytes."""
    return next((suffix for magic, suffix in _KINDS if content.startswith(magic)), ".bin")


def is_kept(keep: Keep, flagged: bool) -> bool:
    """Whether something of an inspection is kept."""
    return keep == "all" or (keep == "flagged" and flagged)
