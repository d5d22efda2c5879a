"""One model of the service: what comes over HTTP is judged and recorded, or it is said whose fault it is."""

from __future__ import annotations

import hashlib
import logging
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from differnet.errors import (
    ConfigError,
    DifferNetError,
    DifferNetWarning,
    DuplicateError,
    ImageError,
    StoreError,
    in_a_line,
    noting,
)
from differnet.runtime.heatmap import heat_png
from differnet.runtime.inspector import Count, Inspector
from differnet.service.http import rates as rating
from differnet.service.http.telemetry import say
from differnet.service.http.upload import TooManyPixelsError, read
from differnet.service.record.images import Keep
from differnet.service.record.inspection import Fault, Inspection, Rates, Received
from differnet.service.record.part import Part, PartPattern
from differnet.service.record.store import Store
from differnet.service.recorder import JudgedRow, Keeping, Recorder
from differnet.service.saved_monitor import open_monitor


@dataclass(frozen=True)
class Task:
    """One image to judge: its bytes as they came, and what is known and asked of it."""

    content: bytes
    file_name: str | None = None
    source_key: str | None = None
    heat_map: bool = False
    views: Count = None
    part: Part | None = None


@dataclass(frozen=True)
class Outcome:
    """A recorded inspection.

    ``heat_map``: PNG where one was asked for, or ``map_error``. ``is_replay``: it was recorded under this key before.
    """

    inspection: Inspection
    heat_map: bytes | None = None
    map_error: str | None = None
    is_replay: bool = False

    @property
    def fault(self) -> Fault | None:
        """Whose fault it is when there is no verdict; in rows of before that of the image."""
        row = self.inspection
        return row.fault or ("image" if row.verdict == "error" else None)


Add = Callable[[JudgedRow], Inspection]


class Served:
    """A model by its name; one object can be used by many threads.

    ``keep``: of which inspections images are kept, and of flagged ones among them heat maps; ``audit_share``,
    ``pattern``: see :class:`Keeping` and :class:`Recorder`. Rates that were applied before hold in place of those of
    the folder; raises what :meth:`Inspector.with_rates` raises.
    """

    def __init__(
        self,
        name: str,
        inspector: Inspector,
        store: Store,
        most_pixels: int,
        keep: Keep,
        audit_share: float = 0.0,
        pattern: PartPattern | None = None,
    ) -> None:
        self.name, self.store, self._most_pixels = name, store, most_pixels
        self.on_rates: Callable[[], None] | None = None  # called when another process moved the rates
        self.digest = inspector.station.digest
        maps: Keep = "none" if keep == "none" or inspector.station.maps is None else "flagged"
        self.monitor = open_monitor(inspector, store, name, self._tell)
        keeping = Keeping(keep, maps, audit_share)
        self.recorder = Recorder(inspector, store, name, "http", keeping, self.monitor, pattern)
        self.recorder.follow()

    @property
    def inspector(self) -> Inspector:
        """What judges by now."""
        return self.recorder.inspector

    def check(self, heat_map: bool, views: Count) -> None:
        """Refuse what the folder has not, before an image is waited for: :class:`ConfigError` and others."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DifferNetWarning)
            self.inspector.predict_iter([], heat_map, views)

    def inspect(self, task: Task, add: Add | None = None) -> Outcome:
        """Judge an image, record what was said, and draw the heat map; the row is on disk when it is drawn.

        What cannot be judged is recorded with the reason, without its key where that is no fault of the image: sent
        again it is judged again. A picture whose key is recorded already gets what was said then. ``add``: records in
        place of :meth:`Recorder.add`. Raises :class:`ConfigError` for a key of another picture and
        :class:`StoreError`.
        """
        self.follow()
        received = _received(task)
        if (known := self._known(received)) is not None:
            return self._again(task, known)
        judged = self._judge(task, received)
        try:
            row = (add or self.recorder.add)(judged)
        except DuplicateError:  # it came twice at once
            known = self._known(received)
            if known is None:
                raise
            return self._again(task, known)
        drawn = self.recorder.draw(judged, row)
        if drawn.error is not None:
            say(drawn.error, logging.ERROR, model=self.name, id=row.id)
        asked = task.heat_map and judged.failure is None
        return Outcome(drawn.row, drawn.heat_map if asked else None, drawn.error if asked else None)

    def follow(self) -> None:
        """Judge by the rates that were applied last, by whichever service of this record."""
        self.recorder.keep_up(self._tell)

    def judge_anyway(self, task: Task, error: Exception) -> JudgedRow:
        """Return the row of an image that :meth:`inspect` raised an error for and that is to have one nevertheless."""
        if isinstance(error, StoreError):
            return self._judge(task, _received(task))
        _fault_of(error)
        return self.recorder.unjudged(replace(_received(task), key=None), error)

    def add_late(self, judged: JudgedRow, add: Add) -> Inspection:
        """Record a row whose sender has left; one whose picture was sent again meanwhile has its row already."""
        try:
            return add(judged)
        except DuplicateError:
            row = judged.row
            known = self._known(Received(digest=row.image_digest, key=row.source_key))
            if known is None:
                raise
            return known

    def _known(self, received: Received) -> Inspection | None:
        """Return what is recorded under the key of a picture; raises :class:`ConfigError` for another picture."""
        found = None if received.key is None else self.store.by_key(self.name, received.key)
        if found is not None and found.image_digest != received.digest:
            raise ConfigError(
                f"Idempotency-Key {received.key}: recorded already for another picture, as {found.id}; this one was "
                "not judged, and wants a key of its own"
            )
        return found

    def _again(self, task: Task, known: Inspection) -> Outcome:
        """Return what was said of a picture before, with its map where one is asked for."""
        again = Outcome(known, is_replay=True)
        if not task.heat_map or again.fault is not None:
            return again
        try:
            kept = None if known.heat_map is None else self.store.kept.path(known.heat_map).read_bytes()
        except FileNotFoundError:
            kept = None
        if kept is not None:
            return replace(again, heat_map=kept)
        if known.model_digest != self.digest:
            return replace(again, map_error="the heat map was not kept, and another model judges now")
        try:
            pixels = read(task.content, task.file_name or "image", self._most_pixels, self.inspector.station)
            return replace(again, heat_map=heat_png(self.inspector.localize(pixels)))
        except Exception as error:
            return replace(again, map_error=f"the heat map could not be drawn: {in_a_line(error)}")

    def preview(self, rates: Rates | None, last: int = 1000) -> rating.Preview:
        """Say what other rates would have said of the last parts that this folder judged."""
        self.follow()
        other = self.recorder.by(rates)
        rows, said = (self.store.scores(self.name, last, self.digest, is_said) for is_said in (False, True))
        return rating.preview(self.inspector, other, rows, said)

    def _judge(self, task: Task, received: Received) -> JudgedRow:
        try:
            with noting() as notes:
                pixels = read(
                    task.content, task.file_name or "image", self._most_pixels, self.inspector.station
                )
        except Exception as error:
            unread = replace(received, error=in_a_line(error), fault=_fault_of(error))
            judged = replace(self.recorder.judge(unread, task.views), failure=error)
        else:
            seen = replace(received, pixels=pixels, note=notes.text)
            judged = self.recorder.judge(seen, task.views, task.heat_map)
            if judged.failure is not None:
                _fault_of(judged.failure)
        if judged.row.fault == "model":
            judged = replace(judged, row=replace(judged.row, source_key=None))
        return judged

    def _tell(self, event: str, text: str) -> None:
        say(f"{event}: {text}", logging.WARNING, model=self.name)
        if event == "rates" and self.on_rates is not None:
            self.on_rates()


def _received(task: Task) -> Received:
    digest = hashlib.sha256(task.content).hexdigest()
    return Received(
        digest=digest, key=task.source_key, name=task.file_name, content=task.content, part=task.part
    )


def _fault_of(error: Exception) -> Fault:
    """Return whose fault an error is; one that nobody thought of goes to the log as well."""
    if isinstance(error, ImageError):
        return "pixels" if isinstance(error, TooManyPixelsError) else "image"
    if not isinstance(error, DifferNetError):
        trace = "".join(traceback.format_exception(error))
        say("an image could not be judged", logging.ERROR, exception=trace)
    return "model"


def warmed(folder: str, threads: int | None) -> Inspector:
    """Return what judges by a folder, after a first picture: later ones need not wait for what is made then."""
    inspector = Inspector(folder, threads)
    inspector.predict(np.full((64, 64, 3), 128, np.uint8), heat_map=inspector.station.maps is not None)
    return inspector
