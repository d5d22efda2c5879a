"""A drift monitor over the images that the command line judges, with its state kept in a file between runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from differnet.detector import DifferNet
from differnet.drift import DriftMonitor, DriftState
from differnet.errors import ConfigError, ModelFileError
from differnet.images import ImageLike, load
from differnet.light import measure
from differnet.storage import check_target, write_whole
from differnet.verdict import Prediction


class Watch:
    """Takes each image with its prediction, and writes the state ``file`` when told to.

    A file that is there is gone on from; raises :class:`ConfigError` when it belongs to another calibration.
    """

    def __init__(self, detector: DifferNet, file: Path, alpha: float = 0.01) -> None:
        check_target(file)
        self.file, fresh = file, detector.drift_monitor(alpha)
        self.state: DriftState | None = None
        self.monitor = _read(file) if file.exists() else fresh
        if self.monitor.origin != fresh.origin:
            raise ConfigError(
                f"{file}: the state of a monitor of another calibration than the model has; give another file, or "
                "remove it to begin anew"
            )

    def see(self, image: ImageLike, prediction: Prediction) -> float:
        """Take the next image; return the evidence of a change so far (:attr:`DriftState.strength`)."""
        self.state = self.monitor.update(prediction.score, *measure(load(image)))
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
        """Write the state, whole or not at all."""
        write_whole(self.file, self.monitor.to_json().encode())


def _read(file: Path) -> DriftMonitor:
    try:
        return DriftMonitor.from_json(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ModelFileError) as error:
        raise ModelFileError(f"{file}: {error}; give another file, or remove it to begin anew") from error
