"""The models of a service by their names: versions are put in place, tried, rolled back and retired while it runs.

The record says who judges, so it holds after a restart and for each process on that record: what another one changed is
followed within two seconds. A part is judged to its end by the version that was there when it came.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

from differnet.errors import ConfigError, DifferNetError, ModelFileError, NotFittedError, in_a_line
from differnet.runtime.folder import digest_of
from differnet.runtime.inspector import Inspector
from differnet.runtime.memory import give_back
from differnet.service.http.limits import Limits
from differnet.service.http.model import Served, Task
from differnet.service.http.telemetry import say
from differnet.service.http.versions.loading import Candidate, ConflictError, Loader
from differnet.service.http.versions.made_from import made_from
from differnet.service.http.versions.places import Places
from differnet.service.http.versions.trial import Part, Trial
from differnet.service.record import versions
from differnet.service.record.changes import By
from differnet.service.record.inspection import Inspection, now
from differnet.service.record.store import Store
from differnet.service.record.versions import Lineup, Post, Role, Version

_START = By("differnet serve")


@dataclass(frozen=True)
class Wanted:
    """What a version is to be: which ``role``, by which rates, and who wants it for which reason.

    ``own_rates``: by the rates of its folder; nothing: as in its trial, if it has one, else by those applied.
    """

    role: Role = "active"
    own_rates: bool | None = None
    by: By = _START
    reason: str | None = None


class Models:
    """Which versions judge; for all threads.

    ``served``, ``trials``: by the names of models; others are put in their place, so they can be looked through at any
    time. ``tell`` is told of each model that changed, ``rates_moved`` of each whose rates another process moved,
    ``count`` of each part of a trial.
    """

    def __init__(self, store: Store, limits: Limits, threads: int | None, places: Places) -> None:
        self.store, self.limits, self.places = store, limits, places
        self.loader = Loader(store, places, threads)
        self.served: Mapping[str, Served] = {}
        self.trials: Mapping[str, Trial] = {}
        self.tell: Callable[[str], None] = lambda _: None
        self.rates_moved: Callable[[str], None] = lambda _: None
        self.count: Callable[[str, str], None] = lambda *_: None
        self._is_busy = self._is_given_up = False
        self._turn, self._given, self._troubles = threading.RLock(), set[str](), dict[str, str]()

    def start(self, folders: Mapping[str, str]) -> None:
        """Load what judges: by the record, where it knows the folder that is given; else that folder.

        Models of the record that are not given are loaded where their folders lie below that of --models. Raises
        :class:`ConfigError` and :class:`ModelFileError` for what cannot be loaded, or for rates that do not fit.
        """
        known = versions.lineups(self.store.engine)
        for name, folder in folders.items():
            self._given.add(name)
            self._start(name, folder, known.get(name, Lineup()))
        for name, lineup in known.items():
            if name not in folders and lineup.active is not None:
                version = self.loader.version(name, lineup.active.digest)
                if self.places.holds(Path(version.folder)):
                    self._install(name, self._load_again(name, version))
        self.follow()

    def _start(self, name: str, folder: str, lineup: Lineup) -> None:
        digest = digest_of(folder)
        known, place = versions.get(self.store.engine, name, digest), str(Path(folder).absolute())
        if known is not None and known.folder != place:
            with self.store.writing() as connection:
                versions.move(connection, name, digest, place)
        if known is None or (lineup.active is None and not lineup.is_retired):
            candidate = self.loader.given(folder)
            served = self._served(name, candidate.inspector)  # before it is recorded that it judges
            self._record(name, candidate, Wanted(), own_rates=False)
            self.served = {**self.served, name: served}
        elif lineup.active is None:
            say(f"{name} is retired; --forget-versions {name} has its folder judge again", logging.WARNING)
        elif lineup.active.digest == digest:
            self._install(name, self.loader.given(folder).inspector)
        else:
            version = self.loader.version(name, lineup.active.digest)
            said = {"model": name, "digest": version.digest, "folder": version.folder}
            say(f"judges by the version that was put there, not by {folder}", logging.WARNING, **said)
            self._install(name, self._load_again(name, version))

    def put(self, name: str, candidate: Candidate, wanted: Wanted) -> None:
        """Have a version judge from the next part on, or judge beside the one that does.

        Raises :class:`ConflictError` where the applied rates do not fit it, or for a trial without a model to try it
        beside; all is then as it was.
        """
        with self._turn:
            lineup = self.lineup(name)
            if wanted.role == "shadow" and lineup.active is None:
                raise ConflictError(f"no version of {name} judges, beside which one could be tried")
            if lineup.active is not None and lineup.active.digest == candidate.digest:
                if wanted.role == "shadow":
                    raise ConflictError(f"version {candidate.digest[:12]} of {name} judges already")
                return
            own_rates = wanted.own_rates
            if own_rates is None:
                is_tried = lineup.shadow is not None and lineup.shadow.digest == candidate.digest
                own_rates = is_tried and lineup.shadow is not None and lineup.shadow.own_rates
            self._check_rates(name, candidate.inspector, own_rates)
            self._record(name, candidate, wanted, own_rates)
            self._apply(name, candidate.inspector)

    def roll_back(self, name: str, wanted: Wanted) -> None:
        """Have the version before judge again, also that of a retired model; raises :class:`ConflictError`."""
        with self._turn:
            lineup = self.lineup(name)
            if lineup.before is None:
                raise ConflictError(f"no version of {name} judged before this one")
            candidate = self.loader.from_version(name, lineup.before.digest)
            self._check_rates(name, candidate.inspector, bool(wanted.own_rates))
            with self.store.writing() as connection:
                versions.roll_back(connection, name, bool(wanted.own_rates), wanted.by, wanted.reason)
            self._apply(name, candidate.inspector)

    def retire(self, name: str, wanted: Wanted) -> None:
        """Judge by no version of a model any more, after those parts that have come; raises :class:`ConflictError`."""
        with self._turn:
            if self.lineup(name).active is None:
                raise ConflictError(f"no version of {name} judges")
            with self.store.writing() as connection:
                versions.retire(connection, name, wanted.by, wanted.reason)
            self._apply(name)

    def end_trial(self, name: str, wanted: Wanted) -> None:
        """Judge by the version on trial no more; raises :class:`ConflictError`."""
        with self._turn:
            if self.lineup(name).shadow is None:
                raise ConflictError(f"no version of {name} is on trial")
            with self.store.writing() as connection:
                versions.end_shadow(connection, name, wanted.by, wanted.reason)
            self._apply(name)

    def offer(self, served: Served, task: Task, row: Inspection) -> None:
        """Give a part that was answered to the version on trial, if there is one."""
        trial = self.trials.get(served.name)
        if trial is not None and trial.digest != row.model_digest:
            trial.take(Part(row, task.content, task.views, served.recorder.applied))

    def stand_back(self, is_busy: bool) -> None:
        """Let trials rest while parts are judged, where those want all the processor."""
        self._is_busy = is_busy and _cores() <= self.limits.workers
        for trial in self.trials.values():
            trial.rest(self._is_busy)

    def lineup(self, name: str) -> Lineup:
        """Return who judges a model, as the record has it."""
        return versions.lineups(self.store.engine).get(name, Lineup())

    def is_ours(self, name: str, lineup: Lineup) -> bool:
        """Whether this service judges by a model: it was given, is served, or its folder lies below the allowed one."""
        if name in self._given or name in self.served:
            return True
        found = lineup.active or lineup.before
        version = None if found is None else versions.get(self.store.engine, name, found.digest)
        return version is not None and self.places.holds(Path(version.folder))

    def follow(self) -> None:
        """Take over what another process changed; what cannot be loaded is said once, and then judged by as before."""
        with self._turn:
            if self._is_given_up:  # parts that were under way then are judged by now
                self._is_given_up = False
                give_back()
            for name, lineup in versions.lineups(self.store.engine).items():
                try:
                    if self.is_ours(name, lineup):
                        self._follow(name, lineup)
                        self._troubles.pop(name, None)
                except (DifferNetError, OSError) as error:
                    if self._troubles.get(name) != (text := in_a_line(error)):
                        self._troubles[name] = text
                        say("a version cannot be taken over", logging.ERROR, model=name, error=text)

    def close(self) -> None:
        """End the trials' processes; what they said is recorded."""
        trials, self.trials = self.trials, {}
        for trial in trials.values():
            trial.close()

    def _follow(self, name: str, lineup: Lineup) -> None:
        served, trial = self.served.get(name), self.trials.get(name)
        is_same = (served and served.digest) == (lineup.active and lineup.active.digest)
        if not is_same or (trial and trial.post) != lineup.shadow:
            self._apply(name)

    def _apply(self, name: str, inspector: Inspector | None = None) -> None:
        """Have the versions judge that do by the record; ``inspector``: one of them, if it is loaded."""
        lineup, served = self.lineup(name), self.served.get(name)
        if lineup.active is None:
            self.served = {key: one for key, one in self.served.items() if key != name}
        elif served is None or served.digest != lineup.active.digest:
            if inspector is None or inspector.station.digest != lineup.active.digest:
                inspector = self.loader.load(self.loader.version(name, lineup.active.digest))
            self._install(name, inspector)
        self._is_given_up |= served is not None and self.served.get(name) is not served
        self._follow_trial(name, lineup.shadow)
        self.tell(name)

    def _follow_trial(self, name: str, post: Post | None) -> None:
        trial = self.trials.get(name)
        if trial is not None and post is not None and trial.digest == post.digest:
            trial.post = post
            return
        self.trials = {key: one for key, one in self.trials.items() if key != name}
        if trial is not None:
            trial.close()
        if post is not None:
            folder = self.loader.version(name, post.digest).folder
            limits, store = self.limits, self.store
            keeps, count = limits.keep != "none", lambda outcome: self.count(name, outcome)
            begun = Trial(name, folder, post, store, limits.pixels, keeps, count)
            self.trials = {**self.trials, name: begun}
            begun.rest(self._is_busy)

    def _install(self, name: str, inspector: Inspector) -> None:
        self.served = {**self.served, name: self._served(name, inspector)}

    def _served(self, name: str, inspector: Inspector) -> Served:
        try:
            kept = self.limits.keep, self.limits.audit_share, self.limits.part_pattern
            served = Served(name, inspector, self.store, self.limits.pixels, *kept)
        except ConfigError as error:
            raise ConfigError(
                f"{name}: the rates that were applied to it do not fit this folder ({error}); serve once with "
                f"--forget-rates {name} to judge by those of the folder"
            ) from error
        served.on_rates = lambda: self.rates_moved(name)
        return served

    def _record(self, name: str, candidate: Candidate, wanted: Wanted, own_rates: bool) -> None:
        about = made_from(candidate.inspector.station)
        version = Version(
            number=0,
            time=now(),
            model=name,
            digest=candidate.digest,
            origin=candidate.origin,
            folder=candidate.folder,
            who=wanted.by.who,
            client=wanted.by.client,
            about=about,
        )
        post = Post(candidate.digest, version.time, own_rates)
        with self.store.writing() as connection:
            versions.add(connection, version, wanted.by)
            versions.put(connection, name, post, wanted.role, wanted.by, wanted.reason)

    def _check_rates(self, name: str, inspector: Inspector, own_rates: bool) -> None:
        applied = None if own_rates else self.store.setting(name)
        if applied is None:
            return
        try:
            inspector.with_rates(*astuple(applied))
        except (ConfigError, NotFittedError) as error:
            raise ConflictError(
                f"the rates that were applied to {name} do not fit this version ({error}); move them first, or have it "
                "judge by the rates of its folder (rates=folder)"
            ) from error

    def _load_again(self, name: str, version: Version) -> Inspector:
        try:
            return self.loader.load(version)
        except ModelFileError as error:
            raise ModelFileError(
                f"{name}: the version that judged last cannot be loaded: {error}; or serve once with "
                f"--forget-versions {name} to judge by the folder given"
            ) from error


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
