"""A folder from which a broken-off fit goes on: one fit at a time, and only the one that it belongs to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from differnet.data.files import TakenError, open_locked
from differnet.errors import ConfigError, ModelFileError
from differnet.features.look import Look

_LOCK = "lock"


@dataclass(frozen=True)
class Checkpoint:
    """What a fit keeps in ``folder``; ``images``: the digest of the images it is fitted to.

    Every file has a :meth:`key` in it, of all that its content depends on.
    """

    folder: Path
    images: str

    def key(self, rest: object) -> str:
        """Return the digest of the images and of the ``repr`` of what else matters."""
        return hashlib.sha256(f"{self.images} {rest!r}".encode()).hexdigest()

    def has(self, name: str) -> bool:
        """Whether a file of that name was kept."""
        return (self.folder / name).exists()

    def check(self, found: object, key: str) -> None:
        """Refuse what has another key: :class:`ModelFileError`."""
        if found != key:
            raise ModelFileError(
                f"{self.folder}: a checkpoint of other images or settings; remove it to start anew"
            )

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Give the path of a file; what the block cannot understand of it is a :class:`ModelFileError`."""
        file = self.folder / name
        try:
            yield file
        except ModelFileError:
            raise
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            FileNotFoundError,
            IsADirectoryError,
            RuntimeError,
        ) as error:
            raise ModelFileError(f"{file}: damaged ({error}); remove {self.folder} to start anew") from error


@contextmanager
def opened(folder: Path | None, images: Sequence[Look]) -> Iterator[Checkpoint | None]:
    """Keep a second fit off the ``folder`` while the block runs, if there is one; each image file is hashed once.

    Raises :class:`ConfigError` when another fit is at it.
    """
    if folder is None:
        yield None
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "no folder" if os.path.lexists(folder) else f"cannot be made: {error.strerror}"
        raise ConfigError(f"{folder}: {what}; a folder for the progress of a fit was wanted") from error
    try:
        file = open_locked(folder / _LOCK, lambda path: path.open("ab"))
    except TakenError as error:
        raise ConfigError(f"{folder}: another fit is using this checkpoint; give another folder") from error
    with file:
        total = hashlib.sha256()
        for image in images:
            total.update(image.content)
        yield Checkpoint(folder, total.hexdigest())
