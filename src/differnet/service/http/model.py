"""One model of the service: what comes over HTTP is judged and recorded, or it is said whose fault it is."""

from __future__ import annotations

import hashlib
import logging
import traceback
import warnings
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from differnet.errors import (
    ConfigError,
    DifferNetError,
    DifferNetWarning,
    DuplicateError,
    ImageError,
    in_a_line,
    noting,
)
from differnet.runtime.inspector import Count, Inspector
from differnet.service.http import rates as rating
from differnet.service.http.telemetry import say
from differnet.service.http.upload import TooManyPixelsError, read
from differnet.service.record.images import Keep
from differnet.service.record.inspection import Inspection, Rates, Received
from differnet.service.record.store import Store
from differnet.service.recorder import JudgedRow, Keeping, Recorder, open_monitor

Fault = Literal["image", "pixels", "model"]


@dataclass(frozen=True)
class Task:
    """One image to judge: its bytes as they came, and what is known and asked of it."""

    content: bytes
    file_name: str | None = None
    source_key: str | None = None
    heat_map: bool = False
    views: Count = None


@dataclass(frozen=True)
class Outcome:
    """A recorded inspection, its map (PNG) where one was asked for, and whose fault it is when there is no verdict."""

    inspection: Inspection
    heat_map: bytes | None = None
    fault: Fault | None = None
    alarm_changed: bool = False


class Served:
    """A model by its name; one object can be used by many threads.

    ``keep``: of which inspections images are kept, and of flagged ones among them heat maps. Rates that were applied
    before hold in place of those of the folder; raises what :meth:`Inspector.with_rates` raises.
    """

    def __init__(self, name: str, inspector: Inspector, store: Store, most_pixels: int, keep: Keep) -> None:
        self.name, self.store, self._most_pixels = name, store, most_pixels
        self.digest = inspector.station.digest
        maps: Keep = "none" if keep == "none" or inspector.station.maps is None else "flagged"
        self.monitor = open_monitor(inspector, store, name, self._tell)
        self.recorder = Recorder(inspector, store, name, "http", Keeping(keep, maps), self.monitor)
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

    def inspect(self, task: Task) -> Outcome:
        """Judge an image and record what was said; it is on disk when this returns.

        What cannot be judged is recorded with the reason. Raises :class:`DuplicateError` and :class:`StoreError`.
        """
        if task.source_key is not None and self.store.seen(self.name, task.source_key):
            raise DuplicateError(f"{task.source_key}: recorded already for model {self.name}")
        judged = self._judge(task)
        row = self.recorder.add(judged)
        fault = None if judged.failure is None else _fault_of(judged.failure)
        return Outcome(row, judged.drawn if task.heat_map else None, fault, judged.alarm_changed)

    def preview(self, rates: Rates | None, last: int = 1000) -> rating.Preview:
        """Say what other rates would have said of the last parts that this folder judged."""
        other = self.recorder.by(rates)
        return rating.preview(self.inspector, other, self.store.scores(self.name, last, self.digest))

    def _judge(self, task: Task) -> JudgedRow:
        digest = hashlib.sha256(task.content).hexdigest()
        received = Received(digest=digest, key=task.source_key, name=task.file_name, content=task.content)
        try:
            with noting() as notes:
                pixels = read(
                    task.content, task.file_name or "image", self._most_pixels, self.inspector.station
                )
        except Exception as error:
            unread = self.recorder.judge(replace(received, error=in_a_line(error)), task.views)
            return replace(unread, failure=error)
        return self.recorder.judge(
            replace(received, pixels=pixels, note=notes.text), task.views, task.heat_map
        )

    def _tell(self, event: str, text: str) -> None:
        say(f"{event}: {text}", logging.WARNING, model=self.name)


def _fault_of(error: Exception) -> Fault:
    """Return whose fault an error is; one that nobody thought of goes to the log as well."""
    if isinstance(error, ImageError):
        return "pixels" if isinstance(error, TooManyPixelsError) else "image"
    if not isinstance(error, DifferNetError):
        trace = "".join(traceback.format_exception(error))
        say("an image could not be judged", logging.ERROR, exception=trace)
    return "model"


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
