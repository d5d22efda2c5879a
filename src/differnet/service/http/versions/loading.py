"""Versions that are loaded, from wherever they come: a folder that is given or allowed, a known one, an upload."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO

from differnet.errors import DifferNetError, ModelFileError
from differnet.runtime.folder import digest_of
from differnet.runtime.inspector import Inspector
from differnet.service.http.model import warmed
from differnet.service.http.versions.places import Places
from differnet.service.record import versions
from differnet.service.record.store import Store
from differnet.service.record.versions import Origin, Version


class ConflictError(DifferNetError):
    """What was asked for does not fit what judges now."""


@dataclass(frozen=True)
class Candidate:
    """A version that is loaded and has judged a first picture, and how it came."""

    inspector: Inspector
    origin: Origin
    folder: str

    @property
    def digest(self) -> str:
        """Its digest."""
        return self.inspector.station.digest


class Loader:
    """Loads versions; ``threads``: as in :class:`Inspector`, whose errors are raised."""

    def __init__(self, store: Store, places: Places, threads: int | None) -> None:
        self._store, self._places, self._threads = store, places, threads

    def given(self, folder: str) -> Candidate:
        """Load a folder that was given at the start."""
        return Candidate(warmed(folder, self._threads), "start", str(Path(folder).absolute()))

    def from_folder(self, folder: str) -> Candidate:
        """Load a folder below that of --models by its name."""
        path = self._places.find(folder)
        return Candidate(warmed(str(path), self._threads), "folder", str(path))

    def from_version(self, model: str, digest: str) -> Candidate:
        """Load a version that is known, from where it lies; raises :class:`ConflictError` for one that is not."""
        version = versions.get(self._store.engine, model, digest)
        if version is None:
            raise ConflictError(f"{model} has no version {digest[:12]}")
        return Candidate(self.load(version), version.origin, version.folder)

    def from_upload(self, model: str, file: IO[bytes]) -> Candidate:
        """Unpack and load a station, and keep its folder below that of --models."""

        def load(folder: Path) -> tuple[Inspector, str]:
            found = warmed(str(folder), self._threads)
            return found, f"{model}-{found.station.digest[:12]}"

        inspector, path = self._places.place(file, load)
        inspector.folder = str(path)
        return Candidate(inspector, "upload", str(path))

    def version(self, model: str, digest: str) -> Version:
        """Return what is known of a version; raises :class:`ModelFileError` where nothing is."""
        found = versions.get(self._store.engine, model, digest)
        if found is None:
            raise ModelFileError(f"{model}: the record has no version {digest[:12]}")
        return found

    def load(self, version: Version) -> Inspector:
        """Load a version from where it lies; raises :class:`ModelFileError` where another one lies there by now."""
        found = digest_of(version.folder)
        if found != version.digest:
            raise ModelFileError(
                f"{version.folder}: is another version by now ({found[:12]}; {version.digest[:12]} was wanted); put "
                "the folder back, or put this one in its place"
            )
        return warmed(version.folder, self._threads)
