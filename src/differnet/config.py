"""Settings: frozen value objects, presets, overriding by name, and JSON both ways.

Everything that changes a number lives here except the seed, which is an argument of its own. Leaf names
are unique over all sections, so ``resolve("default", {"hidden": 256})`` needs no dotted path, though
``{"flow.hidden": 256}`` works as well.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from differnet.errors import ConfigError

AUTO_NOISE = 0.5
UPRIGHT_VIEWS = 4  # to fit; views that are not turned differ in brightness and contrast alone
_VIEWS_TO_FIT = {"auto": (UPRIGHT_VIEWS, 32), "few": (2, 8)}  # upright, turned
_strict = ConfigDict(extra="forbid", allow_inf_nan=False)
RuntimeName = Literal["auto", "torch", "openvino", "onnxruntime"]
PrecisionName = Literal["auto", "f32", "f16", "bf16", "int8"]
Positive = Annotated[int, Field(ge=1, le=1_000_000)]
Factors = Annotated[tuple[float, float], Field(description="lowest and highest factor")]


def _check_factors(name: str, factors: tuple[float, float]) -> None:
    if not 0 < factors[0] <= factors[1]:
        raise ValueError(f"{name} must be (low, high) with 0 < low <= high, not {factors}")


@dataclass(frozen=True, config=_strict)
class Views:
    """Which transformed copies of an image are looked at (sections 3.2 and 4.2 of the paper).

    ``rotation``: ``"full"`` turns by any angle, ``"none"`` leaves images upright, ``"auto"`` finds out from
    the good images (:mod:`differnet.choice`). ``fill`` is what stands
    outside the turned image: ``"zeros"`` is black, as in the paper; ``"reflection"`` mirrors the image;
    ``"border"`` repeats its rim. ``score_rotations``: images are scored in ``"random"`` views drawn once from the
    model's seed, or in ``"even"``ly spaced rotations without jitter: one where nothing turns. ``"auto"``, there and
    for ``train_views``, follows the rotation: one upright view to score and 4 to fit, or random ones and 32;
    ``"few"`` is 2 or 8.
    """

    rotation: Literal["auto", "full", "none"] = "full"
    brightness: Factors = (0.85, 1.15)
    contrast: Factors = (0.85, 1.15)
    fill: Literal["zeros", "reflection", "border"] = "zeros"
    fresh_views: bool = False
    train_views: Literal["auto", "few"] | Positive = 32
    score_views: Positive = 16
    score_rotations: Literal["auto", "random", "even"] = "random"

    def __post_init__(self) -> None:
        _check_factors("brightness", self.brightness)
        _check_factors("contrast", self.contrast)

    @property
    def count_to_fit(self) -> int:
        """``train_views`` as a number; raises :class:`ConfigError` while that is open."""
        if isinstance(self.train_views, str):
            raise ConfigError("train_views is open: whether views turn is found out from good images first")
        return self.train_views


@dataclass(frozen=True, config=_strict)
class Backbone:
    """The frozen network that describes views.

    ``stages``: whose feature maps are pooled, in order; for ``efficientnet_lite0`` the indices of timm's ``blocks``;
    for other timm names those into ``feature_info``; ``alexnet`` has one, so ``(0,)``. ``grid``: 1 pools over the whole
    image alone, as in the paper; n also over each of n x n parts of it. ``sizes``: side lengths in pixels,
    largest first; every view is rendered at the first. ``runtime``: where it runs; ``precision``: in which
    numbers. ``"auto"`` takes the fastest that is installed: on a CPU OpenVINO, in 8-bit integers where views turn.
    ``"f16"`` is PyTorch's mixed precision, for GPUs; ``"bf16"`` is OpenVINO's, for CPUs that compute in it
    themselves: as fast as integers and ready at once, but bound to such CPUs.
    """

    backbone: Annotated[str, Field(min_length=1)] = "efficientnet_lite0"
    stages: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (5,)
    grid: Annotated[int, Field(ge=1, le=8)] = 1
    sizes: Annotated[tuple[Annotated[int, Field(ge=16, le=4096)], ...], Field(min_length=1)] = (
        448,
        224,
        112,
    )
    runtime: RuntimeName = "auto"
    precision: PrecisionName = "auto"

    def __post_init__(self) -> None:
        if list(self.sizes) != sorted(set(self.sizes), reverse=True):
            raise ValueError(f"sizes must be different and largest first, not {self.sizes}")
        if list(self.stages) != sorted(set(self.stages)):
            raise ValueError(f"stages must be different and in order, not {self.stages}")


@dataclass(frozen=True, config=_strict)
class Reading:
    """Which of the pooled features the flow maps, and how they become the score of a view.

    ``read_stages``: ``"all"`` or some of ``stages``. ``pooling``: ``"whole"`` maps what was pooled over the whole image
    (the paper); the others map each part of the ``grid`` by the same flow, and the view has the score of its
    ``"largest"`` part or their ``"average"``. ``"auto"`` finds out from the good images (:mod:`differnet.choice`).
    """

    read_stages: Literal["auto", "all"] | tuple[int, ...] = "all"
    pooling: Literal["auto", "whole", "largest", "average"] = "whole"


@dataclass(frozen=True, config=_strict)
class Flow:
    """The shape of the normalizing flow (section 3.1.1): defaults are the paper's.

    ``start``: ``"random"`` weights, as in the paper, or ``"gaussian"``: features are whitened first, and the blocks
    start as the identity, so that the flow begins as a Mahalanobis distance.
    """

    blocks: Annotated[int, Field(ge=1, le=256)] = 8
    hidden: Annotated[int, Field(ge=1, le=65536)] = 2048
    depth: Annotated[int, Field(ge=0, le=64)] = 3
    clamp: Annotated[float, Field(gt=0)] = 3.0
    start: Literal["random", "gaussian"] = "random"


@dataclass(frozen=True, config=_strict)
class Training:
    """How the flow is fitted (section 4.2).

    ``batch`` counts views. ``min_steps``: with few images, epochs are added until there were that many
    optimisation steps. ``views_per_step``: with fresh views, how many views of one image stand in a
    batch together. ``schedule``: ``"constant"``, or ``"one-cycle"``, which warms up over the first 30 % of
    the steps and anneals to nearly zero by a cosine. ``noise``: standard deviation of what is added to the whitened
    features of every batch, 1 being that of the features; only with ``start="gaussian"``. ``"auto"`` adds some
    where views do not turn: turned views differ enough. ``length``: the share of the schedule that is run, 0 leaving
    the flow as it starts; ``"auto"`` finds it out from the good images (:mod:`differnet.trial`).
    """

    epochs: Annotated[int, Field(ge=0)] = 192
    min_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    batch: Positive = 96
    views_per_step: Positive = 4
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    schedule: Literal["constant", "one-cycle"] = "constant"
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.8, 0.8)
    eps: Annotated[float, Field(gt=0)] = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    noise: Literal["auto"] | Annotated[float, Field(ge=0)] = 0.0
    length: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = 1.0


@dataclass(frozen=True, config=_strict)
class Maps:
    """Heat maps (section 3.3, eq. 7): how many evenly spaced rotations, and the blur in pixels."""

    map_views: Positive = 4
    blur: Annotated[float, Field(gt=0)] = 4.0


@dataclass(frozen=True, config=_strict)
class Decision:
    """How the threshold is found: the share of good images held out and the false-alarm rate wanted.

    ``holdout=0`` fits on all images and leaves the detector without a threshold.
    """

    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.01


@dataclass(frozen=True, config=_strict)
class Config:
    """All settings of a detector, equal by value and round-tripping through JSON.

    >>> config = resolve("default", {"hidden": 256})
    >>> Config.from_dict(config.to_dict()) == config
    True
    """

    views: Views = Views()
    backbone: Backbone = Backbone()
    reading: Reading = Reading()
    flow: Flow = Flow()
    training: Training = Training()
    maps: Maps = Maps()
    decision: Decision = Decision()

    def __post_init__(self) -> None:
        read, known = self.reading, self.backbone
        chosen = read.read_stages
        if isinstance(chosen, tuple) and not (chosen and set(chosen) <= set(known.stages)):
            raise ValueError(f"read_stages = {chosen}: some of the stages {known.stages} were wanted")
        if isinstance(chosen, tuple) and list(chosen) != sorted(set(chosen)):
            raise ValueError(f"read_stages must be different and in order, not {chosen}")
        if read.pooling in ("largest", "average") and known.grid == 1:
            raise ValueError(f"pooling = {read.pooling!r} needs a grid of 2 or more")
        if self.training.noise not in (0, "auto") and self.flow.start != "gaussian":
            raise ValueError("noise needs start = 'gaussian'")

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to be found out from the good images."""
        views, read = self.views, self.reading
        found = (views.rotation, views.score_rotations, read.read_stages, read.pooling, self.training.length)
        return "auto" not in found and not isinstance(views.train_views, str)

    @property
    def noise(self) -> float:
        """The noise of training; ``"auto"`` is 0.5 on whitened features of views that do not turn, else none."""
        if self.training.noise != "auto":
            return self.training.noise
        return AUTO_NOISE if self.flow.start == "gaussian" and self.views.rotation != "full" else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, section by section."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Build from what :meth:`to_dict` gave; raises :class:`ConfigError` on anything else."""
        try:
            return TypeAdapter(cls).validate_python(dict(values))
        except ValidationError as error:
            raise ConfigError(_explain(error)) from error


PAPER = Config(
    views=Views(fresh_views=True, train_views=4, score_views=64),
    backbone=Backbone(backbone="alexnet", stages=(0,), precision="f32"),
)
DEFAULT = Config(
    views=Views(rotation="auto", train_views="auto", score_rotations="auto"),
    backbone=Backbone(sizes=(224, 112), stages=(3, 4, 5), grid=2),
    reading=Reading(read_stages="auto", pooling="auto"),
    flow=Flow(blocks=4, hidden=128, start="gaussian"),
    training=Training(
        10, 100, batch=192, learning_rate=1e-3, schedule="one-cycle", eps=1e-6, noise="auto", length="auto"
    ),
)
FAST = dataclasses.replace(
    DEFAULT,
    views=Views("auto", train_views="few", score_views=8, score_rotations="auto"),
    backbone=Backbone(sizes=(224, 112), stages=(3, 4, 5)),
    reading=Reading(),
)
PRESETS: Mapping[str, Config] = {"default": DEFAULT, "fast": FAST, "paper": PAPER}


def names() -> dict[str, str]:
    """Map each setting's name to its section, in order."""
    return {
        leaf.name: section.name
        for section in dataclasses.fields(Config)
        for leaf in dataclasses.fields(getattr(DEFAULT, section.name))
    }


def resolve(preset: str | Config = "default", overrides: Mapping[str, Any] | None = None) -> Config:
    """Return a preset with single settings replaced.

    Raises :class:`ConfigError` for an unknown preset or setting, naming the nearest, and for a value that
    does not fit.

    >>> resolve("paper").training.epochs
    192
    >>> resolve("default", {"epoch": 3})
    Traceback (most recent call last):
        ...
    differnet.errors.ConfigError: There is no setting 'epoch'; did you mean 'epochs'?
    """
    if isinstance(preset, Config):
        base = preset
    elif preset in PRESETS:
        base = PRESETS[preset]
    else:
        raise ConfigError(f"There is no preset {preset!r}; {_nearest(preset, list(PRESETS))}")
    values = base.to_dict()
    sections = names()
    for name, value in (overrides or {}).items():
        section, leaf = _locate(name, sections)
        values[section][leaf] = value
    return Config.from_dict(values)


def follow_rotation(settings: Config) -> Config:
    """Replace the ``"auto"`` of what follows from whether views turn, where that is known."""
    views = settings.views
    if views.rotation == "auto":
        return settings
    turns = views.rotation == "full"
    rotations = ("random" if turns else "even") if views.score_rotations == "auto" else views.score_rotations
    wanted = views.train_views
    count = _VIEWS_TO_FIT[wanted][turns] if isinstance(wanted, str) else wanted
    return resolve(settings, {"score_rotations": rotations, "train_views": count})


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` strings; a value is JSON where it parses as such and text otherwise.

    >>> parse_assignments(["sizes=[224,112]", "fill=zeros", "rate=0.05"])
    {'sizes': [224, 112], 'fill': 'zeros', 'rate': 0.05}
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise ConfigError(f"Expected NAME=VALUE, for instance hidden=256, not {assignment!r}")
        try:
            values[name.strip()] = json.loads(text)
        except json.JSONDecodeError:
            values[name.strip()] = text
    return values


def _locate(name: str, sections: Mapping[str, str]) -> tuple[str, str]:
    section, dot, leaf = name.rpartition(".")
    if leaf in sections and (not dot or section == sections[leaf]):
        return sections[leaf], leaf
    if leaf in sections:
        raise ConfigError(f"There is no setting {name!r}; did you mean '{sections[leaf]}.{leaf}'?")
    dotted = [f"{section}.{leaf}" for leaf, section in sections.items()]
    raise ConfigError(f"There is no setting {name!r}; {_nearest(name, dotted if dot else list(sections))}")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "config"
        if item["type"] == "unexpected_keyword_argument":
            leaf = str(item["loc"][-1])
            lines.append(f"There is no setting {where!r}; {_nearest(leaf, list(names()))}")
        elif item["type"] == "value_error":
            lines.append(f"{where}: {item['ctx']['error']}")
        else:
            lines.append(f"{where} = {item['input']!r}: {item['msg']}")
    return "; ".join(lines)
