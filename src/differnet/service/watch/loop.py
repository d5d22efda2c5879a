"""Judge what arrives, record it, and let others know: the work of ``differnet watch``."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

from PIL import Image
from sqlalchemy import Connection

from differnet.data.pixels import Pixels
from differnet.decision.drift import DriftMonitor
from differnet.decision.light import measure
from differnet.decision.verdict import Prediction
from differnet.errors import (
    ConfigError,
    DifferNetError,
    DuplicateError,
    ModelFileError,
    StoreError,
    in_a_line,
)
from differnet.runtime.heatmap import heat_png
from differnet.runtime.inspector import Count, Inspector
from differnet.service.http.rates import with_rates
from differnet.service.record.images import Keep, is_kept
from differnet.service.record.inspection import Inspection, now, with_prediction
from differnet.service.watch.memory import StoreMemory
from differnet.service.watch.notify import Sender
from differnet.service.watch.outbox import Outbox
from differnet.service.watch.sources import Arrival, Input, Tell

FLAGGED = ("review", "NG", "error")
_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds between two attempts to write to the record
_SAVE_EVERY = 5.0  # seconds between two states of the drift monitor that are saved
_LOOK_EVERY = 2.0  # seconds between two looks at the rates that hold
_FORGET_EVERY = 3600.0


@dataclass(frozen=True)
class Wishes:
    """What is done with each image.

    ``views``: as in :meth:`Inspector.predict`. ``maps``, ``images``: for which inspections a heat map and the image are
    kept. ``max_age_days``, ``max_bytes``: see :meth:`Store.retain`.
    """

    views: Count = None
    maps: Keep = "none"
    images: Keep = "none"
    drift: bool = True
    max_age_days: float | None = None
    max_bytes: int | None = None


class Watch:
    """Takes what arrives from one source. Not for two threads at a time.

    Raises :class:`ConfigError` for wishes that the folder of the station cannot fulfil.
    """

    def __init__(
        self,
        inspector: Inspector,
        memory: StoreMemory,
        wishes: Wishes,
        tell: Tell,
        outbox: Outbox | None = None,
        senders: Sequence[Sender] = (),
    ) -> None:
        self.inspector, self.memory, self.wishes, self.tell = inspector, memory, wishes, tell
        self.store, self.model = memory.store, memory.model
        self.outbox, self.senders = outbox, senders
        self.tally: Counter[str] = Counter()
        self.drift: str | None = None
        if wishes.maps != "none" and inspector.station.maps is None:
            raise ConfigError(f"{inspector.folder} has no heat maps: {inspector.station.no_maps}")
        self._own = inspector
        self._rates: Any = None
        self._monitor = self._load_monitor() if wishes.drift else None
        self._due = dict.fromkeys(("rates", "monitor", "forget"), 0.0)

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
        self._follow_rates()
        row, image, heat_map = self._judge(arrival)
        added = self._insist(lambda: self._add(row, arrival, image, heat_map), stop)
        if added is None:
            return None
        self.tally[added.verdict or "none"] += 1
        for sender in self.senders:
            sender.wake()
        self._save_monitor()
        self._forget()
        return added

    def _add(
        self, row: Inspection, arrival: Arrival, image: bytes | None, heat_map: bytes | None
    ) -> Inspection | None:
        def along(connection: Connection, added: Inspection) -> None:
            if arrival.stamp is not None:
                self.memory.write(connection, [arrival.stamp])
            if self.outbox is not None:
                self.outbox.put(connection, added)

        kept = self.store.keep(row, image, heat_map)
        try:
            return self.store.add(kept, along)
        except DuplicateError:
            self.store.kept.remove(kept.image, kept.heat_map)
            if arrival.stamp is not None:
                self.memory.remember([arrival.stamp])
            return None

    def _insist(self, what: Callable[[], Inspection | None], stop: Event) -> Inspection | None:
        attempt = 0
        while True:
            try:
                return what()
            except (StoreError, OSError) as error:
                pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
                if stop.is_set():
                    raise
                self.tell("record", f"{in_a_line(error)}; trying again in {pause:g} s")
                if stop.wait(pause):
                    raise
                attempt += 1

    def _judge(self, arrival: Arrival) -> tuple[Inspection, bytes | None, bytes | None]:
        """Return the row of an image, and of image and heat map what is to be kept."""
        row = Inspection(
            model=self.model,
            model_digest=self.inspector.station.digest,
            source="watch",
            source_key=arrival.key,
            file_name=arrival.name,
            image_digest=arrival.digest,
            time=arrival.time or now(),
            verdict="error",
            error=arrival.error,
        )
        heat = None
        if arrival.pixels is not None:
            try:
                found = self.inspector.predict(arrival.pixels, self.wishes.maps == "all", self.wishes.views)
                heat = found.heat_map
                if self.wishes.maps == "flagged" and found.verdict in FLAGGED:
                    heat = self.inspector.localize(arrival.pixels)
                row = self._filled(row, found, arrival.pixels)
            except Exception as error:  # one odd image must not end the watch, nor come again for ever
                row, heat = replace(row, error=in_a_line(error)), None
        wanted = is_kept(self.wishes.images, row.verdict in FLAGGED)
        image = (arrival.content or _png(arrival.pixels)) if wanted else None
        return row, image, None if heat is None else heat_png(heat)

    def _filled(self, row: Inspection, found: Prediction, pixels: Pixels) -> Inspection:
        standard = self.inspector.station.standard
        return replace(
            with_prediction(row, found),
            rate=standard.rate,
            confidence=standard.confidence,
            review_rate=standard.review_rate,
            early=self.wishes.views == "auto",
            drift=self._see(found, pixels),
        )

    def _see(self, found: Prediction, pixels: Pixels) -> str | None:
        """Show an image to the drift monitor; return what it says while it is in alarm."""
        if self._monitor is None:
            return None
        state = self._monitor.update(found.score, *measure(pixels))
        text = str(state) if state.is_alarm else None
        if text and self.drift is None:
            self.tell("drift", text)
        self.drift = text
        return text

    def _load_monitor(self) -> DriftMonitor | None:
        if self.wishes.views is not None:
            self.tell(
                "drift", "not watched: scores of other views than the calibration's would drift by themselves"
            )
            return None
        try:
            fresh = self.inspector.drift_monitor()
        except ConfigError as error:
            self.tell("drift", f"not watched: {error}")
            return None
        state = self.store.monitor(self._monitor_name, self.inspector.station.digest)
        try:
            known = None if state is None else DriftMonitor.from_json(state)
        except ModelFileError as error:
            self.tell("drift", f"begins anew: {error}")
            known = None
        return known if known is not None and known.origin == fresh.origin else fresh

    @property
    def _monitor_name(self) -> str:
        return f"{self.model[:120]} watch {self.memory.watch}"

    def _save_monitor(self, always: bool = False) -> None:
        if self._monitor is None or not (self._is_due("monitor", _SAVE_EVERY) or always):
            return
        try:
            self.store.set_monitor(self._monitor_name, self.inspector.station.digest, self._monitor.to_json())
        except StoreError as error:
            self.tell("drift", f"its state is not saved: {error}")

    def _follow_rates(self) -> None:
        """Judge by the rates that were applied last, as the service does for the same model."""
        if not self._is_due("rates", _LOOK_EVERY):
            return
        try:
            rates = self.store.setting(self.model)
        except StoreError:
            return  # it is said when the row cannot be written
        if rates == self._rates:
            return
        self._rates = rates
        try:
            self.inspector = self._own if rates is None else with_rates(self._own, rates)
        except DifferNetError as error:
            self.tell("rates", f"those that were applied do not fit this folder: {error}")
            return
        self.tell(
            "rates",
            f"threshold {self.inspector.threshold} at a false-alarm rate of {self.inspector.standard.rate:g}",
        )

    def _forget(self) -> None:
        limits = self.wishes.max_age_days, self.wishes.max_bytes
        if any(limit is not None for limit in limits) and self._is_due("forget", _FORGET_EVERY):
            try:
                self.store.retain(*limits)
            except (StoreError, OSError) as error:
                self.tell("record", f"nothing is forgotten: {in_a_line(error)}")

    def _is_due(self, what: str, every: float) -> bool:
        due = time.monotonic() >= self._due[what]
        if due:
            self._due[what] = time.monotonic() + every
        return due


def _png(pixels: Any) -> bytes | None:
    if pixels is None:
        return None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", compress_level=3)
    return buffer.getvalue()
