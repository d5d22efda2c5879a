"""What an inspector says of an image, as a row of the record: the same row by whichever way the image came.

**What is flagged** is what a person should look at: "review", "NG" and what could not be judged
(:attr:`Inspection.is_flagged`). Of that, of everything or of nothing the image is kept as it was received, and the heat
map; one that somebody asked for is also kept with its image.

**First the verdict.** A part is judged, then recorded, and only then its heat map is drawn: one that cannot be drawn
costs the map and nothing else.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace

from PIL import Image

from differnet.data.pixels import Pixels
from differnet.decision.calibration import Standard
from differnet.decision.words.sentences import of_rate
from differnet.errors import (
    ConfigError,
    DifferNetError,
    DuplicateError,
    ImageError,
    StoreError,
    in_a_line,
)
from differnet.runtime.heatmap import heat_png
from differnet.runtime.inspector import Count, Inspector
from differnet.service.record.changes import NOBODY, By
from differnet.service.record.figures.review import is_drawn
from differnet.service.record.images import Keep, is_kept
from differnet.service.record.inspection import (
    Fault,
    Inspection,
    Rates,
    Received,
    Tell,
    now,
    with_prediction,
)
from differnet.service.record.part import NO_PART, PartPattern
from differnet.service.record.store import Along, Store
from differnet.service.saved_monitor import SavedMonitor

_LOOK_EVERY = 2.0  # seconds between two looks at the rates that hold


@dataclass(frozen=True)
class Keeping:
    """Of which inspections the image and the heat map are kept.

    ``audit_share``: of the parts judged OK, the share that is drawn to be looked at; their images are kept as well.
    """

    images: Keep = "none"
    maps: Keep = "none"
    audit_share: float = 0.0


@dataclass(frozen=True)
class JudgedRow:
    """A row that is not recorded yet.

    ``image``: what of it is to be kept beside the row. ``draw``: makes the heat map (PNG) that is asked for or is to be
    kept, ``is_map_kept``. ``alarm_changed``: whether drift began or ended with this image. ``failure``: what was raised
    instead of a verdict.
    """

    row: Inspection
    image: bytes | None = None
    draw: Callable[[], bytes] | None = None
    is_map_kept: bool = False
    alarm_changed: bool = False
    failure: Exception | None = None


@dataclass(frozen=True)
class Drawn:
    """A recorded row with its heat map (PNG), or the reason why there is none; neither where none was wanted."""

    row: Inspection
    heat_map: bytes | None = None
    error: str | None = None


class Recorder:
    """Has images judged by the rates that hold, and records what was said of them.

    ``model``: its name in the record; ``source``: by which way the images come. ``inspector`` is the one that judges
    now. ``pattern``: finds a part in the name of its file. One object can be used by many threads. Raises
    :class:`ConfigError` for maps that the folder has not, and for parts to be looked at whose images are not kept.
    """

    def __init__(
        self,
        inspector: Inspector,
        store: Store,
        model: str,
        source: str,
        keeping: Keeping,
        monitor: SavedMonitor | None = None,
        pattern: PartPattern | None = None,
    ) -> None:
        if keeping.audit_share and keeping.images == "none":
            raise ConfigError(
                "parts are drawn to be looked at, and no images are kept: flagged or all was wanted"
            )
        if keeping.maps != "none" and inspector.station.maps is None:
            raise ConfigError(f"{inspector.folder} has no heat maps: {inspector.station.no_maps}")
        self.store, self.model, self.source, self.keeping = store, model, source, keeping
        self.inspector, self.monitor, self._pattern = inspector, monitor, pattern
        self.applied: Rates | None = None
        self._own, self._lock, self._look_at = inspector, threading.Lock(), 0.0

    def by(self, rates: Rates | None) -> Inspector:
        """Return an inspector for other rates, or for those of the folder; raises as :meth:`Inspector.with_rates`."""
        return self._own.with_rates(*astuple(rates)) if rates else self._own

    def apply(self, rates: Rates | None, by: By = NOBODY) -> None:
        """Judge by other rates from now on, also after a restart; nothing: by those of the folder."""
        other = self.by(rates)
        with self._lock:
            rate, confidence, review_rate = astuple(rates) if rates else (None, None, None)
            self.store.set_setting(self.model, rate, confidence, review_rate, by)
            self.inspector, self.applied = other, rates

    def follow(self) -> bool:
        """Judge by the rates that were applied last, by whomever; return whether they are others than before.

        Raises :class:`StoreError`, and, once for the same rates, as :meth:`Inspector.with_rates`: it then judges as
        before.
        """
        with self._lock:
            before, self.applied = self.applied, self.store.setting(self.model)
            if self.applied == before:
                return False
            self.inspector = self.by(self.applied)
            return True

    def keep_up(self, tell: Tell, every: float = _LOOK_EVERY) -> None:
        """Do :meth:`follow` when the last time is ``every`` seconds ago; what comes of it is told."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + every
        try:
            changed = self.follow()
        except StoreError:
            return  # it is said when the row cannot be written
        except DifferNetError as error:
            tell("rates", f"those that were applied do not fit this folder: {error}")
            return
        if changed:
            rate, threshold = self.inspector.standard.rate, self.inspector.threshold
            place = "there is no threshold" if threshold is None else f"from a score of {threshold:.4g}"
            tell("rates", f"{of_rate(rate)}, {place}")

    def judge(self, received: Received, views: Count = None, heat_map: bool = False) -> JudgedRow:
        """Return the row of an image, and what of it is to be kept; what cannot be judged has the reason.

        ``views``: as in :meth:`Inspector.predict`; ``heat_map``: it is to be drawn afterwards. With ``views`` drift is
        not watched: other views have scores of another kind.
        """
        inspector = self.inspector  # by the same rates from beginning to end
        blank, pixels = self._blank(inspector, received, views == "auto"), received.pixels
        if pixels is None:
            return JudgedRow(blank, self._image(blank, received))
        try:
            found = inspector.predict(pixels, views=views)
            row = self._drawn(with_prediction(blank, found))
        except Exception as error:  # one odd image must not end a stream, nor come again for ever
            fault: Fault = "image" if isinstance(error, ImageError) else "model"
            row = replace(blank, error=in_a_line(error), fault=fault)
            return JudgedRow(row, self._image(row, received), failure=error)
        drift, changed = self._drift(found.score, pixels) if views is None else (None, False)
        image = self._image(row, received)
        wanted = is_kept(self.keeping.maps, row.is_flagged or bool(row.is_drawn))
        draw = (lambda: heat_png(inspector.localize(pixels))) if wanted or heat_map else None
        is_map_kept = draw is not None and (wanted or image is not None)
        return JudgedRow(replace(row, drift=drift), image, draw, is_map_kept, changed)

    def unjudged(self, received: Received, error: Exception) -> JudgedRow:
        """Return the row of an image at which something else failed than its reading or judging."""
        blank = self._blank(self.inspector, received, early=False)
        row = replace(blank, error=in_a_line(error), fault="model")
        return JudgedRow(row, self._image(row, received), failure=error)

    def add(self, judged: JudgedRow, along: Along | None = None) -> Inspection:
        """Record what was said, with the image that is kept; it is on disk when this returns.

        ``along``: see :meth:`Store.add`. It can be called again for the same row after an error: a row that is there
        already, since the word of the database alone was lost, is returned. Raises :class:`DuplicateError` and
        :class:`StoreError`; no file is left then, unless it cannot be known whether the row is there.
        """
        row = self.store.keep(judged.row, judged.image)
        try:
            return self.store.add(row, along)
        except (DuplicateError, StoreError) as error:
            try:
                known = self.store.get(row.id)
            except StoreError:
                raise StoreError(f"{error}; whether it is recorded is not known") from error
            if known is not None:
                return known
            self.store.kept.remove(row.image)
            raise

    def draw(self, judged: JudgedRow, row: Inspection) -> Drawn:
        """Draw the heat map of a row that is recorded, and keep it where it is to be kept.

        Whatever fails is the error of what is returned: the verdict stands.
        """
        if judged.draw is None:
            return Drawn(row)
        try:
            heat_map = judged.draw()
        except Exception as error:
            return Drawn(row, None, f"the heat map could not be drawn: {in_a_line(error)}")
        if not judged.is_map_kept:
            return Drawn(row, heat_map)
        try:
            return Drawn(self.store.keep_map(row, heat_map), heat_map)
        except StoreError as error:
            return Drawn(row, heat_map, f"the heat map could not be kept: {error}")

    def _drift(self, score: float, pixels: Pixels) -> tuple[str | None, bool]:
        """Return what the monitor says in alarm, and whether that is new."""
        if self.monitor is None:
            return None, False
        try:
            return self.monitor.take(score, pixels)
        except Exception as error:  # the verdict stands without it
            return f"cannot be told: {in_a_line(error)}", False

    def _blank(self, inspector: Inspector, received: Received, early: bool) -> Inspection:
        """Return the row of an image before anything was found: by what it is judged, and that it could not be."""
        used, part = rates_of(inspector.standard), received.part or NO_PART
        if self._pattern is not None:
            part = part.over(self._pattern.part(received.name))
        return Inspection(
            model=self.model,
            model_digest=inspector.station.digest,
            source=self.source,
            source_key=received.key,
            file_name=received.name,
            image_digest=received.digest,
            time=received.time or now(),
            verdict="error",
            error=received.error,
            fault=None if received.error is None else received.fault,
            image_note=received.note,
            rate=used.rate,
            confidence=used.confidence,
            review_rate=used.review_rate,
            early=early,
            serial=part.serial,
            lot=part.lot,
            station=part.station,
            fields=part.fields,
        )

    def _drawn(self, row: Inspection) -> Inspection:
        """Return the row of an OK part with whether it is drawn to be looked at."""
        share = self.keeping.audit_share
        if not share or row.verdict != "OK":
            return row
        return replace(row, audit_share=share, is_drawn=is_drawn(row.id, share))

    def _image(self, row: Inspection, received: Received) -> bytes | None:
        """Return the bytes of an image that is to be kept, of a frame as PNG."""
        if not is_kept(self.keeping.images, row.is_flagged or bool(row.is_drawn)):
            return None
        if received.content is not None or received.pixels is None:
            return received.content
        buffer = io.BytesIO()
        Image.fromarray(received.pixels).save(buffer, "png", compress_level=3)
        return buffer.getvalue()


def rates_of(standard: Standard) -> Rates:
    """Return the rates of a calibration."""
    return Rates(standard.rate, standard.confidence, standard.review_rate)
