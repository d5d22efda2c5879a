"""Finished cells, kept in a folder so that a run that was broken off goes on with those that are missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from differnet.data.files import check_target, write_whole
from differnet.errors import ModelFileError, warn

FORMAT = 1  # to be raised when what is kept changes its form
T = TypeVar("T")


class Kept(Generic[T]):
    """Cells of one ``kind`` (a dataclass), each in a JSON file of its own, whole or not at all.

    A cell has a name, which its file has too, and a key: a digest of all that it depends on. ``revive`` makes a cell of
    its values where they are more than JSON types (arrays are kept as lists). Without a folder nothing is kept.
    """

    def __init__(
        self, folder: Path | None, kind: type[T], revive: Callable[[dict[str, Any]], T] | None = None
    ) -> None:
        self.folder = folder
        self._revive = revive or (lambda values: kind(**values))
        self._names = {part.name for part in fields(kind)}  # type: ignore[arg-type]

    def file(self, name: str) -> Path:
        """Return the file of a cell, where there is a folder."""
        return (self.folder or Path()) / f"{name}.json"

    def check(self, name: str) -> None:
        """Raise :class:`OSError` where the cell could not be written, before the work for it is done."""
        if self.folder is not None:
            check_target(self.file(name))

    def find(self, name: str, key: str) -> T | None:
        """Return the cell of that name and key, if it is finished.

        Raises :class:`ModelFileError` for a file that is no finished cell, or one of another version.
        """
        if self.folder is None or not self.file(name).is_file():
            return None
        try:
            values = json.loads(self.file(name).read_bytes())
            kept = values.pop("kept")
            if kept["format"] != FORMAT:
                raise ValueError("another format")
            if kept["key"] != key:
                return None
            if set(values) != self._names:
                raise ValueError("other fields")
            return self._revive(values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(
                f"{self.file(name)}: not a finished cell of this version ({error!r}); remove it to have it computed "
                "again"
            ) from error

    def find_whole(self, name: str, key: str) -> T | None:
        """Return what :meth:`find` does; what that refuses is said, and passed over."""
        try:
            return self.find(name, key)
        except ModelFileError as error:
            warn(f"{error}; it is computed again now")
            return None

    def add(self, name: str, key: str, cell: T) -> None:
        """Keep a finished cell, on disk before this returns."""
        if self.folder is not None:
            values = {"kept": {"format": FORMAT, "key": key}, **asdict(cell)}  # type: ignore[call-overload]
            text = json.dumps(values, indent=1, allow_nan=False, default=lambda array: array.tolist())
            write_whole(self.file(name), text.encode())
