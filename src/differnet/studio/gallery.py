"""The pictures that were chosen: listed from their folders, looked at beside the requests, left out by a click."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from differnet.data.datasets import find_defects, find_good
from differnet.data.images import find
from differnet.errors import ConfigError, DifferNetWarning, ImageError, counted, in_a_line
from differnet.studio.findings import Findings, findings_of
from differnet.studio.pictures import Picture, id_of, look, printable, stamp_of
from differnet.studio.places import Places
from differnet.studio.project import Folder, Kind, Project, Source, with_source, without_source

_LOOKING = 2  # pictures at a time


class Gallery:
    """Pictures by their id, good ones and known defects. One object for all threads.

    ``most``: how many there may be. ``revision`` is another number after each change.
    """

    def __init__(self, folder: Folder, places: Places, most: int) -> None:
        self._folder, self._places, self._most = folder, places, most
        self.turn = threading.RLock()
        self.project = folder.read()
        self.revision = 0
        self.notes: list[str] = []
        self._pictures: dict[str, Picture] = {}
        self._findings, self._found_at, self._waiting = Findings(0), -1, 0
        self._pool = ThreadPoolExecutor(_LOOKING, "studio-look")
        for one in self.project.sources:
            try:
                self._list(one)
            except (ConfigError, ImageError, OSError) as error:
                self.notes.append(printable(f"not listed again: {in_a_line(error)}"))

    @property
    def findings(self) -> tuple[Findings, bool]:
        """What was found in the good pictures that are not left out, and whether that is of how they are now."""
        with self.turn:
            return self._findings, self._found_at == self.revision and not self._waiting

    @property
    def waiting(self) -> int:
        """How many pictures are to be looked at yet."""
        return self._waiting

    def change(self, project: Project) -> None:
        """Keep what was chosen, here and on disk."""
        with self.turn:
            self._folder.write(project)
            self.project = project

    def get(self, identity: str) -> Picture | None:
        """Return a picture by its id."""
        with self.turn:
            return self._pictures.get(identity)

    def all(self, kind: Kind) -> list[Picture]:
        """Return the pictures of a kind in the order of their folders and names."""
        with self.turn:
            return [one for one in self._pictures.values() if one.kind == kind]

    def used(self) -> list[Picture]:
        """Return the good pictures that were read and are not left out."""
        with self.turn:
            return [one for one in self.all("good") if one.seen and not self.is_left_out(one)]

    def is_left_out(self, picture: Picture) -> bool:
        """Whether a good picture is not to be fitted to."""
        return picture.kind == "good" and picture.id in self.project.left_out

    def add_folder(self, text: str, kind: Kind) -> int:
        """Take the pictures of a folder and return how many are new.

        Raises :class:`ConfigError` for a folder that may not be looked into, that of the studio, and too many pictures,
        and what listing it raises: :class:`ImageError` where there is none, :class:`LayoutError` for a data set.
        """
        path = self._places.folder(text)
        if self._folder.path == path or self._folder.path.is_relative_to(path):
            raise ConfigError(
                f"{path}: the studio keeps its own files below it ({self._folder.path}); choose a folder that has the "
                "pictures alone"
            )
        return self._add(Source(str(path), kind))

    def add_own(self, folder: Path, kind: Kind) -> int:
        """Take pictures that the studio has copied or received; returns how many are new."""
        return self._add(Source(str(folder), kind, own=True))

    def add_file(self, path: Path, source: Source) -> Picture:
        """Take one picture that was sent into an own folder; raises :class:`ConfigError` where there are too many."""
        with self.turn:
            if len(self._pictures) >= self._most:
                path.unlink(missing_ok=True)
                raise ConfigError(f"{path.name}: at most {self._most} pictures are taken")
            self._register(path, Path(source.path), source.kind)
            project = with_source(self.project, source)
            if project != self.project:
                self.change(project)
            self._changed()
            return self._pictures[id_of(path, source.kind)]

    def _add(self, source: Source) -> int:
        with self.turn:
            new = self._list(source)
            project = with_source(self.project, source)
            if project != self.project:
                self.change(project)
            return new

    def remove_source(self, path: str, kind: Kind) -> Source:
        """Have the pictures of a folder no more; raises :class:`ConfigError` for one that was not chosen."""
        with self.turn:
            source = next((one for one in self.project.sources if (one.path, one.kind) == (path, kind)), None)
            if source is None:
                raise ConfigError(f"{path}: not among the folders that were chosen")
            self.change(without_source(self.project, path, kind))
            known = [Path(one.path) for one in self.project.sources if one.kind == kind]
            for one in self.all(kind):
                if one.path.is_relative_to(path) and not any(one.path.is_relative_to(root) for root in known):
                    del self._pictures[one.id]
            self._changed()
            return source

    def leave_out(self, ids: Iterable[str], is_left_out: bool) -> None:
        """Fit no more to these good pictures, or again; raises :class:`ConfigError` for one that is none."""
        with self.turn:
            wanted, known = set(ids), self.project.left_out
            if not wanted <= {one.id for one in self.all("good")}:
                raise ConfigError("no such good picture; load the page anew")
            self.change(replace(self.project, left_out=known | wanted if is_left_out else known - wanted))
            self._changed()

    def summary(self) -> dict[str, Any]:
        """Return what is chosen and what was found in it, without the pictures, as JSON types."""
        with self.turn:
            good, defects, (found, is_now) = self.all("good"), self.all("defects"), self.findings
            counts = {
                "good": len(good),
                "used": len(self.used()),
                "left_out": sum(self.is_left_out(one) for one in good),
                "unread": sum(one.error is not None for one in good),
                "defects": len(defects),
                "defects_unread": sum(one.error is not None for one in defects),
            }
            return {
                "revision": self.revision,
                "sources": [asdict(one) for one in self.project.sources],
                "notes": list(self.notes),
                "waiting": self.waiting,
                "counts": counts,
                "sizes": found.sizes,
                "sisters": found.told,
                "copies": len(found.copy_of),
                "odd": len(found.odd),
                "is_found": is_now,
            }

    def rows(self, kind: Kind) -> list[dict[str, Any]]:
        """Return the pictures of a kind, with what was found of each, as JSON types."""
        with self.turn:
            found, _ = self.findings
            return [self._row(one, found) for one in self.all(kind)]

    def _row(self, one: Picture, found: Findings) -> dict[str, Any]:
        seen = one.seen
        return {
            "id": one.id,
            "name": one.name,
            "folder": printable(str(one.path.parent)),
            "defect": one.defect,
            "width": seen and seen.width,
            "height": seen and seen.height,
            "kind": seen and {"grey": seen.is_grey, "deep": seen.is_deep},
            "error": one.error,
            "note": seen and seen.note,
            "left_out": self.is_left_out(one),
            "copy_of": found.copy_of.get(one.id),
            "sisters": found.sisters.get(one.id),
            "odd": found.odd.get(one.id, ()),
        }

    def close(self) -> None:
        """Look at nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _list(self, source: Source) -> int:
        """List the pictures of a folder, less those that are gone; look at those that are new or were changed."""
        root = Path(source.path)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", DifferNetWarning)
            paths = (
                find(root) if source.own else find_good(root) if source.kind == "good" else find_defects(root)
            )
        outside = [] if source.own else self._places.outside([Path(path) for path in paths])
        inside = [Path(path) for path in paths if path not in set(outside)]
        notes = [printable(str(one.message)) for one in said]
        if outside:
            notes.append(
                f"{counted(len(outside), 'picture')} left out, which links lead out of the folders allowed"
            )
        with self.turn:
            if (
                len(set(inside) - {one.path for one in self._pictures.values()}) + len(self._pictures)
                > self._most
            ):
                raise ConfigError(
                    f"{root}: {len(inside)} pictures; with those of before at most {self._most} are taken"
                )
            for one in self.all(source.kind):
                if one.path.is_relative_to(root) and not one.path.exists():
                    del self._pictures[one.id]
            new = sum(self._register(path, root, source.kind) for path in inside)
            self.notes = [*(one for one in self.notes if one not in notes), *notes][-20:]
            self._changed()
            return new

    def _register(self, path: Path, root: Path, kind: Kind) -> bool:
        identity, stamp = id_of(path, kind), stamp_of(path)
        known = self._pictures.get(identity)
        if known is not None and known.stamp == stamp:
            return False
        inner = path.relative_to(root).parts if path != root else (path.name,)
        defect = None if kind == "good" else (inner[0] if len(inner) > 1 else path.parent.name)
        name, told = printable("/".join(inner)), None if defect is None else printable(defect)
        picture = Picture(identity, path, kind, name, told, stamp=stamp)
        self._pictures[identity] = picture
        self._waiting += 1
        self._pool.submit(self._look, picture)
        return known is None

    def _look(self, picture: Picture) -> None:
        try:
            done = replace(picture, seen=look(picture.path))
        except Exception as error:  # whatever it is, the others go on, and this one says it
            done = replace(picture, error=printable(in_a_line(error)))
        with self.turn:
            self._waiting -= 1
            if self._pictures.get(picture.id) == picture:
                self._pictures[picture.id] = done
            self._changed()

    def _changed(self) -> None:
        self.revision += 1
        if not self._waiting:
            with suppress(RuntimeError):  # it is being closed
                self._pool.submit(self._find, self.revision)

    def _find(self, revision: int) -> None:
        with self.turn:
            if revision != self.revision or self._waiting:
                return
            used: Sequence[Picture] = self.used()
        try:
            found, note = findings_of(used), None
        except Exception as error:  # what is not known of the pictures hinders no fit
            found, note = Findings(len(used)), f"the pictures could not be compared: {in_a_line(error)}"
        with self.turn:
            if note is not None:
                self.notes.append(printable(note))
            if revision == self.revision:
                self._findings, self._found_at = found, revision
