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

On the p-values a martingale bets (:class:`differnet.decision.martingale.Bet`): on values that are higher or lower,
spread wider or narrower, or are more often among the highest or the lowest. All kinds share one capital: while good
parts are independent and nothing changes, it ever reaches 1/a with a probability of at most a. An alarm says which
kind won.

**On what the level rests.** On a stream of *independent* good parts. Parts that come in lots or waves are alike with
their neighbours: a threshold still rejects as many of them as promised, if in clusters, but a stretch of them looks
like a change. So an alarm wants more than the capital: what a single stretch won must be enough, divided by how much
more the stream moves in stretches of that length (:mod:`differnet.decision.stretches`). This only makes alarms rarer;
so the level above stays proven. For streams of lots and waves it is an estimate, which
``benchmarks/drift_streams.py`` measures. While too little of the stream is known, in the first few hundred images,
what may be a change or a lot is called that (``suspected``); only values far outside of the calibration images alarm
at once.

The scores of the calibration images must be of the flow that scores the stream, which was not fitted to them: those
of cross-fitting are of other flows and differ from the stream's from the start. And each must be as good as an
independent draw: where many are of one part or one shoot, or copies of each other, they are more like each other than
the stream is like them, and false alarms are likelier than stated.

**What it can tell.** That the images are no longer like those of the calibration, in which way, and about since which
image; and, since brightness and sharpness know nothing of parts, whether the picture as a whole became darker,
brighter, softer or sharper (light, focus), or whether the scores alone moved (parts). The latter is said only while
the bets on brightness and sharpness have won little; else the cause is unclear, and may be told later.

**What it cannot tell.** Which image is defective: that is the threshold's job. Whether scores that moved alone come
from bad parts or from what neither brightness nor sharpness sees: a moved camera, another material, dirt on one spot.
Whether darker pictures come from the lamp or from darker parts. Whether parts went bad as well when light or focus
changed, since that moves the scores too. A lot or wave that is longer than what it has seen so far, from a change. A
few defects in a hundred images, or a change from the first image on, before some hundred images. A change that lasts
becomes what later images are compared with: an alarm stays until the reset, but the evidence falls again. And a
stream with its usual share of defects *is* a change against calibration images that were all good, if a small one.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from differnet.decision.evidence import NAMES, Cause, DriftEvidence, DriftState
from differnet.decision.ranked import RankedStream, Values, in_order
from differnet.errors import ConfigError, ModelFileError, NumericalError

__all__ = ["Cause", "DriftEvidence", "DriftMonitor", "DriftState"]

_RATIOS = ("brightness", "sharpness")
_KIND, _FORMAT, _FORMER = "drift", 2, 1


class DriftMonitor:
    """Watches a stream of images, one call of :meth:`update` an image, in constant memory.

    ``scores`` (M,), and ``brightness`` and ``sharpness`` (M,) if they are to be watched, are those of the calibration
    images, which were not fitted to. ``alpha``: the probability of at most which there is *ever* any alarm, until the
    reset, while good parts are independent and nothing changes; each number that is watched gets an equal part of it.
    ``seed`` breaks ties. ``limit``: how many values of each number are kept, never fewer than M.

    Scores must be of the same views as those of the calibration images: not those of ``views="auto"``, which are
    means of fewer views. Every image must be given, also those judged defective: leaving some out is a change.

    >>> calm = np.random.default_rng(0).normal(size=600)
    >>> monitor = DriftMonitor(calm[:200])
    >>> str([monitor.update(value) for value in calm[200:]][-1])
    'after 400 images: no change'
    >>> str([monitor.update(value + 3) for value in calm[:40]][-1])
    'after 440 images: scores are higher since about image 401'
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
        given = zip(NAMES, (scores, brightness, sharpness), strict=True)
        self._streams = {
            name: RankedStream(in_order(name, values), name in _RATIOS)
            for name, values in given
            if values is not None
        }
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
        values = dict(zip(NAMES, (score, brightness, sharpness), strict=True))
        for name, value in values.items():
            if (value is None) == (name in self._streams):
                watched = "watched, but was not given" if value is None else "not watched, but was given"
                raise ConfigError(f"{name} is {watched}: a monitor takes what it was made with")
            if value is not None and not math.isfinite(value):
                raise NumericalError(f"{name} = {value}: a finite number was wanted")
        draws = np.random.default_rng((self.seed, self._step))
        bound = math.log(len(self._streams) / self.alpha)
        found = {
            name: stream.take(float(values[name] or 0.0), max(self.limit, len(stream.start)), bound, draws)
            for name, stream in self._streams.items()
        }
        self.images, self._step = self.images + 1, self._step + 1
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
            if values["kind"] != _KIND or values["format"] not in (_FORMER, _FORMAT):
                raise ValueError(f"kind {values['kind']!r}, format {values['format']!r}")
            found: dict[str, Any] = values["streams"]
            streams = {name: RankedStream.from_dict(found[name], name in _RATIOS) for name in found}
            score, brightness, sharpness = (
                streams[name].start if name in streams else None for name in NAMES
            )
            if score is None or not set(streams) <= set(NAMES):
                raise ValueError(f"numbers {sorted(streams)}")
            alpha, seed, limit = float(values["alpha"]), int(values["seed"]), int(values["limit"])
            monitor = cls(score, brightness, sharpness, alpha, seed, limit)
            monitor._streams = {name: streams[name] for name in NAMES if name in streams}
            monitor.images, monitor._step = int(values["images"]), int(values["step"])
            if not 0 <= monitor.images <= monitor._step:
                raise ValueError(f"{monitor.images} images in {monitor._step} steps")
        except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError) as error:
            raise ModelFileError(
                f"not the state of a drift monitor, as to_json() gave it ({error})"
            ) from error
        return monitor
