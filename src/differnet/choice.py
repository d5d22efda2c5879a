"""What to look at, found out from the good images: are the parts turned, which features count, how are they pooled?

No defect is needed. Some good images are held out of a Gaussian that is fitted to the features of the others. If it
tells their turned copies from themselves, all parts lie the same way, and turning them would throw that
knowledge away. Then defects are drawn into the held-out images (:mod:`differnet.synthetic`), and of a few ways to
read the features the one is taken that tells these best. docs/results/judge.md compares its order with that of real
defects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from differnet import calibrate, config, gaussian, synthetic
from differnet.features import Describer, Progress, look_ahead, name_of
from differnet.images import ImageLike
from differnet.metrics import auroc
from differnet.reading import Pooling, Reading, reading_of
from differnet.runtime import GROUP
from differnet.seeds import generator
from differnet.views import random_views, render

FEWEST = 24  # images; with fewer nothing is tried out
MOST = 700
MOST_TO_TURN = 200  # where the way to read is not open
MOST_HELD = 60
HELD_SHARE = 0.2
TOLD_APART = 0.65  # AUROC; below, a turned copy passes for another good image
FEWEST_HELD = 5
FEWEST_TO_TRAIN = 100
_TURNED_VIEWS = 8
_LEAST_STRENGTH = 0.3
_POOLINGS: tuple[Pooling, ...] = ("whole", "largest", "average")


@dataclass(frozen=True)
class Candidate:
    """One way to read the features, and how well drawn defects are told by it: the mean AUROC over their kinds.

    ``auroc``: nothing where there was no other candidate.
    """

    read_stages: tuple[int, ...]
    pooling: Pooling
    auroc: float | None


@dataclass(frozen=True)
class Choice:
    """What was found out, by what evidence, from how many good images.

    ``told_apart``: AUROC at which copies of held-out images are told from themselves, by how they were turned; empty
    when nothing was tried out. ``candidates``: best first.
    """

    rotation: str
    read_stages: tuple[int, ...]
    pooling: Pooling
    told_apart: Mapping[str, float]
    candidates: tuple[Candidate, ...]
    images: int
    held: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Choice:
        """Undo :meth:`to_dict`, also after JSON."""
        candidates = tuple(_candidate(one) for one in values["candidates"])
        told = {str(name): float(value) for name, value in values["told_apart"].items()}
        stages, counts = tuple(values["read_stages"]), (int(values["images"]), int(values["held"]))
        return cls(str(values["rotation"]), stages, values["pooling"], told, candidates, *counts)

    def __str__(self) -> str:
        how = "turned by any angle" if self.rotation == "full" else "upright"
        if not self.candidates:
            what = f"{how}, stages {', '.join(map(str, self.read_stages))}, pooling {self.pooling!r}"
            return f"{self.images} images are too few to try anything out: {what}"
        turns = ", ".join(f"{name} {value:.2f}" for name, value in self.told_apart.items())
        told = f" (AUROC at which copies are told: {turns})" if turns else ""
        best = self.candidates[0].auroc
        judged = "" if best is None else f" (defects drawn into {self.held} good images: AUROC {best:.2f})"
        stages = ", ".join(map(str, self.read_stages))
        return f"looked at {how}{told}; stages {stages}, pooling {self.pooling!r}{judged}"


def _candidate(values: Mapping[str, Any]) -> Candidate:
    score = values["auroc"]
    return Candidate(tuple(values["read_stages"]), values["pooling"], None if score is None else float(score))


def settle(settings: config.Config, found: Choice) -> config.Config:
    """Return ``settings`` with what was found out in the place of every ``"auto"``.

    A flow that starts as a Gaussian stays one where images are fewer than 100: training made it worse there.
    """
    changes: dict[str, Any] = {}
    if settings.flow.start == "gaussian" and found.images < FEWEST_TO_TRAIN:
        changes |= {"epochs": 0, "min_steps": 0}
    if settings.views.rotation == "auto":
        changes["rotation"] = found.rotation
    if settings.reading.read_stages == "auto":
        changes["read_stages"] = found.read_stages
    if settings.reading.pooling == "auto":
        changes["pooling"] = found.pooling
    return config.follow_rotation(config.resolve(settings, changes))


def choose(
    settings: config.Config,
    channels: tuple[int, ...],
    describer: Describer,
    images: Sequence[ImageLike],
    groups: Sequence[Hashable] | None,
    seed: int,
    progress: Progress,
) -> Choice:
    """Find out what ``settings`` leave open; ``channels``: of every stage in a row of features.

    At most 700 of the images are used, or 200 where the way to read is not open; whole ``groups`` are held out
    together.
    """
    readings = _readings(settings, channels, _poolings(settings))
    most = MOST if len(readings) > 1 else MOST_TO_TURN
    order = np.random.default_rng(seed).permutation(len(images))[:most].tolist()
    names = [index if groups is None else groups[index] for index in order]
    if len(order) < FEWEST or len(set(names)) < 2:
        return _without_evidence(settings, len(order))
    fitted, held = calibrate.hold_out(names, min(HELD_SHARE, MOST_HELD / len(names)), seed)
    held = held[:MOST_HELD]
    if len(held) < FEWEST_HELD:
        return _without_evidence(settings, len(order))
    tables = _Tables(
        settings,
        describer,
        [images[order[i]] for i in fitted],
        [images[order[i]] for i in held],
        seed,
        progress,
    )
    rotation = settings.views.rotation
    told: dict[str, float] = {}
    if rotation == "auto":
        told = tables.told_apart(_readings(settings, channels, ("whole",))[0][1])
        rotation = "full" if max(told.values()) < TOLD_APART else "none"
    candidates = tables.candidates(rotation, readings)
    best = candidates[0]
    return Choice(rotation, best.read_stages, best.pooling, told, candidates, len(order), len(held))


@dataclass(frozen=True)
class _Tables:
    """Features of some good images, of copies of them, and of defects drawn into them."""

    settings: config.Config
    describer: Describer
    fitted: list[ImageLike]
    held: list[ImageLike]
    seed: int
    progress: Progress

    def told_apart(self, read: Reading) -> dict[str, float]:
        """Return the AUROC between held-out images and their copies, by how these were turned."""
        good = gaussian.fit(read.rows(self._upright), self.seed)
        rows = torch.stack([self._describe(torch.stack(_copies(square.float()))) for square in self._squares])
        norms = gaussian.norms(read.rows(rows.flatten(0, 1)), good).view(len(self.held), -1).numpy()
        return {name: _auroc(norms[:, 0], norms[:, i]) for i, name in enumerate(_COPIES, 1)}

    def candidates(
        self, rotation: str, readings: list[tuple[tuple[int, ...], Reading]]
    ) -> tuple[Candidate, ...]:
        """Judge ways to read by the defects drawn into held-out images; best first."""
        if len(readings) == 1:
            stages, read = readings[0]
            return (Candidate(stages, read.pooling, None),)
        training = self._upright if rotation == "none" else self._training(rotation)
        tests = torch.stack(
            [self._with_defects(square, i, rotation) for i, square in enumerate(self._squares)]
        )
        found = []
        norms: dict[tuple[tuple[int, ...], bool], Tensor] = {}
        for stages, read in readings:
            key = stages, read.pooling == "whole"  # the other two map the same parts
            if key not in norms:
                good = gaussian.fit(read.rows(training), self.seed)
                norms[key] = gaussian.norms(read.rows(tests.flatten(0, 2)), good)
            scores = read.of_view(norms[key]).view(tests.shape[:3]).mean(dim=2).numpy()
            by_kind = [_auroc(scores[:, 0], scores[:, kind]) for kind in range(1, scores.shape[1])]
            found.append(Candidate(stages, read.pooling, float(np.mean(by_kind))))
        return tuple(sorted(found, key=lambda one: -(one.auroc or 0)))

    @cached_property
    def _upright(self) -> Tensor:
        return self._training("none")

    def _training(self, rotation: str) -> Tensor:
        """Describe some views of every fitted image: (N * V, W)."""
        views = self._views(rotation)
        most = config.UPRIGHT_VIEWS if rotation == "none" else _TURNED_VIEWS
        count = min(most, views.count_to_fit)
        rows = []
        for index, (image, square) in enumerate(look_ahead(self.describer.square, self.fitted)):
            shown = random_views(count, views, generator(self.seed, "choosing", index))
            rows.append(self.describer.features(square, shown, name_of(image)))
            self.progress("looking at good images", index + 1, len(self.fitted))
        return torch.cat(rows)

    def _with_defects(self, square: Tensor, index: int, rotation: str) -> Tensor:
        """Describe an image, without and with a defect of each kind, in the first views of scoring: (1 + K, V, W)."""
        rng = np.random.default_rng([self.seed, index])
        pixels = square.permute(1, 2, 0).numpy()
        drawn = [
            synthetic.draw(pixels, kind, rng.uniform(_LEAST_STRENGTH, 1), rng)[0] for kind in synthetic.KINDS
        ]
        shown = [square.float(), *(torch.from_numpy(one).permute(2, 0, 1).float() for one in drawn)]
        self.progress("drawing defects", index + 1, len(self.held))
        if rotation == "none":
            return self._describe(torch.stack(shown))[:, None]
        views = random_views(GROUP, self._views(rotation), generator(self.seed, "scoring views"))
        fill = self.settings.views.fill
        return torch.stack([self._describe(render(one, views, fill)) for one in shown])

    def _describe(self, pictures: Tensor) -> Tensor:
        return self.describer.runtime.features(pictures.split(GROUP))

    @cached_property
    def _squares(self) -> list[Tensor]:
        """The held-out images (3, S, S) in bytes, decoded once for turned copies and drawn defects."""
        return [square.byte() for _, square in look_ahead(self.describer.square, self.held)]

    def _views(self, rotation: str) -> config.Views:
        return config.follow_rotation(config.resolve(self.settings, {"rotation": rotation})).views


_COPIES = (
    "turned by 90",
    "turned by 180",
    "turned by 270",
    "mirrored left to right",
    "mirrored top to bottom",
)


def _copies(square: Tensor) -> list[Tensor]:
    """Return a picture (3, S, S) and its copies, in the order of ``_COPIES``."""
    turned = [square.rot90(quarter, (1, 2)) for quarter in (1, 2, 3)]
    return [square, *turned, square.flip(2), square.flip(1)]


def _auroc(good: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    labels = np.repeat([False, True], [len(good), len(other)])
    return auroc(np.concatenate((good, other)), labels)


def _poolings(settings: config.Config, first: Pooling = "whole") -> tuple[Pooling, ...]:
    """List the poolings that are open, ``first`` first."""
    wanted = settings.reading.pooling
    if wanted != "auto":
        return (wanted,)
    if settings.backbone.grid == 1:
        return ("whole",)
    return (first, *(pooling for pooling in _POOLINGS if pooling != first))


def _readings(
    settings: config.Config, channels: tuple[int, ...], poolings: tuple[Pooling, ...]
) -> list[tuple[tuple[int, ...], Reading]]:
    """List the ways to read: all stages, and all runs of at least two neighbouring ones, by each pooling."""
    known, wanted = settings.backbone.stages, settings.reading.read_stages
    runs = [known]
    if wanted == "auto":
        runs += [
            known[i:j] for i in range(len(known)) for j in range(i + 2, len(known) + 1) if j - i < len(known)
        ]
    elif wanted != "all":
        runs = [wanted]
    return [(run, reading_of(settings, channels, run, pooling)) for run in runs for pooling in poolings]


def _without_evidence(settings: config.Config, count: int) -> Choice:
    """Take what was asked for, and for the rest what did best with few images of all data measured."""
    rotation = "none" if settings.views.rotation == "auto" else settings.views.rotation
    wanted = settings.reading.read_stages
    stages = settings.backbone.stages if isinstance(wanted, str) else wanted
    return Choice(rotation, stages, _poolings(settings, "largest")[0], {}, (), count, 0)
