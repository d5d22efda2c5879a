"""Which folders of the machine may be looked into from a browser: those that were allowed, and what lies below."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from differnet.data.images import is_image_name
from differnet.errors import ConfigError, in_words

_MOST = 2000  # entries of a folder that are counted and folders that are listed


@dataclass(frozen=True)
class Listing:
    """A folder: names of the ``folders`` in it, how many ``pictures`` lie in it, its ``parent`` where it may be seen.

    ``is_cut``: there are more entries than are listed.
    """

    path: str
    parent: str | None
    folders: tuple[str, ...]
    pictures: int
    is_cut: bool


class Places:
    """Folders that were allowed; a link out of them leads nowhere.

    Raises :class:`ConfigError` for what is no folder.
    """

    def __init__(self, allowed: Iterable[Path]) -> None:
        found = []
        for path in allowed:
            if not path.is_dir():
                raise ConfigError(f"--allow {path}: no such folder")
            found.append(Path(os.path.realpath(path)))
        self.roots: tuple[Path, ...] = tuple(dict.fromkeys(found))

    def checked(self, text: str) -> Path:
        """Return the real path of what a browser names, which need not exist.

        Relative paths are from the first folder. Raises :class:`ConfigError` for what lies outside, and for what no
        folder can be called.
        """
        if "\0" in text or not text.strip():
            raise ConfigError("no path was given; that of a folder was wanted")
        path = Path(os.path.realpath(self.roots[0] / text.strip())) if self.roots else Path(text)
        if not self.holds(path):
            there = ", ".join(str(root) for root in self.roots) or "none"
            raise ConfigError(
                f"{text}: outside of the folders that may be looked into ({there}); start the studio with --allow "
                "FOLDER to add one"
            )
        try:
            path.lstat()
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                raise ConfigError(f"{text[:80]} …: {error.strerror}; that of a folder was wanted") from error
        return path

    def folder(self, text: str) -> Path:
        """Return a folder that is there; raises :class:`ConfigError` for anything else."""
        path = self.checked(text)
        if not path.is_dir():
            raise ConfigError(f"{text}: no such folder")
        return path

    def holds(self, path: Path) -> bool:
        """Whether a path, wherever its links lead, lies in one of the folders."""
        real = Path(os.path.realpath(path))
        return any(real == root or real.is_relative_to(root) for root in self.roots)

    def outside(self, paths: Sequence[Path]) -> list[Path]:
        """Return those that lead out of the folders."""
        return [path for path in paths if not self.holds(path)]

    def listing(self, text: str) -> Listing:
        """Return what is in a folder, but hidden names and those that are no text; raises :class:`ConfigError`."""
        path = self.folder(text)
        folders, pictures, seen = [], 0, 0
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    seen += 1
                    if seen > _MOST:
                        break
                    if entry.name.startswith(".") or not _can_be_sent(entry.name):
                        continue
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif is_image_name(entry.name):
                        pictures += 1
        except OSError as error:
            raise ConfigError(in_words(error)) from error
        inside = sorted(name for name in folders if self.holds(path / name))
        parent = path.parent if path not in self.roots and self.holds(path.parent) else None
        return Listing(
            str(path), None if parent is None else str(parent), tuple(inside), pictures, seen > _MOST
        )


def _can_be_sent(name: str) -> bool:
    """Whether a name is text, and not bytes that are no letters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
