"""What a drift monitor says: which number changed, how, since when, and how surely."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from differnet.decision.martingale import Change

Cause = Literal["light", "focus", "parts", "unclear"]

NAMES = ("score", "brightness", "sharpness")
_LITTLE = (
    0.5  # log10 of a capital that each number ever reaches without a change with a chance of at most 0.32
)
_SAID: dict[tuple[str, Change], str] = {
    ("brightness", "lower"): "pictures are darker",
    ("brightness", "higher"): "pictures are brighter",
    ("brightness", "wider"): "brightness varies more",
    ("brightness", "narrower"): "brightness varies less",
    ("brightness", "high tail"): "some pictures are brighter",
    ("brightness", "low tail"): "some pictures are darker",
    ("sharpness", "lower"): "pictures are less sharp",
    ("sharpness", "higher"): "pictures are sharper, or noisier",
    ("sharpness", "wider"): "sharpness varies more",
    ("sharpness", "narrower"): "sharpness varies less",
    ("sharpness", "high tail"): "some pictures are sharper, or noisier",
    ("sharpness", "low tail"): "some pictures are less sharp",
    ("score", "lower"): "scores are lower",
    ("score", "higher"): "scores are higher",
    ("score", "wider"): "scores spread wider",
    ("score", "narrower"): "scores spread less",
    ("score", "high tail"): "more scores are among the highest",
    ("score", "low tail"): "more scores are among the lowest",
}


@dataclass(frozen=True)
class DriftEvidence:
    """What speaks for a change of one number.

    ``p_value``: of the last image, small where it is high among those before. ``strength``: log10 of the capital of the
    bets, less where images move in stretches; without a change, and with independent images, it ever reaches s with a
    probability of at most 10^-s. ``alarm``: how the number changed when the alarm was reached, nothing before; it stays
    until the reset. ``since``: about the image from which on. ``suspected``, ``suspected_since``: the same of what may
    be a change, or a stretch of images that are alike. ``one_by_one``: log10 of the capital as if all images were
    independent. ``clustering``: how many images tell as much as one independent image.
    """

    p_value: float
    strength: float
    alarm: Change | None
    since: int | None = None
    suspected: Change | None = None
    suspected_since: int | None = None
    one_by_one: float = 0.0
    clustering: float = 1.0


@dataclass(frozen=True)
class DriftState:
    """What the monitor says after ``images`` images since the reset; nothing for a number that is not watched."""

    images: int
    score: DriftEvidence
    brightness: DriftEvidence | None = None
    sharpness: DriftEvidence | None = None

    @property
    def strength(self) -> float:
        """The evidence in one number: without a change it ever reaches s with a probability of at most 10^-s."""
        found = self._found()
        return max(one.strength for one in found.values()) - math.log10(len(found))

    @property
    def is_alarm(self) -> bool:
        """Whether any of the numbers has changed."""
        return any(one.alarm for one in self._found().values())

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What changed, as far as it can be told so far: light or focus, else the parts (see the monitor's module).

        "unclear" where the scores alone alarmed, but there is some evidence on light or focus as well.
        """
        found: list[Cause] = []
        if self.brightness and self.brightness.alarm:
            found.append("light")
        if self.sharpness and self.sharpness.alarm:
            found.append("focus")
        if self.score.alarm and not found:
            others = [one for name, one in self._found().items() if name != "score"]
            found.append("parts" if all(one.one_by_one < _LITTLE for one in others) else "unclear")
        return tuple(found)

    def __str__(self) -> str:
        """Say what changed, what may have, and where images move in stretches."""
        found = dict(reversed(self._found().items()))
        said = [_told(name, one.alarm, one.since) for name, one in found.items() if one.alarm]
        doubt = ", perhaps by light or focus" if self.causes == ("unclear",) else ""
        text = f"after {self.images} images: {' and '.join(said) or 'no change'}{doubt}"
        maybe = [
            _told(name, one.suspected, one.suspected_since) for name, one in found.items() if one.suspected
        ]
        if maybe and not said:
            text += f" that is sure; perhaps {' and '.join(maybe)}, which a lot of images that are alike can be, too"
        alike = {name: one.clustering for name, one in self._found().items() if one.clustering > 1}
        if alike:
            text += (
                f"; {' and '.join(alike)} of neighbouring images are alike (lots, waves), which alone is no change: "
                f"about {max(alike.values()):.0f} images tell as much as one"
            )
        return text

    def _found(self) -> dict[str, DriftEvidence]:
        found = zip(NAMES, (self.score, self.brightness, self.sharpness), strict=True)
        return {name: one for name, one in found if one is not None}


def _told(name: str, change: Change, since: int | None) -> str:
    return _SAID[name, change] + ("" if since is None else f" since about image {since}")
