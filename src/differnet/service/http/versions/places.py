"""Where the folders of versions may lie: below one folder that whoever started the service allowed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

from differnet.errors import ConfigError
from differnet.runtime.folder import MANIFEST
from differnet.service.http.versions.archive import unpack

_NO_ROOT = "the service was started without --models FOLDER, below which new versions may lie"
_LONGEST, _DEEPEST, _MOST = 500, 3, 200  # characters of a name, folders in it, folders that are listed
_TEMPORARY = ".upload-"
_STALE = 3600  # seconds after which what a killed process left behind is removed
Loaded = TypeVar("Loaded")


class Places:
    """The folder of models; ``root``: nothing where none was allowed. ``most``: bytes of an uploaded station."""

    def __init__(self, root: Path | None, most: int) -> None:
        if root is not None and not root.is_dir():
            raise ConfigError(f"--models {root}: no such folder; make it first")
        self.root, self.most = None if root is None else Path(os.path.realpath(root)), most
        if self.root is not None:
            _remove_stale(self.root)

    @contextmanager
    def incoming(self) -> Iterator[IO[bytes]]:
        """Give a file without a name for what is uploaded, on the disk where it will be unpacked."""
        with tempfile.TemporaryFile(prefix=_TEMPORARY, dir=self._allowed()) as file:
            yield file

    def find(self, name: str) -> Path:
        """Return the folder of that name below the root, such as ``bolts/2026-11``; links must not lead elsewhere.

        Raises :class:`ConfigError` for any other.
        """
        root, parts = self._allowed(), PurePosixPath(name).parts
        is_plain = 0 < len(name) <= _LONGEST and "\0" not in name and "\\" not in name and len(parts) > 0
        if not is_plain or name.startswith("/") or any(part.startswith(".") for part in parts):
            raise ConfigError(f"{name[:100]!r}: the name of a folder below that of --models was wanted")
        path = Path(os.path.realpath(root.joinpath(*parts)))
        if not self.holds(path):
            raise ConfigError(f"{name}: leads out of the folder of --models")
        if not path.is_dir():
            raise ConfigError(f"{name}: no such folder below that of --models")
        return path

    def holds(self, path: Path) -> bool:
        """Whether a folder lies below the root."""
        return self.root is not None and self.root in Path(os.path.realpath(path)).parents

    def name_of(self, path: str) -> str | None:
        """Return the name of a folder below the root, nothing for one that lies elsewhere."""
        place = Path(path)
        if self.root is None or self.root not in place.parents:
            return None
        return place.relative_to(self.root).as_posix()

    def listed(self) -> list[str]:
        """Return the names of folders that look like those of stations, at most 200, in order."""
        if self.root is None:
            return []
        found = islice(self._stations(self.root, _DEEPEST), _MOST)
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def _stations(self, folder: Path, depth: int) -> Iterator[Path]:
        try:
            inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError:
            return  # one that may not be looked into
        for path in inside:
            if not path.is_dir() or not self.holds(path):
                continue
            if (path / MANIFEST).is_file():
                yield path
            elif depth > 1:
                yield from self._stations(path, depth - 1)

    def place(self, file: IO[bytes], load: Callable[[Path], tuple[Loaded, str]]) -> tuple[Loaded, Path]:
        """Unpack an uploaded station and keep its folder, whole or not at all.

        ``load`` reads a folder and returns what it found and the name that the folder is to have; one that is there
        under this name stays, and is read instead. Raises :class:`ModelFileError`, :class:`OSError` and what ``load``
        raises; nothing is left then.
        """
        root = self._allowed()
        with _temporary(root) as folder:
            unpack(file, folder, self.most)
            found, name = load(folder)
            target = root / name
            if target.exists():
                there, its = load(target)
                if its != name:
                    raise ConfigError(f"{target}: another version lies there ({its}); move it away")
                return there, target
            _sync(folder)
            folder.chmod(0o755)
            folder.rename(target)
            _sync(root)
        return found, target

    def _allowed(self) -> Path:
        if self.root is None:
            raise ConfigError(_NO_ROOT)
        return self.root


@contextmanager
def _temporary(root: Path) -> Iterator[Path]:
    """Make a hidden folder that is gone when the block ends, unless it was renamed."""
    folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(root: Path) -> None:
    for path in root.glob(f"{_TEMPORARY}*"):
        try:
            is_stale = time.time() - path.stat().st_mtime > _STALE
        except FileNotFoundError:
            continue
        if is_stale:
            shutil.rmtree(path, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Have the names in a folder on disk."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
