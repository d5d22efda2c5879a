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
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from differnet.config.sections import (
    Backbone,
    Decision,
    Flow,
    Maps,
    PrecisionName,
    Reading,
    RuntimeName,
    Training,
    Views,
    strict,
)
from differnet.errors import ConfigError

__all__ = [
    "DEFAULT",
    "FAST",
    "PAPER",
    "PRESETS",
    "Backbone",
    "Config",
    "Decision",
    "Flow",
    "Maps",
    "PrecisionName",
    "Reading",
    "RuntimeName",
    "Training",
    "Views",
    "resolve",
]


@dataclass(frozen=True, config=strict)
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
        if read.pooling in ("largest", "average", "combined") and known.grid == 1:
            raise ValueError(f"pooling = {read.pooling!r} needs a grid of 2 or more")
        if self.training.noise not in (0, "auto") and self.flow.start != "gaussian":
            raise ValueError("noise needs start = 'gaussian'")
        if read.pooling == "combined" and (self.flow.start != "gaussian" or self.views.fresh_views):
            raise ValueError("pooling = 'combined' needs start = 'gaussian' and fresh_views = False")
        if read.pooling == "combined" and not self.views.plain_first:
            raise ValueError("pooling = 'combined' needs plain_first = True: parts are looked at upright")
        if self.maps.gradient == "features" and self.flow.start != "gaussian":
            raise ValueError("gradient = 'features' needs start = 'gaussian'")

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
    views=Views(
        "auto",
        plain_first=True,
        train_views="auto",
        score_views=8,
        score_rotations="auto",
        aspect="auto",
        resampling="floats",
    ),
    backbone=Backbone(sizes=(448, 224), stages=(3, 4, 5), grid=7, tiles="auto"),
    reading=Reading(pooling="combined", neighbours=2000),
    flow=Flow(blocks="auto", hidden="auto", start="gaussian"),
    training=Training(1, 800, batch=128, learning_rate=2e-3, schedule="one-cycle", eps=1e-6, noise="auto"),
)
SINGLE = Config(  # one reading, chosen by drawn defects
    views=Views("auto", train_views="auto", score_rotations="auto", aspect="auto"),
    backbone=Backbone(sizes=(224, 112), stages=(3, 4, 5), grid=2),
    reading=Reading(read_stages="auto", pooling="auto"),
    flow=Flow(blocks="auto", hidden="auto", start="gaussian"),
    training=Training(
        10, 100, batch=192, learning_rate=1e-3, schedule="one-cycle", eps=1e-6, noise="auto", length="auto"
    ),
)
FAST = dataclasses.replace(
    SINGLE,
    views=Views("auto", train_views="few", score_views=8, score_rotations="auto", aspect="auto"),
    backbone=Backbone(sizes=(224, 112), stages=(3, 4, 5)),
    reading=Reading(),
    training=dataclasses.replace(SINGLE.training, length="quick"),
)
TURNED = Config(
    backbone=Backbone(sizes=(224, 112)),
    flow=Flow(hidden=256, depth=2),
    training=Training(10, 100, batch=192, learning_rate=1e-3, schedule="one-cycle", eps=1e-6),
)
THOROUGH = dataclasses.replace(
    SINGLE,
    views=dataclasses.replace(SINGLE.views, rotation="full"),
    backbone=dataclasses.replace(SINGLE.backbone, precision="f32"),
    flow=dataclasses.replace(SINGLE.flow, flows=3),
)
# Stronger networks, whose weights are downloaded; in floats, because their integers were never measured.
WIDE_RESNET50 = dataclasses.replace(  # layers 2 and 3 at 224 pixels: PatchCore and PaDiM, with their weights
    DEFAULT, backbone=Backbone("wide_resnet50_2.tv_in1k", (2, 3), 7, (224,), precision="f32")
)
DINOV2 = dataclasses.replace(  # ViT-S/14 at 448 pixels as AnomalyDINO; the four blocks that DINOv2's dense heads read
    DEFAULT,
    views=dataclasses.replace(DEFAULT.views, aspect=1.0),
    backbone=Backbone("vit_small_patch14_dinov2.lvd142m", (2, 5, 8, 11), 7, (448,), precision="f32"),
)
DINOV3 = dataclasses.replace(  # ViT-S/16, read in the same way
    DEFAULT,
    views=dataclasses.replace(DEFAULT.views, aspect=1.0),
    backbone=Backbone("vit_small_patch16_dinov3.lvd1689m", (2, 5, 8, 11), 7, (448,), precision="f32"),
)
PRESETS: Mapping[str, Config] = {
    "default": DEFAULT,
    "single": SINGLE,
    "fast": FAST,
    "thorough": THOROUGH,
    "turned": TURNED,
    "wide_resnet50": WIDE_RESNET50,
    "dinov2": DINOV2,
    "dinov3": DINOV3,
    "paper": PAPER,
}


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
        raise ConfigError(f"There is no preset {preset!r}; {nearest(preset, list(PRESETS))}")
    values = base.to_dict()
    sections = names()
    for name, value in (overrides or {}).items():
        section, leaf = _locate(name, sections)
        values[section][leaf] = value
    return Config.from_dict(values)


def check_name(name: str) -> str:
    """Return a setting's name with its section; raises :class:`ConfigError` for one that does not exist."""
    return ".".join(_locate(name, names()))


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
    raise ConfigError(f"There is no setting {name!r}; {nearest(name, dotted if dot else list(sections))}")


def nearest(name: str, known: list[str]) -> str:
    """Propose the nearest of the ``known`` names, or list them where none is near."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"


def _explain(error: ValidationError) -> str:
    lines: list[str] = []
    reasons: dict[str, list[str]] = {}  # a value that may be of several kinds has a reason for each
    for item in error.errors():
        parts = [str(part) for part in item["loc"] if isinstance(part, int) or part.isidentifier()]
        where = ".".join(parts) or "config"
        if item["type"] == "unexpected_keyword_argument":
            leaf = str(item["loc"][-1])
            lines.append(f"There is no setting {where!r}; {nearest(leaf, list(names()))}")
        elif item["type"] == "value_error":
            lines.append(f"{where}: {item['ctx']['error']}")
        else:
            reasons.setdefault(f"{where} = {item['input']!r}", []).append(item["msg"])
    return "; ".join([*lines, *(f"{what}: {', or: '.join(why)}" for what, why in reasons.items())])
