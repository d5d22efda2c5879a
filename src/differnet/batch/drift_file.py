"""A drift monitor over the images that the command line judges, with its state kept in a file between runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from differnet.data.files import check_target, write_whole
from differnet.decision.drift import DriftMonitor, DriftState
from differnet.detector.detector import DifferNet
from differnet.errors import ConfigError, ModelFileError


class DriftFile:
    """Takes the three numbers of each image, and writes the state ``file`` when told to.

    A file that is there is gone on from, or ``start``, which it held when a run that is resumed began; raises
    :class:`ConfigError` when it belongs to another calibration.
    """

    def __init__(
        self, detector: DifferNet, file: Path, alpha: float = 0.01, start: str | None = None
    ) -> None:
        check_target(file)
        self.file, fresh = file, detector.drift_monitor(alpha)
        self.state: DriftState | None = None
        self._new = fresh.to_json()
        try:
            self.start = self._found() if start is None else start
            self.monitor = DriftMonitor.from_json(self.start)
        except (UnicodeDecodeError, ModelFileError) as error:
            raise ModelFileError(f"{file}: {error}; give another file, or remove it to begin anew") from error
        if self.monitor.origin != fresh.origin:
            raise ConfigError(
                f"{file}: the state of a monitor of another calibration than the model has; give another file, or "
                "remove it to begin anew"
            )

    def see(self, score: float, brightness: float, sharpness: float) -> float:
        """Take the next image; return the evidence of a change so far (:attr:`DriftState.strength`)."""
        self.state = self.monitor.update(score, brightness, sharpness)
        return self.state.strength

    def to_dict(self) -> dict[str, Any]:
        """Return what was found, as JSON types."""
        state = self.state
        found: dict[str, Any] = {
            "images": self.monitor.images,
            "alarm": False,
            "causes": [],
            "text": str(self),
        }
        if state is not None:
            found |= {"alarm": state.is_alarm, "causes": list(state.causes), "strength": state.strength}
        return found

    def __str__(self) -> str:
        """Say what was found."""
        return f"drift: {self.state or 'no image yet'}"

    def save(self) -> None:
        """Write the state, whole or not at all; a second time changes nothing.

        Raises :class:`ConfigError` when the file is not as it was at the start: another run took images meanwhile.
        """
        state = self.monitor.to_json()
        if self._found() not in (self.start, state):
            raise ConfigError(
                f"{self.file}: another run changed it since this one began, so the images of both cannot be "
                "brought into one order; leave one run out, with another file of --drift"
            )
        write_whole(self.file, state.encode())

    def _found(self) -> str:
        return self.file.read_text(encoding="utf-8") if self.file.exists() else self._new
