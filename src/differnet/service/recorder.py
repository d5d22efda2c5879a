"""What an inspector says of an image, as a row of the record: the same row by whichever way the image came.

**What is flagged** is what a person should look at: "review", "NG" and what could not be judged
(:attr:`Inspection.is_flagged`). Of that, of everything or of nothing the image is kept as it was received, and the heat
map; one that somebody asked for is also kept with its image.
"""

from __future__ import annotations

import io
import json
import threading
from dataclasses import astuple, dataclass, replace

from PIL import Image

from differnet.data.pixels import Pixels
from differnet.decision.calibration import Standard
from differnet.decision.drift import DriftMonitor
from differnet.decision.light import measure
from differnet.decision.verdict import Heat
from differnet.errors import ConfigError, DifferNetError, ModelFileError, NumericalError, in_a_line
from differnet.runtime.heatmap import heat_png
from differnet.runtime.inspector import Count, Inspector
from differnet.service.record.images import Keep, is_kept
from differnet.service.record.inspection import Inspection, Rates, Received, Tell, now, with_prediction
from differnet.service.record.store import Along, Store

_CALM = "after 0 images: no change"


@dataclass(frozen=True)
class Keeping:
    """Of which inspections the image and the heat map are kept."""

    images: Keep = "none"
    maps: Keep = "none"


@dataclass(frozen=True)
class JudgedRow:
    """A row that is not recorded yet.

    ``image``, ``heat_map``: what of them is to be kept beside it. ``drawn``: the heat map (PNG) where one was made.
    ``alarm_changed``: whether drift began or ended with this image. ``failure``: what was raised instead of
    a verdict.
    """

    row: Inspection
    image: bytes | None = None
    heat_map: bytes | None = None
    drawn: bytes | None = None
    alarm_changed: bool = False
    failure: Exception | None = None


class SavedMonitor:
    """What the drift monitor says of the images of a model; its state is in the record, by ``name``.

    One object can be used by many threads. Raises :class:`ConfigError` or :class:`NumericalError` for a folder that
    does not say what its calibration images were like. ``tell`` is told when the state cannot be gone on with.
    """

    def __init__(self, inspector: Inspector, store: Store, name: str, tell: Tell) -> None:
        self._store, self._key = store, (name, inspector.station.digest)
        self._lock = threading.Lock()
        self._monitor, self.is_alarm, self.text = inspector.drift_monitor(), False, _CALM
        saved = store.monitor(*self._key)
        if saved is None:
            return
        try:
            monitor, is_alarm, text = _read(saved)
        except ModelFileError as error:
            tell("drift", f"begins anew: {error}")
            return
        if monitor.origin == self._monitor.origin:
            self._monitor, self.is_alarm, self.text = monitor, is_alarm, text
        else:
            tell("drift", "begins anew: what was saved is of other calibration images")

    @property
    def alarm(self) -> str | None:
        """What it says while it is in alarm."""
        return self.text if self.is_alarm else None

    @property
    def images(self) -> int:
        """How many images it has seen since the reset."""
        return self._monitor.images

    def take(self, score: float, pixels: Pixels) -> tuple[str | None, bool]:
        """Show it an image; return what it then says in alarm, and whether that is new."""
        light = measure(pixels)
        with self._lock:
            before, state = self.is_alarm, self._monitor.update(score, *light)
            self.is_alarm, self.text = state.is_alarm, str(state)
            return self.alarm, self.is_alarm != before

    def reset(self) -> None:
        """Forget the images so far, and with them an alarm."""
        with self._lock:
            self._monitor.reset()
            self.is_alarm, self.text = False, _CALM
        self.save()

    def save(self) -> None:
        """Write down what it knows, so that a restart goes on with it; raises :class:`StoreError`."""
        with self._lock:
            state = {"monitor": self._monitor.to_json(), "alarm": self.is_alarm, "text": self.text}
        self._store.set_monitor(*self._key, json.dumps(state))


def open_monitor(inspector: Inspector, store: Store, name: str, tell: Tell) -> SavedMonitor | None:
    """Return :class:`SavedMonitor`; nothing, which is told, for a folder that gives nothing to compare with."""
    try:
        return SavedMonitor(inspector, store, name, tell)
    except (ConfigError, NumericalError) as error:
        tell("drift", f"not watched: {error}")
        return None


def _read(saved: str) -> tuple[DriftMonitor, bool, str]:
    """Return a monitor, whether it was in alarm, and what it said; raises :class:`ModelFileError`.

    Watches saved the monitor alone once: whether that is in alarm is then known from the next image on.
    """
    try:
        state = json.loads(saved)
        if "monitor" not in state:
            return DriftMonitor.from_json(saved), False, _CALM
        return DriftMonitor.from_json(state["monitor"]), bool(state["alarm"]), str(state["text"])
    except ModelFileError:
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise ModelFileError(f"not the state of a drift monitor, as it is saved ({error})") from error


class Recorder:
    """Has images judged by the rates that hold, and records what was said of them.

    ``model``: its name in the record; ``source``: by which way the images come. ``inspector`` is the one that judges
    now. One object can be used by many threads. Raises :class:`ConfigError` for maps that the folder has not.
    """

    def __init__(
        self,
        inspector: Inspector,
        store: Store,
        model: str,
        source: str,
        keeping: Keeping,
        monitor: SavedMonitor | None = None,
    ) -> None:
        if keeping.maps != "none" and inspector.station.maps is None:
            raise ConfigError(f"{inspector.folder} has no heat maps: {inspector.station.no_maps}")
        self.store, self.model, self.source, self.keeping = store, model, source, keeping
        self.inspector, self.monitor = inspector, monitor
        self.applied: Rates | None = None
        self._own, self._lock = inspector, threading.Lock()

    def by(self, rates: Rates | None) -> Inspector:
        """Return an inspector for other rates, or for those of the folder; raises as :meth:`Inspector.with_rates`."""
        return self._own.with_rates(*astuple(rates)) if rates else self._own

    def apply(self, rates: Rates | None) -> None:
        """Judge by other rates from now on, also after a restart; nothing: by those of the folder."""
        other = self.by(rates)
        with self._lock:
            self.store.set_setting(self.model, *(astuple(rates) if rates else (None,)))
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

    def judge(self, received: Received, views: Count = None, heat_map: bool = False) -> JudgedRow:
        """Return the row of an image, and of image and map what is to be kept; what cannot be judged has the reason.

        ``views``, ``heat_map``: as in :meth:`Inspector.predict`. With ``views`` drift is not watched: other views have
        scores of another kind.
        """
        inspector = self.inspector  # by the same rates from beginning to end
        blank, pixels = self._blank(inspector, received, views == "auto"), received.pixels
        if pixels is None:
            return JudgedRow(blank, self._image(blank, received))
        drift, changed = None, False
        try:
            found = inspector.predict(pixels, heat_map or self.keeping.maps == "all", views)
            row = with_prediction(blank, found)
            wanted = is_kept(self.keeping.maps, row.is_flagged)
            drawn = _drawn(inspector, pixels, found.heat_map, wanted)
            if self.monitor is not None and views is None:
                drift, changed = self.monitor.take(found.score, pixels)
        except Exception as error:  # one odd image must not end a stream, nor come again for ever
            row = replace(blank, error=in_a_line(error))
            return JudgedRow(row, self._image(row, received), failure=error)
        image = self._image(row, received)
        kept = drawn if wanted or image is not None else None
        return JudgedRow(replace(row, drift=drift), image, kept, drawn, changed)

    def add(self, judged: JudgedRow, along: Along | None = None) -> Inspection:
        """Record what was said, with the files that are kept; it is on disk when this returns.

        ``along``: see :meth:`Store.add`. Raises :class:`DuplicateError` and :class:`StoreError`; no file is left then.
        """
        row = self.store.keep(judged.row, judged.image, judged.heat_map)
        try:
            return self.store.add(row, along)
        except DifferNetError:
            self.store.kept.remove(row.image, row.heat_map)
            raise

    def _blank(self, inspector: Inspector, received: Received, early: bool) -> Inspection:
        """Return the row of an image before anything was found: by what it is judged, and that it could not be."""
        used = rates_of(inspector.standard)
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
            image_note=received.note,
            rate=used.rate,
            confidence=used.confidence,
            review_rate=used.review_rate,
            early=early,
        )

    def _image(self, row: Inspection, received: Received) -> bytes | None:
        """Return the bytes of an image that is to be kept, of a frame as PNG."""
        if not is_kept(self.keeping.images, row.is_flagged):
            return None
        if received.content is not None or received.pixels is None:
            return received.content
        buffer = io.BytesIO()
        Image.fromarray(received.pixels).save(buffer, "png", compress_level=3)
        return buffer.getvalue()


def rates_of(standard: Standard) -> Rates:
    """Return the rates of a calibration."""
    return Rates(standard.rate, standard.confidence, standard.review_rate)


def _drawn(inspector: Inspector, pixels: Pixels, heat: Heat | None, wanted: bool) -> bytes | None:
    """Return a heat map as PNG: the one there is, or where it is wanted one that is made."""
    if heat is None and wanted:
        heat = inspector.localize(pixels)
    return None if heat is None else heat_png(heat)
