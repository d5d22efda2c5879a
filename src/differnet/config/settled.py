"""Settings in which nothing is open, and the one place where a setting implies another.

What a user asks for is a :class:`~differnet.config.presets.Config`, in which ``"auto"`` and ``"few"`` leave values
open. A fit, a model and everything below them go by a :class:`Settled`, whose types have no such words.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Protocol, TypeVar

from pydantic.dataclasses import dataclass

from differnet.config import presets
from differnet.config import shape as shapes
from differnet.config.presets import Config
from differnet.config.sections import (
    Backbone,
    Decision,
    Flow,
    Maps,
    Positive,
    PrecisionName,
    Reading,
    Training,
    Views,
    strict,
)
from differnet.config.shape import Shape
from differnet.errors import NotFittedError

Rotation = Literal["full", "none"]
Pooling = Literal["whole", "largest", "average", "combined"]

UPRIGHT_VIEWS = 4  # to fit; views that are not turned differ in brightness and contrast alone
_VIEWS_TO_FIT = {"auto": (UPRIGHT_VIEWS, 32), "few": (2, 8)}  # upright, turned
_VIEWS_WITH_PARTS = (1, 17)
_BLOCKS, _HIDDEN = (4, 8), (128, 256)  # upright, turned
_NOISE = 0.5
_NOISE_OF_PARTS = 1.0
_BLUR = {"features": 12.0, "pixels": 4.0}
_BLUR_OF_PARTS = 6.0
S = TypeVar("S")


@dataclass(frozen=True, config=strict)
class SettledViews(Views):
    """Views of which it is known whether they turn, how many are fitted to, and how images are scored."""

    rotation: Rotation = "full"
    train_views: Positive = 32
    score_rotations: Literal["random", "even"] = "random"
    aspect: float = 1.0
    white: Literal["type", "picture"] | float = "type"

    @property
    def turns(self) -> bool:
        """Whether views are turned."""
        return self.rotation == "full"

    @property
    def order(self) -> Literal["upright", "even", "random"]:
        """How fewer scoring views relate to more: the first of them, others, or always the same single one."""
        if self.score_rotations == "even" and not self.turns:
            return "upright"
        return self.score_rotations


@dataclass(frozen=True, config=strict)
class SettledBackbone(Backbone):
    """The frozen network, and into how many pieces pictures are cut for it."""

    tiles: int = 1


@dataclass(frozen=True, config=strict)
class SettledReading(Reading):
    """Which stages are read, and how their places are pooled."""

    read_stages: tuple[int, ...] = ()
    pooling: Pooling = "whole"


@dataclass(frozen=True, config=strict)
class SettledFlow(Flow):
    """The shape of the flow in numbers."""

    blocks: int = 8
    hidden: int = 2048

    @property
    def arguments(self) -> dict[str, Any]:
        """What :class:`differnet.flow.flow.Flow` is built from, beside features and seed."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, config=strict)
class SettledTraining(Training):
    """How the flow is fitted, with the noise and the share of the schedule in numbers."""

    noise: float = 0.0
    length: float = 1.0


@dataclass(frozen=True, config=strict)
class SettledMaps(Maps):
    """By which gradient heat maps are made, and their blur in pixels of the largest input."""

    blur: float = 4.0
    gradient: Literal["features", "pixels"] = "pixels"


@dataclass(frozen=True, config=strict)
class Settled:
    """Settings that leave nothing open; made by :func:`settle` alone.

    ``config``: the same as a model file keeps it, which a newer version may understand better: what was asked for, with
    what was found out in the place of what was open. ``backbone.precision`` and ``backbone.runtime`` may still be
    ``"auto"``: which is fastest depends on the machine, and is chosen on each
    (:mod:`differnet.features.backbone.select`).
    """

    config: Config
    views: SettledViews
    backbone: SettledBackbone
    reading: SettledReading
    flow: SettledFlow
    training: SettledTraining
    maps: SettledMaps

    @property
    def flows(self) -> tuple[SettledFlow, ...]:
        """The shape of the flow of each reading; a whole image that is read beside its parts has a Gaussian alone."""
        if self.reading.pooling != "combined":
            return (self.flow,)
        whole = dataclasses.replace(self.flow, blocks=0, flows=1)
        return (whole, *(self.flow for _ in self.backbone.sizes))

    @property
    def neighbours(self) -> tuple[int, ...]:
        """How many good parts are kept of each of the ``flows``; none of whole images."""
        most = self.reading.neighbours if self.reading.pooling == "combined" else 0
        return (0, *(most for _ in self.flows[1:]))

    @property
    def shape(self) -> Shape:
        """Height and width in pixels at which views are rendered."""
        return shapes.view_shape(self.backbone.sizes[0], self.views.aspect)

    @property
    def canvas(self) -> Shape:
        """Height and width in pixels that a picture is brought to: all its tiles."""
        return shapes.times(self.shape, self.backbone.tiles)

    @property
    def decision(self) -> Decision:
        """How the threshold is found."""
        return self.config.decision


class FoundOut(Protocol):
    """What was found out from good images: see :class:`differnet.detector.tuning.choice.Choice`."""

    @property
    def rotation(self) -> str:
        """``"full"`` or ``"none"``."""

    @property
    def read_stages(self) -> tuple[int, ...]:
        """The stages to read."""

    @property
    def pooling(self) -> str:
        """How places are pooled."""

    @property
    def length(self) -> float:
        """The share of the schedule to train for."""


def is_open(asked: Config) -> bool:
    """Whether something is left to be found out from the good images."""
    views, reading = asked.views, asked.reading
    shown = (views.rotation, views.aspect, asked.backbone.tiles)
    return "auto" in (*shown, reading.read_stages, reading.pooling, asked.training.length)


def settle(asked: Config, found: FoundOut | None = None) -> Settled:
    """Return what is asked for, with what was ``found`` out in the place of what is open, and all that follows.

    Raises :class:`NotFittedError` where something is open and nothing was found out, and :class:`ConfigError` for
    values that do not go together.
    """
    known = implied(asked if found is None else _with_found(asked, found))
    if is_open(known):
        raise NotFittedError(
            "whether views turn, in which shape, in how many pieces, what is read of the features, or how far to train "
            "is found out from good images: call prepare(images) or fit"
        )
    if known.views.white == "auto":  # no picture said which
        known = presets.resolve(known, {"white": "type"})
    reads, stages = known.reading, known.backbone.stages
    read_stages = stages if isinstance(reads.read_stages, str) else reads.read_stages
    gradient = known.maps.gradient
    if gradient == "auto":
        gradient = "features" if known.flow.start == "gaussian" else "pixels"
    noise: float | str = known.training.noise
    if noise == "auto":
        turns = known.views.rotation == "full"
        noise = _NOISE if known.flow.start == "gaussian" and not turns else 0.0
        if reads.pooling == "combined":
            noise = _NOISE_OF_PARTS
    usual = _BLUR_OF_PARTS if reads.pooling == "combined" and gradient == "features" else _BLUR[gradient]
    blur = usual if known.maps.blur == "auto" else known.maps.blur
    return Settled(
        config=known,
        views=_narrowed(SettledViews, known.views),
        backbone=_narrowed(SettledBackbone, known.backbone, precision=_precision(known)),
        reading=_narrowed(SettledReading, reads, read_stages=read_stages),
        flow=_narrowed(SettledFlow, known.flow),
        training=_narrowed(SettledTraining, known.training, noise=noise),
        maps=_narrowed(SettledMaps, known.maps, gradient=gradient, blur=blur),
    )


def implied(asked: Config) -> Config:
    """Replace what follows from whether views turn, where that is known; the rest stays as it is.

    ``score_rotations``, ``train_views``, ``blocks``, ``hidden`` and the ``length`` ``"quick"`` follow the rotation, and
    views that turn are squares of whole pictures.
    """
    views, flow = asked.views, asked.flow
    changes: dict[str, Any] = {}
    combines = asked.reading.pooling == "combined"
    if combines and asked.training.length == "auto":
        changes["length"] = 1.0
    if views.rotation != "auto":
        turns = views.rotation == "full"
        if views.score_rotations == "auto":
            changes["score_rotations"] = "random" if turns else "even"
        if isinstance(views.train_views, str):
            counts = _VIEWS_WITH_PARTS if combines else _VIEWS_TO_FIT[views.train_views]
            changes["train_views"] = counts[turns]
        if asked.training.length == "quick":
            changes["length"] = float(turns or flow.start != "gaussian")
        changes |= {"aspect": 1.0} if turns and views.aspect == "auto" else {}
        changes |= {"tiles": 1} if turns and asked.backbone.tiles == "auto" else {}
        hard = turns and not combines
        changes |= {"blocks": _BLOCKS[hard]} if flow.blocks == "auto" else {}
        changes |= {"hidden": _HIDDEN[hard]} if flow.hidden == "auto" else {}
    return presets.resolve(asked, changes) if changes else asked


def provisional(asked: Config, rotation: Rotation | None = None) -> Settled:
    """Return ``asked`` as if all that is open had been found out: upright or as ``rotation`` says, the whole image.

    Where the aspect is open, or views turn, it is the square; where the tiles are open, pictures are not cut.

    For looking at images before it is known how they are looked at best.
    """
    changes: dict[str, Any] = {"rotation": rotation or "none"}
    if rotation is None and asked.views.rotation != "auto":
        changes = {}
    changes |= {"aspect": 1.0} if rotation == "full" or asked.views.aspect == "auto" else {}
    changes |= {"tiles": 1} if asked.backbone.tiles == "auto" else {}
    changes |= {"read_stages": "all"} if asked.reading.read_stages == "auto" else {}
    changes |= {"pooling": "whole"} if asked.reading.pooling == "auto" else {}
    changes |= {"length": 1.0} if isinstance(asked.training.length, str) else {}
    return settle(presets.resolve(asked, changes))


def _with_found(asked: Config, found: FoundOut) -> Config:
    """Put what was found out in the place of what is open; several flows that it leaves untrained become one."""
    changes: dict[str, Any] = {}
    if asked.training.length == "auto":
        changes["length"] = found.length
        if found.length == 0:
            changes["flows"] = 1  # untrained, several would be the same
    if asked.views.rotation == "auto":
        changes["rotation"] = found.rotation
        if found.rotation == "full":
            changes["aspect"] = 1.0
    if asked.reading.read_stages == "auto":
        changes["read_stages"] = found.read_stages
    if asked.reading.pooling == "auto":
        changes["pooling"] = found.pooling
    return presets.resolve(asked, changes) if changes else asked


def _precision(known: Config) -> PrecisionName:
    """Take floats where integers gain little: one upright view by 2 ms, for 20 seconds of a fit.

    And where they lose much: several readings of turned views (docs/decisions.md).
    """
    upright = known.views.rotation == "none" and known.views.score_rotations == "even"
    in_floats = upright or known.reading.pooling == "combined"
    return "f32" if known.backbone.precision == "auto" and in_floats else known.backbone.precision


def _narrowed(kind: type[S], section: Any, **changes: Any) -> S:
    return kind(**{**dataclasses.asdict(section), **changes})
