"""The studio: pictures, one job at a time, what came of them, and what judges live."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from differnet.data.files import write_whole
from differnet.errors import ConfigError, counted
from differnet.service.http.limits import Limits
from differnet.studio.confirmed import Confirmed
from differnet.studio.gallery import Gallery
from differnet.studio.jobs import BusyError, Job, Jobs
from differnet.studio.live import LiveHost
from differnet.studio.pictures import Picture
from differnet.studio.places import Places
from differnet.studio.project import Folder, Kind, Project, Source
from differnet.studio.time_left import expected
from differnet.studio.uploads import Uploads, safe_name

FEWEST = 10  # good pictures that a fit is begun with
_CHECKED = 8  # good pictures by which a station is held to the model
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MODEL, RESULT, MAPS, STATION = "model.safetensors", "result.json", "maps", "station"


@dataclass(frozen=True)
class Settings:
    """How a studio is run: by which ``preset`` and ``settings`` it fits, and how much it takes.

    ``allow``: folders that may be looked into. ``record``: URL of another record whose confirmed good pictures can be
    taken, with the folder of its ``images``.
    """

    work: Path
    allow: tuple[Path, ...]
    preset: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    weights: str | None = None
    form: str = "openvino"
    record: str | None = None
    images: Path | None = None
    most: int = 10_000
    upload_bytes: int = 20 * 2**30


class Studio:
    """All that the routes share; one object for all threads."""

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self.settings, self.limits = settings, limits
        self.places = Places(settings.allow)
        self.folder = Folder(settings.work)
        self.gallery = Gallery(self.folder, self.places, settings.most)
        self.uploads = Uploads(limits.image_bytes, settings.upload_bytes, self.folder.path / "uploads")
        self.live = LiveHost(self.folder.path, limits)
        own = self.live.url if settings.record is None else settings.record
        self.confirmed = Confirmed(own, settings.images if settings.record else None)
        self.jobs = Jobs(self.folder, self._ended)
        self._results: dict[int, dict[str, Any]] = {}
        if self.folder.broken_off:
            self.gallery.notes.append("A job was broken off when the studio ended; nothing is left of it.")

    @property
    def project(self) -> Project:
        """What is chosen by now."""
        return self.gallery.project

    def begin(self) -> None:
        """Serve what was served before, in the event loop that runs."""
        self.live.begin()
        station = self.project.live
        if station is not None:
            self.live.serve(self.project.name, Path(station))

    async def close(self) -> None:
        """End the job that runs and all else."""
        self.jobs.cancel()
        await self.live.close()
        self.confirmed.close()
        self.gallery.close()
        self.folder.close()

    def fit(self, rate: float | None, preset: str | None) -> Job:
        """Begin a fit to the good pictures that are not left out.

        Raises :class:`BusyError`, and :class:`ConfigError` while pictures are being looked at, and for too few.
        """
        if self.gallery.waiting:
            raise BusyError(f"{counted(self.gallery.waiting, 'picture')} to be looked at yet; wait for it")
        used = self.gallery.used()
        if len(used) < FEWEST:
            raise ConfigError(
                f"{counted(len(used), 'good picture')} to fit to; at least {FEWEST} were wanted"
            )
        before = self.result(self.project.fit)
        plan = expected(len(used), before and before.get("seconds"), len(before["good"]) if before else 0)
        given = {} if rate is None else {"rate": rate}
        wanted = {
            "pictures": [{"id": one.id, "path": str(one.path)} for one in used],
            "preset": preset or self.settings.preset,
            "settings": {**self.settings.settings, **given},
            "seed": self.settings.seed,
            "weights": self.settings.weights,
        }
        return self._start("fit", wanted, plan)

    def judge(self) -> Job:
        """Begin to judge the known defects by the model; raises :class:`ConfigError` where there are none of either."""
        model = self._model()
        defects = [one for one in self.gallery.all("defects") if one.seen]
        if not defects:
            raise ConfigError("no known defects that can be read; add some first")
        rows = [
            {"id": one.id, "path": str(one.path), "name": one.name, "defect": one.defect} for one in defects
        ]
        plan = {"starting": 6.0, "judging known defects": 0.15 * len(rows), "drawing heat maps": 5.0}
        return self._start(
            "judge", {"model": str(model), "pictures": rows, "weights": self.settings.weights}, plan
        )

    def export(self, name: str, to: str | None) -> Job:
        """Begin to write the station of the model, which judges live when it is done.

        ``to``: a folder that gets the same. Raises :class:`ConfigError` for a name or folder that cannot be.
        """
        model = self._model()
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r}: letters, digits, '.', '_' and '-' make the name of a model")
        target = self.places.checked(to) if to else None
        if target is not None and target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ConfigError(
                f"{target} is there already: give a folder that does not exist yet, or an empty one"
            )
        wanted = {
            "model": str(model),
            "weights": self.settings.weights,
            "format": self.settings.form,
            "check": [str(one.path) for one in self.gallery.used()[:_CHECKED]],
            "to": None if target is None else str(target),
            "name": name,
            "fit": self.project.fit,
        }
        return self._start("export", wanted, {"starting": 5.0, "writing graphs": 12.0, "comparing": 6.0})

    def result(self, number: int | None) -> dict[str, Any] | None:
        """Return what a job has found, nothing where there is none."""
        if number is None:
            return None
        if number not in self._results:
            try:
                self._results[number] = json.loads((self.folder.job(number) / RESULT).read_bytes())
            except (OSError, ValueError):
                return None
        return self._results[number]

    def map_of(self, picture: Picture) -> Path | None:
        """Return the file of the heat map that was drawn for a picture, if there is one."""
        number = self.project.fit if picture.kind == "good" else self.project.judged
        if number is None:
            return None
        place = self.folder.job(number) / MAPS / f"{picture.id}.png"
        return place if place.is_file() else None

    def take_confirmed(self, model: str) -> int:
        """Copy the confirmed good pictures of a model of the record, and return how many are new."""
        target = self.folder.path / "confirmed" / safe_name(model)
        self.confirmed.copy(model, target)
        return self.gallery.add_own(target, "good")

    def remove(self, path: str, kind: Kind) -> None:
        """Have the pictures of a folder no more; on disk they stay, own copies in another folder.

        Raises :class:`BusyError` for own copies while a job runs, which may need them.
        """
        with self.gallery.turn:
            is_own = any(one.own and one.path == path for one in self.project.sources)
            if is_own and self.jobs.is_running:
                raise BusyError("a job is running that may need these pictures; wait for it, or cancel it")
            self.gallery.remove_source(path, kind)
            if is_own:
                aside = self.folder.path / "removed" / f"{time.time_ns()}-{Path(path).name}"
                aside.parent.mkdir(exist_ok=True)
                Path(path).rename(aside)

    async def receive(
        self, chunks: AsyncIterator[bytes], kind: Kind, name: str, defect: str | None
    ) -> Picture:
        """Take a picture that is sent; ``defect``: its type, where it is a known defect."""
        root = self.folder.uploads(kind)
        place = root / safe_name(defect or "defect") if kind == "defects" else root
        path = await self.uploads.receive(chunks, place, name)
        return await asyncio.to_thread(self.gallery.add_file, path, Source(str(root), kind, own=True))

    def _model(self) -> Path:
        number = self.project.fit
        if number is None or not (self.folder.job(number) / MODEL).is_file():
            raise ConfigError("nothing was fitted yet; fit first")
        return self.folder.job(number) / MODEL

    def _start(self, kind: Any, wanted: Mapping[str, Any], plan: Mapping[str, float]) -> Job:
        with self.gallery.turn:
            number = self.project.job + 1
            job = self.jobs.start(number, kind, wanted, plan)
            self.gallery.change(replace(self.project, job=number))
            return job

    def _ended(self, job: Job) -> None:
        """Take what a job has made that is done."""
        with self.gallery.turn:
            project = self.project
            if job.kind == "fit":
                found = self.result(job.number) or {}
                seconds = {name: round(one, 2) for name, one in job.clock.taken(time.monotonic()).items()}
                self._results[job.number] = document = {**found, "seconds": seconds, "warnings": job.warnings}
                write_whole(self.folder.job(job.number) / RESULT, json.dumps(document).encode())
                self.gallery.change(replace(project, fit=job.number, judged=None))
            elif job.kind == "judge":
                self.gallery.change(replace(project, judged=job.number))
            else:
                station, name = self.folder.job(job.number) / STATION, (self.result(job.number) or {})["name"]
                self.gallery.change(replace(project, live=str(station), name=name))
                self.live.serve(name, station)

    def state(self) -> dict[str, Any]:
        """Return all but the pictures and their scores, as JSON types."""
        with self.gallery.turn:
            project, used = self.project, self.gallery.used()
            about = self.gallery.summary()
        fit, judged = self.result(project.fit), self.result(project.judged)
        told = None
        if fit is not None:
            told = {"number": project.fit, **without(fit, "good"), "is_old": self._is_old(fit, used)}
        return {
            **about,
            "places": [str(root) for root in self.places.roots],
            "fewest": FEWEST,
            "job": None if self.jobs.last is None else self.jobs.last.to_dict(),
            "fit": told,
            "judged": None if judged is None else {"number": project.judged, **without(judged, "defects")},
            "live": self._live(),
            "preset": self.settings.preset,
            "presets": sorted({"default", "fast", "turned", self.settings.preset}),
            "rate": self.settings.settings.get("rate", 0.01),
        }

    def scores(self) -> dict[str, Any]:
        """Return the scores of the good pictures and of known defects, the most unusual good ones first."""
        fit, judged = self.result(self.project.fit), self.result(self.project.judged)
        return {"good": fit["good"] if fit else [], "defects": judged["defects"] if judged else []}

    @staticmethod
    def _is_old(fit: Mapping[str, Any], used: list[Picture]) -> bool:
        """Whether other pictures are chosen by now than were fitted to."""
        return {one["id"] for one in fit["good"]} != {one.id for one in used}

    def _live(self) -> dict[str, Any]:
        """Return what judges, how well the station agrees with its model, and of which fit that is."""
        place, found = self.project.live, None
        if place is not None:
            with suppress(ValueError):
                found = self.result(int(Path(place).parent.name))
        about = {name: found and found.get(name) for name in ("agreement", "fit")}
        return {**asdict(self.live.live), "is_serving": self.live.serving is not None, **about}


def without(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a document less one of its members, which is long."""
    return {key: value for key, value in document.items() if key != name}
