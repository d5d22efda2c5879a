"""What a studio keeps in its folder, so that it goes on where it was: a small file of JSON, written whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import TypeAdapter, ValidationError

from differnet.data.files import TakenError, open_locked, write_whole
from differnet.errors import ConfigError

Kind = Literal["good", "defects"]
_FILE, _LOCK = "studio.json", "studio.lock"
_BROKEN_OFF = ".part"  # the end of a folder whose job has not ended well


@dataclass(frozen=True)
class Source:
    """A folder that pictures come from: ``own`` ones are copies that lie below that of the studio."""

    path: str
    kind: Kind
    own: bool = False


@dataclass(frozen=True)
class Project:
    """What is chosen by now.

    ``left_out``: ids of pictures that are not fitted to. ``job``: the number of the last job. ``fit``: that of the
    job whose model is looked at, ``judged`` that whose verdicts on known defects hold for it. ``live``: the folder of
    the station that judges, and by which ``name``.
    """

    sources: tuple[Source, ...] = ()
    left_out: frozenset[str] = field(default_factory=frozenset)
    job: int = 0
    fit: int | None = None
    judged: int | None = None
    live: str | None = None
    name: str = "part"


_PROJECT = TypeAdapter(Project)


class Folder:
    """The folder of a studio, which no other has meanwhile; raises :class:`ConfigError` where one does.

    Of what was being made when another ended, nothing is left.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = Path(os.path.realpath(path))
        try:
            self._lock: IO[bytes] = open_locked(self.path / _LOCK, lambda place: place.open("ab"))
        except TakenError as error:
            raise ConfigError(
                f"{path}: another studio works in this folder; end it, or give another one (--work FOLDER)"
            ) from error
        self.broken_off = [one for one in self.jobs.glob(f"*{_BROKEN_OFF}") if one.is_dir()]
        for one in self.broken_off:
            shutil.rmtree(one, ignore_errors=True)

    @property
    def jobs(self) -> Path:
        """Where each job has its folder."""
        return self.path / "jobs"

    def job(self, number: int, is_done: bool = True) -> Path:
        """Return the folder of a job; one that is not done has another name."""
        return self.jobs / f"{number:05}{'' if is_done else _BROKEN_OFF}"

    def uploads(self, kind: Kind) -> Path:
        """Return where pictures lie that were sent."""
        return self.path / "uploads" / kind

    def read(self) -> Project:
        """Return what was chosen; raises :class:`ConfigError` for a file that is none of these."""
        place = self.path / _FILE
        if not place.exists():
            return Project()
        try:
            return _PROJECT.validate_json(place.read_bytes())
        except (ValidationError, OSError) as error:
            raise ConfigError(
                f"{place}: not what a studio has kept ({error}); move it away to begin anew"
            ) from error

    def write(self, project: Project) -> None:
        """Keep what is chosen."""
        document: dict[str, Any] = asdict(project) | {"left_out": sorted(project.left_out)}
        write_whole(self.path / _FILE, json.dumps(document, indent=1).encode())

    def close(self) -> None:
        """Let another have the folder."""
        self._lock.close()


Change = Callable[[Project], Project]


def without_source(project: Project, path: str, kind: Kind) -> Project:
    """Return a project without one of its folders."""
    rest = tuple(one for one in project.sources if (one.path, one.kind) != (path, kind))
    return replace(project, sources=rest)


def with_source(project: Project, source: Source) -> Project:
    """Return a project with one more folder, if it has not that one."""
    return project if source in project.sources else replace(project, sources=(*project.sources, source))
