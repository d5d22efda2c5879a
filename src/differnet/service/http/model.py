"""One model of the service: an inspector, the rates it judges by, and the monitor of its stream."""

from __future__ import annotations

import hashlib
import json
import threading
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

from differnet.data.pixels import Pixels
from differnet.decision.drift import DriftMonitor
from differnet.decision.light import measure
from differnet.decision.verdict import Prediction
from differnet.errors import (
    ConfigError,
    DifferNetError,
    DifferNetWarning,
    DuplicateError,
    ImageError,
    in_a_line,
)
from differnet.runtime.heatmap import heat_png
from differnet.runtime.inspector import Inspector
from differnet.service.http import rates as rating
from differnet.service.http.upload import TooManyPixelsError, read
from differnet.service.record.images import Keep, is_kept
from differnet.service.record.inspection import Inspection, Rates, new_id, with_prediction
from differnet.service.record.store import Store

Views = int | Literal["auto"] | None
Fault = Literal["image", "pixels", "model"]
_CALM = "after 0 images: no change"


@dataclass(frozen=True)
class Task:
    """One image to judge: its bytes as they came, and what is known of it."""

    content: bytes
    source: str = "http"
    file_name: str | None = None
    source_key: str | None = None
    heat_map: bool = False
    views: Views = None
    id: str = ""


@dataclass(frozen=True)
class Outcome:
    """A recorded inspection, its map (PNG) where one was made, and whose fault it is when there is no verdict."""

    inspection: Inspection
    heat_map: bytes | None = None
    fault: Fault | None = None
    alarm_changed: bool = False


class Served:
    """A model by its name; one object can be used by many threads.

    ``rates``: applied before, in place of those of the folder. Raises what :class:`Inspector` and
    :func:`differnet.service.http.rates.with_rates` raise.
    """

    def __init__(self, name: str, inspector: Inspector, store: Store, most_pixels: int, keep: Keep) -> None:
        self.name, self.own, self.store = name, inspector, store
        self.digest = inspector.station.digest
        self._most_pixels, self._keep = most_pixels, keep
        self._lock = threading.Lock()
        applied = store.setting(name)
        self.applied = applied is not None
        self.inspector = inspector if applied is None else rating.with_rates(inspector, applied)
        self.is_alarm, self.drift_text = False, _CALM
        self.monitor = self._monitor()

    @property
    def rates(self) -> Rates:
        """What it judges by now."""
        return rating.of(self.inspector.standard)

    def check(self, heat_map: bool, views: Views) -> None:
        """Refuse what the folder has not, before an image is waited for: :class:`ConfigError` and others."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DifferNetWarning)
            self.inspector.predict_iter([], heat_map, views)

    def inspect(self, task: Task) -> Outcome:
        """Judge an image and record what was said; it is on disk when this returns.

        What cannot be judged is recorded with the reason. Raises :class:`DuplicateError` and :class:`StoreError`.
        """
        if task.source_key is not None and self.store.seen(self.name, task.source_key):
            raise DuplicateError(f"{task.source_key}: recorded already for model {self.name}")
        inspector = self.inspector  # by the same rates from beginning to end
        name = task.file_name or "image"
        try:
            pixels = read(task.content, name, self._most_pixels)
            found = inspector.predict(pixels, task.heat_map, task.views)
        except TooManyPixelsError as error:
            return self._failed(task, error, "pixels")
        except ImageError as error:
            return self._failed(task, error, "image")
        except (DifferNetError, MemoryError) as error:
            return self._failed(task, error, "model")
        flagged = found.verdict in ("review", "NG")
        kept = is_kept(self._keep, flagged)
        heat = found.heat_map
        if heat is None and kept and flagged and inspector.station.maps is not None:
            heat = inspector.localize(pixels)
        drawn = None if heat is None else heat_png(heat)
        drift, changed = self._watch(found, pixels, task.views)
        row = self._row(inspector, task, found, drift)
        if kept:
            row = self.store.keep(row, task.content, drawn)
        return Outcome(self._add(row), drawn if task.heat_map else None, None, changed)

    def apply(self, rates: Rates | None) -> None:
        """Judge by other rates from now on, also after a restart; nothing: by those of the folder."""
        other = self.own if rates is None else rating.with_rates(self.own, rates)
        with self._lock:
            if rates is None:
                self.store.set_setting(self.name, None)
            else:
                self.store.set_setting(self.name, rates.rate, rates.confidence, rates.review_rate)
            self.inspector, self.applied = other, rates is not None

    def preview(self, rates: Rates | None, last: int = 1000) -> rating.Preview:
        """Say what other rates would have said of the last parts that this folder judged."""
        other = self.own if rates is None else rating.with_rates(self.own, rates)
        return rating.preview(self.inspector, other, self.store.scores(self.name, last, self.digest))

    def reset_monitor(self) -> None:
        """Forget the stream so far, and with it an alarm."""
        with self._lock:
            if self.monitor is not None:
                self.monitor.reset()
            self.is_alarm, self.drift_text = False, _CALM
        self.save_monitor()

    def save_monitor(self) -> None:
        """Write down what the monitor knows, so that a restart goes on with it."""
        if self.monitor is None:
            return
        with self._lock:
            state = {"monitor": self.monitor.to_json(), "alarm": self.is_alarm, "text": self.drift_text}
        self.store.set_monitor(self.name, self.digest, json.dumps(state))

    def _monitor(self) -> DriftMonitor | None:
        try:
            fresh = self.own.drift_monitor()
        except DifferNetError:  # the folder does not say how bright and sharp its calibration images were
            return None
        saved = self.store.monitor(self.name, self.digest)
        if saved is None:
            return fresh
        state = json.loads(saved)
        self.is_alarm, self.drift_text = bool(state["alarm"]), str(state["text"])
        return DriftMonitor.from_json(state["monitor"])

    def _watch(self, found: Prediction, pixels: Pixels, views: Views) -> tuple[str | None, bool]:
        """Return what the monitor says in alarm, and whether that is new; other views have scores of another kind."""
        if self.monitor is None or views is not None:
            return None, False
        light = measure(pixels)
        with self._lock:
            before, state = self.is_alarm, self.monitor.update(found.score, *light)
            self.is_alarm, self.drift_text = state.is_alarm, str(state)
            return (self.drift_text if self.is_alarm else None), self.is_alarm != before

    def _failed(self, task: Task, error: Exception, fault: Fault) -> Outcome:
        row = self._row(self.inspector, task, None, None, in_a_line(error))
        if self._keep != "none" and fault == "model":
            row = self.store.keep(row, task.content)
        return Outcome(self._add(row), None, fault)

    def _add(self, row: Inspection) -> Inspection:
        try:
            return self.store.add(row)
        except DifferNetError:
            self.store.kept.remove(row.image, row.heat_map)
            raise

    def _row(
        self,
        inspector: Inspector,
        task: Task,
        found: Prediction | None,
        drift: str | None,
        error: str | None = None,
    ) -> Inspection:
        used = rating.of(inspector.standard)
        row = Inspection(
            id=task.id or new_id(),
            model=self.name,
            model_digest=self.digest,
            source=task.source,
            source_key=task.source_key,
            file_name=task.file_name,
            image_digest=hashlib.sha256(task.content).hexdigest(),
            verdict="error",
            early=task.views == "auto",
            rate=used.rate,
            confidence=used.confidence,
            review_rate=used.review_rate,
            drift=drift,
            error=error,
        )
        return row if found is None else with_prediction(row, found)


def open_models(
    folders: dict[str, str], store: Store, most_pixels: int, keep: Keep, threads: int | None
) -> dict[str, Served]:
    """Load the models by their names; raises :class:`ConfigError` for rates in the record that one cannot promise."""
    found = {}
    for name, folder in folders.items():
        inspector = Inspector(folder, threads)
        inspector.predict(
            np.full((64, 64, 3), 128, np.uint8), heat_map=inspector.station.maps is not None
        )  # warm
        try:
            found[name] = Served(name, inspector, store, most_pixels, keep)
        except ConfigError as error:
            raise ConfigError(
                f"{name}: the rates that were applied to it do not fit this folder ({error}); serve once with "
                f"--forget-rates {name} to judge by those of the folder"
            ) from error
    return found
