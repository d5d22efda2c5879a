"""What images there are at and below a folder, and of what that cannot be told just now."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from differnet.service.record.inspection import Tell
from differnet.service.watch.left_out import LeftOut, is_left_alone
from differnet.service.watch.sources import Stamp

_FOR_EVER = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG})


class Listing:
    """Lists the images below ``root``; links to folders are followed once. ``others``: tells what is none."""

    def __init__(self, root: Path, others: LeftOut, tell: Tell) -> None:
        self.root, self.others, self.tell = root, others, tell
        self._unlisted: dict[str, OSError] = {}

    @property
    def is_whole(self) -> bool:
        """Whether the last look at all saw all, but for what is closed to us or leads nowhere for ever."""
        return all(path and error.errno in _FOR_EVER for path, error in self._unlisted.items())

    def all(self) -> list[Stamp]:
        """Return the stamps of all images; what cannot be listed is told."""
        self._unlisted.clear()
        return list(self.below(""))

    def below(self, folder: str, above: frozenset[str] = frozenset()) -> Iterator[Stamp]:
        """Yield the stamps of the images at and below a folder."""
        place = os.path.realpath(self.root / folder)
        if place in above:
            return
        try:
            with os.scandir(self.root / folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if folder and isinstance(error, FileNotFoundError):
                return  # it has gone since
            self._unlisted[folder] = error
            self.tell("unlisted", f"{self.root / folder}: cannot be listed: {error.strerror}")
            return
        for entry in found:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                if entry.is_dir():
                    if not is_left_alone(entry.name):
                        yield from self.below(path, above | {place})
                elif self.others.is_image(stamp := Stamp.of(path, entry.stat())):
                    yield stamp
            except FileNotFoundError:
                continue
            except OSError as error:  # a loop of links, or the drive does not answer just now
                self._unlisted[path] = error

    def is_unlisted(self, path: str) -> bool:
        """Whether the last look at all could not tell if a file is there."""
        parts = path.split("/")
        return any("/".join(parts[:count]) in self._unlisted for count in range(len(parts) + 1))
