"""Judge what arrives, record it, and let others know: the work of ``differnet watch``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event

from sqlalchemy import Connection

from differnet.errors import DuplicateError, StoreError, in_a_line
from differnet.runtime.inspector import Count, Inspector
from differnet.service.delivery.outbox import Outbox
from differnet.service.record.images import Keep
from differnet.service.record.inspection import Inspection, Tell
from differnet.service.record.part import PartPattern
from differnet.service.recorder import JudgedRow, Keeping, Recorder
from differnet.service.saved_monitor import SavedMonitor, open_monitor
from differnet.service.watch.insist import insist
from differnet.service.watch.memory import StoreMemory
from differnet.service.watch.sources import Arrival, Input

_SAVE_EVERY = 5.0  # seconds between two states of the drift monitor that are saved
_FORGET_EVERY = 3600.0


@dataclass(frozen=True)
class Wishes:
    """What is done with each image.

    ``views``: as in :meth:`Inspector.predict`. ``maps``, ``images``: for which inspections a heat map and the image are
    kept. ``max_age_days``, ``max_bytes``: see :meth:`Store.retain`. ``audit_share``: of parts judged OK, the share that
    is drawn to be looked at; ``pattern``: finds a part in the name of a file.
    """

    views: Count = None
    maps: Keep = "none"
    images: Keep = "none"
    drift: bool = True
    max_age_days: float | None = None
    max_bytes: int | None = None
    audit_share: float = 0.0
    pattern: PartPattern | None = None


class Watch:
    """Takes what arrives from one source. Not for two threads at a time.

    ``outbox``: gets a message with each row, in its transaction; ``recorded``: is told of each row that is on disk.
    Raises :class:`ConfigError` for wishes that the folder of the station cannot fulfil.
    """

    def __init__(
        self,
        inspector: Inspector,
        memory: StoreMemory,
        wishes: Wishes,
        tell: Tell,
        outbox: Outbox | None = None,
        recorded: Callable[[Inspection], None] | None = None,
    ) -> None:
        self.memory, self.wishes, self.tell = memory, wishes, tell
        self.store, self.model = memory.store, memory.model
        self.outbox, self.recorded = outbox, recorded
        self.tally: Counter[str] = Counter()
        self.drift: str | None = None
        self._monitor = self._open_monitor(inspector) if wishes.drift else None
        keeping = Keeping(wishes.images, wishes.maps, wishes.audit_share)
        self.recorder = Recorder(
            inspector, self.store, self.model, "watch", keeping, self._monitor, wishes.pattern
        )
        self._due = dict.fromkeys(("monitor", "forget"), 0.0)

    def run(self, source: Input, stop: Event, once: bool) -> Iterator[Inspection]:
        """Judge and record what arrives, and yield each row when it is on disk; what is in hand is finished."""
        try:
            for arrival in source.arrivals(stop, once):
                row = self.take(arrival, stop)
                if row is not None:
                    yield row
        finally:
            self._save_monitor(always=True)

    def take(self, arrival: Arrival, stop: Event) -> Inspection | None:
        """Judge and record one image; nothing when another process was faster.

        While the record cannot be written to it is tried again, until ``stop``; then :class:`StoreError` is raised, and
        the image will be found again.
        """
        self.recorder.keep_up(self.tell)
        judged = self.recorder.judge(arrival, self.wishes.views)
        self._tell_drift()
        added = insist(lambda: self._add(judged, arrival), stop, self.tell)
        if added is None:
            return None
        self.tally[added.verdict or "none"] += 1
        if self.recorded is not None:
            self.recorded(added)
        drawn = self.recorder.draw(judged, added)
        if drawn.error is not None:
            self.tell("map", f"{added.file_name}: {drawn.error}; the verdict is recorded")
        self._save_monitor()
        self._forget()
        return drawn.row

    def _add(self, judged: JudgedRow, arrival: Arrival) -> Inspection | None:
        def along(connection: Connection, added: Inspection) -> None:
            if arrival.stamp is not None:
                self.memory.write(connection, [arrival.stamp])
            if self.outbox is not None:
                self.outbox.put(connection, added)

        try:
            return self.recorder.add(judged, along)
        except DuplicateError:
            if arrival.stamp is not None:
                self.memory.remember([arrival.stamp])
            return None

    def _open_monitor(self, inspector: Inspector) -> SavedMonitor | None:
        if self.wishes.views is not None:
            self.tell(
                "drift", "not watched: scores of other views than the calibration's would drift by themselves"
            )
            return None
        return open_monitor(inspector, self.store, f"{self.model[:120]} watch {self.memory.watch}", self.tell)

    def _tell_drift(self) -> None:
        """Tell of an alarm when it begins, and at the first image when it was there before the start."""
        text = None if self._monitor is None else self._monitor.alarm
        if text is not None and self.drift is None:
            self.tell("drift", text)
        self.drift = text

    def _save_monitor(self, always: bool = False) -> None:
        if self._monitor is None or not (self._is_due("monitor", _SAVE_EVERY) or always):
            return
        try:
            self._monitor.save()
        except StoreError as error:
            self.tell("drift", f"its state is not saved: {error}")

    def _forget(self) -> None:
        limits = self.wishes.max_age_days, self.wishes.max_bytes
        if any(limit is not None for limit in limits) and self._is_due("forget", _FORGET_EVERY):
            try:
                for text in self.store.retain(*limits).warnings(limits[0]):
                    self.tell("record", text)
            except (StoreError, OSError) as error:
                self.tell("record", f"nothing is forgotten: {in_a_line(error)}")

    def _is_due(self, what: str, every: float) -> bool:
        due = time.monotonic() >= self._due[what]
        if due:
            self._due[what] = time.monotonic() + every
        return due
