"""Whether the images still are like those that the detector was calibrated on: a bet that only a change lets win.

Each image gives up to three numbers: its score, its brightness and its sharpness (:mod:`differnet.decision.light`).
Each number v is ranked among the calibration images *and all images seen since the reset*, the new one included:

    p = (#{values > v} + u #{values = v}) / #{values},   u uniform on (0, 1]

As long as all of them are exchangeable, these p-values are independent and uniform (Vovk, Nouretdinov, Gammerman,
"Testing exchangeability on-line", ICML 2003). P-values against the calibration images alone would not be: they share
one set, whose luck looks like a change in any long stream. To keep memory constant, from ``limit`` values on one of
them is dropped for each that comes, drawn evenly among all, the new one included. The draw does not know which
is new, so given the values kept and all later images, each of the values was equally likely the last to come:
the p-values stay independent and uniform.

On the p-values a martingale bets (:class:`differnet.decision.martingale.Bet`): without a change its capital ever
reaches 1/a with a probability of at most a.

**What it can tell.** That the images are no longer like those of the calibration; and, since brightness and
sharpness know nothing of parts, whether the picture as a whole became darker, brighter, softer or sharper (light,
focus), or whether the scores alone moved (parts). The latter is said only while the bets on brightness and sharpness
have won little; else the cause is unclear, and may be told later.

**On what it rests.** The scores of the calibration images must be of the flow that scores the stream, which was not
fitted to them: those of cross-fitting are of other flows and differ from the stream's from the start. And each must be
as good as an independent draw: where many are of one part or one shoot, or copies of each other, they are more like
each other than the stream is like them, and false alarms are likelier than stated.

**What it cannot tell.** Which image is defective: that is the threshold's job. Whether scores that moved alone come
from bad parts or from what neither brightness nor sharpness sees: a moved camera, another material, dirt on one
spot. Whether darker pictures come from the lamp or from darker parts. Whether parts went bad as well when light
or focus changed, since that moves the scores too. A few defects in a hundred images, since a single image
multiplies the capital by 2 at most. A change that lasts becomes what later images are compared with: an alarm stays
until the reset, but the evidence falls again. And a stream with its usual share of defects *is* a change against
calibration images that were all good, if a small one.
"""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from differnet.decision.martingale import Bet, Direction
from differnet.errors import ConfigError, ModelFileError, NumericalError

Cause = Literal["light", "focus", "parts", "unclear"]
Values = Sequence[float] | npt.NDArray[np.float64]

_NAMES = ("score", "brightness", "sharpness")
_LITTLE = (
    0.5  # log10 of a capital that each number ever reaches without a change with a chance of at most 0.32
)
_KIND, _FORMAT = "drift", 1
_SAID = {
    ("brightness", "lower"): "pictures are darker",
    ("brightness", "higher"): "pictures are brighter",
    ("sharpness", "lower"): "pictures are less sharp",
    ("sharpness", "higher"): "pictures are sharper, or noisier",
    ("score", "lower"): "scores are lower",
    ("score", "higher"): "scores are higher",
}


@dataclass(frozen=True)
class DriftEvidence:
    """What speaks for a change of one number.

    ``p_value``: of the last image, small where it is high among those before. ``strength``: log10 of the capital of the
    bet; without a change it ever reaches s with a probability of at most 10^-s. ``alarm``: where the number went
    when the alarm was reached, nothing before; it stays until the reset.
    """

    p_value: float
    strength: float
    alarm: Direction | None


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
        found = [one.strength for one in (self.score, self.brightness, self.sharpness) if one]
        return max(found) - math.log10(len(found))

    @property
    def is_alarm(self) -> bool:
        """Whether any of the numbers has changed."""
        return any(one.alarm for one in (self.score, self.brightness, self.sharpness) if one)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What changed, as far as it can be told so far: light or focus, else the parts (see the module).

        "unclear" where the scores alone alarmed, but there is some evidence on light or focus as well.
        """
        found: list[Cause] = []
        if self.brightness and self.brightness.alarm:
            found.append("light")
        if self.sharpness and self.sharpness.alarm:
            found.append("focus")
        if self.score.alarm and not found:
            others = [one.strength for one in (self.brightness, self.sharpness) if one]
            found.append("parts" if all(strength < _LITTLE for strength in others) else "unclear")
        return tuple(found)

    def __str__(self) -> str:
        """Say what changed."""
        found = [(name, getattr(self, name)) for name in reversed(_NAMES)]
        said = [_SAID[name, one.alarm] for name, one in found if one and one.alarm]
        doubt = ", perhaps by light or focus" if self.causes == ("unclear",) else ""
        return f"after {self.images} images: {' and '.join(said) or 'no change'}{doubt}"


class _Stream:
    """One number of the images: what is kept of it, and the bet on its p-values."""

    def __init__(self, start: list[float]) -> None:
        self.start = start
        self.reset()

    def reset(self) -> None:
        """Forget all but the calibration images."""
        self.kept, self.bet = list(self.start), Bet()
        self.alarm: Direction | None = None

    def take(self, value: float, limit: int, bound: float, draws: np.random.Generator) -> DriftEvidence:
        """Rank ``value``, keep it, bet; ``bound``: the logarithm of the capital that is an alarm."""
        first, last = bisect.bisect_left(self.kept, value), bisect.bisect_right(self.kept, value)
        equal, above = last - first + 1, len(self.kept) - last
        p = float((above + (1 - draws.random()) * equal) / (len(self.kept) + 1))
        self.kept.insert(last, value)
        if len(self.kept) > limit:
            self.kept.pop(int(draws.integers(len(self.kept))))
        self.bet.take(p)
        if self.alarm is None and self.bet.log >= bound:
            self.alarm = self.bet.direction
        return DriftEvidence(p, self.bet.log / math.log(10), self.alarm)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return {
            "start": self.start,
            "kept": self.kept,
            "log": self.bet.log,
            "shares": self.bet.shares.tolist(),
            "alarm": self.alarm,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> _Stream:
        """Undo :meth:`to_dict`; raises a built-in error for what it did not give."""
        stream = cls(_sorted("start", values["start"]))
        stream.kept, stream.alarm = _sorted("kept", values["kept"]), values["alarm"]
        stream.bet = Bet.from_state(float(values["log"]), values["shares"])
        if stream.alarm not in (*get_args(Direction), None):
            raise ValueError(f"alarm {stream.alarm!r}")
        return stream


class DriftMonitor:
    """Watches a stream of images, one call of :meth:`update` an image, in constant memory.

    ``scores`` (M,), and ``brightness`` and ``sharpness`` (M,) if they are to be watched, are those of the calibration
    images, which were not fitted to. ``alpha``: the probability of at most which there is *ever* any alarm, until the
    reset, without a change; each number that is watched gets an equal part of it. ``seed`` breaks ties. ``limit``: how
    many values of each number are kept, never fewer than M.

    Scores must be of the same views as those of the calibration images: not those of ``views="auto"``, which are
    means of fewer views. Every image must be given, also those judged defective: leaving some out is a change.

    >>> calm = np.random.default_rng(0).normal(size=300)
    >>> monitor = DriftMonitor(calm[:200])
    >>> str([monitor.update(value) for value in calm[200:]][-1])
    'after 100 images: no change'
    >>> str([monitor.update(value + 3) for value in calm[:40]][-1])
    'after 140 images: scores are higher'
    """

    def __init__(
        self,
        scores: Values,
        brightness: Values | None = None,
        sharpness: Values | None = None,
        alpha: float = 0.01,
        seed: int = 0,
        limit: int = 5000,
    ) -> None:
        if not 0 < alpha < 1:
            raise ConfigError(f"alpha = {alpha!r}: a number above 0 and below 1 was wanted")
        if seed < 0 or limit < 1:
            raise ConfigError(f"seed = {seed}, limit = {limit}: whole numbers from 0 and from 1 were wanted")
        given = zip(_NAMES, (scores, brightness, sharpness), strict=True)
        self._streams = {name: _Stream(_sorted(name, values)) for name, values in given if values is not None}
        if len({len(stream.start) for stream in self._streams.values()}) > 1:
            raise ConfigError("scores, brightness and sharpness are of different numbers of images")
        self.alpha, self.seed, self.limit = alpha, seed, limit
        self.images = 0
        self._step = 0

    def update(
        self, score: float, brightness: float | None = None, sharpness: float | None = None
    ) -> DriftState:
        """Take the numbers of the next image and say whether the stream has changed since the reset.

        Raises :class:`NumericalError` for a number that is not finite, and :class:`ConfigError` for one that is
        watched but not given, or given but not watched; the monitor is then as it was.
        """
        values = dict(zip(_NAMES, (score, brightness, sharpness), strict=True))
        for name, value in values.items():
            if (value is None) == (name in self._streams):
                watched = "watched, but was not given" if value is None else "not watched, but was given"
                raise ConfigError(f"{name} is {watched}: a monitor takes what it was made with")
            if value is not None and not math.isfinite(value):
                raise NumericalError(f"{name} = {value}: a finite number was wanted")
        draws = np.random.default_rng((self.seed, self._step))
        bound = math.log(len(self._streams) / self.alpha)
        self.images, self._step = self.images + 1, self._step + 1
        found = {
            name: stream.take(float(values[name] or 0.0), max(self.limit, len(stream.start)), bound, draws)
            for name, stream in self._streams.items()
        }
        return DriftState(self.images, **found)

    @property
    def origin(self) -> dict[str, tuple[float, ...]]:
        """The numbers of the calibration images, in order of size, by what they are."""
        return {name: tuple(stream.start) for name, stream in self._streams.items()}

    def reset(self) -> None:
        """Begin anew with the calibration images alone, for instance when the lamp was changed.

        The promise begins anew, too: there is a chance of ``alpha`` of its own until the next reset. But all of these
        times share the calibration images: where those were an unlucky draw, each alarm makes the next likelier.
        """
        for stream in self._streams.values():
            stream.reset()
        self.images = 0

    def to_json(self) -> str:
        """Return all of the state as JSON: a monitor made from it goes on with the same numbers."""
        names = ("alpha", "seed", "limit", "images")
        document = {"kind": _KIND, "format": _FORMAT, "step": self._step}
        document |= {name: getattr(self, name) for name in names}
        streams = {name: stream.to_dict() for name, stream in self._streams.items()}
        return json.dumps({**document, "streams": streams}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> DriftMonitor:
        """Undo :meth:`to_json`; raises :class:`ModelFileError` for anything else."""
        try:
            values = json.loads(text)
            if (values["kind"], values["format"]) != (_KIND, _FORMAT):
                raise ValueError(f"kind {values['kind']!r}, format {values['format']!r}")
            streams = {name: _Stream.from_dict(values["streams"][name]) for name in values["streams"]}
            score, brightness, sharpness = (
                streams[name].start if name in streams else None for name in _NAMES
            )
            if score is None or not set(streams) <= set(_NAMES):
                raise ValueError(f"numbers {sorted(streams)}")
            alpha, seed, limit = float(values["alpha"]), int(values["seed"]), int(values["limit"])
            monitor = cls(score, brightness, sharpness, alpha, seed, limit)
            monitor._streams = {name: streams[name] for name in _NAMES if name in streams}
            monitor.images, monitor._step = int(values["images"]), int(values["step"])
            if not 0 <= monitor.images <= monitor._step:
                raise ValueError(f"{monitor.images} images in {monitor._step} steps")
        except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError) as error:
            raise ModelFileError(
                f"not the state of a drift monitor, as to_json() gave it ({error})"
            ) from error
        return monitor


def _sorted(name: str, values: Values) -> list[float]:
    """Return the values of calibration images in order; raises :class:`NumericalError` for none, or NaN."""
    numbers = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if len(numbers) == 0 or not np.isfinite(numbers).all():
        raise NumericalError(f"{name}: at least one number was wanted, all of them finite")
    return [float(number) for number in numbers]
