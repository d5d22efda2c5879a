"""The drift monitor of a model, whose state is in the record: a restart goes on with it."""

from __future__ import annotations

import json
import threading

from differnet.data.pixels import Pixels
from differnet.decision.drift import DriftMonitor
from differnet.decision.light import measure
from differnet.errors import ConfigError, ModelFileError, NumericalError
from differnet.runtime.inspector import Inspector
from differnet.service.record.inspection import Tell
from differnet.service.record.store import Store

_CALM = "after 0 images: no change"


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
