"""What to look at, found out from the good images: do the parts lie any way, which features count, how are they pooled?

No defect is needed. Whether views turn, good images say that are compared with each other
(:mod:`differnet.detector.tuning.turning`). Then some of them are held out, defects are drawn into these
(:mod:`differnet.detector.tuning.synthetic`), and of a few ways to read the features the one is taken that tells these
best. docs/results/judge.md compares its order with that of real defects.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from differnet.config import presets
from differnet.config.settled import Pooling, provisional
from differnet.data import files
from differnet.data.groups import hold_out
from differnet.data.stream import Progress
from differnet.detector.tuning.evidence import Evidence, Tables, judge
from differnet.detector.tuning.turning import Turning, look_for_turns
from differnet.errors import counted
from differnet.features.backbone.network import MultiScale
from differnet.features.checkpoint import Checkpoint
from differnet.features.describer import Describer
from differnet.features.look import Look
from differnet.features.pooling import RowReading, reading_of
from differnet.flow import gaussian

_FILE = "choice.json"
FEWEST = 35  # images; with fewer nothing is tried out
MOST = 700
MOST_HELD = 60
HELD_SHARE = 0.2
FEWEST_HELD = 7  # fewer copies can never be told with certainty
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

    ``candidates``: best first. ``length``: see :class:`differnet.config.sections.Training`;
    ``trained``: the shares of the schedule after which a flow was judged, with the AUROC of drawn defects
    (:mod:`differnet.detector.tuning.length`). ``turning``: how parts lie; nothing where that was not asked, and in
    models of before it was.
    """

    rotation: str
    read_stages: tuple[int, ...]
    pooling: Pooling
    candidates: tuple[Candidate, ...]
    images: int
    held: int
    length: float = 1.0
    trained: tuple[tuple[float, float], ...] = ()
    turning: Turning | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Choice:
        """Undo :meth:`to_dict`, also after JSON."""
        candidates = tuple(_candidate(one) for one in values["candidates"])
        turning = values.get("turning")
        return cls(
            rotation=str(values["rotation"]),
            read_stages=tuple(values["read_stages"]),
            pooling=values["pooling"],
            candidates=candidates,
            images=int(values["images"]),
            held=int(values["held"]),
            length=float(values.get("length", 1.0)),
            trained=tuple((float(share), float(score)) for share, score in values.get("trained", ())),
            turning=None if turning is None else Turning.from_dict(turning),
        )

    def __str__(self) -> str:
        how = "turned by any angle" if self.rotation == "full" else "upright"
        told = f" ({self.turning})" if self.turning else ""
        read = f"stages {', '.join(map(str, self.read_stages))}, pooling {self.pooling!r}"
        if not self.candidates:
            few = f"too few images or groups ({self.images} images) to try anything out"
            return f"{few}: {how}{told}, {read}{self._training()}"
        best = self.candidates[0].auroc
        several = counted(len(self.candidates), "way", "ways")
        judged = (
            ""
            if best is None
            else f" (defects drawn into {self.held} good images: AUROC {best:.2f}, the best of {several} and chosen by "
            "these very images, so too good a figure)"
        )
        return f"looked at {how}{told}; {read}{judged}{self._training()}"

    def _training(self) -> str:
        scores = dict(self.trained)
        if self.length == 0:  # only a flow that starts as a Gaussian is left as it is
            told = (
                f", training gained too little ({scores[0.0]:.3f} to {max(scores.values()):.3f})"
                if scores
                else ""
            )
            return f"; the flow stays as it starts, a Gaussian{told}"
        if not scores:
            return ""
        gain = f"{scores[0.0]:.3f} to {scores[self.length]:.3f}"
        looks = f"the best of {len(scores)} looks at the same images"
        return f"; trained for {self.length:.0%} of the schedule ({gain}, {looks})"


def _candidate(values: Mapping[str, Any]) -> Candidate:
    score = values["auroc"]
    return Candidate(tuple(values["read_stages"]), values["pooling"], None if score is None else float(score))


def keep_choice(checkpoint: Checkpoint, key: str, found: Choice) -> None:
    """Write what was found out into a checkpoint; ``key``: a digest of all that it depends on."""
    content = {"key": key, "choice": found.to_dict()}
    files.write_whole(checkpoint.folder / _FILE, json.dumps(content).encode())


def kept_choice(checkpoint: Checkpoint, key: str) -> Choice | None:
    """Return what a broken-off fit found out, or nothing; raises :class:`ModelFileError` for that of another fit."""
    if not checkpoint.has(_FILE):
        return None
    with checkpoint.reading(_FILE) as file:
        kept = json.loads(file.read_bytes())
        checkpoint.check(kept["key"], key)
        return Choice.from_dict(kept["choice"])


def choose(
    settings: presets.Config,
    module: MultiScale,
    describer: Callable[[], Describer],
    images: Sequence[Look],
    groups: Sequence[Hashable] | None,
    seed: int,
    progress: Progress,
    are_found: bool = False,
) -> tuple[Choice, Evidence | None]:
    """Find out what ``settings`` leave open; ``describer`` gives what describes by ``module``, when it is needed.

    Where the rest :func:`waits_for_rotation`, that alone is found out.
    How far to train is left to :mod:`differnet.detector.tuning.length`, which needs the evidence. At most 700 of the
    images are used; whole ``groups`` are held out together. Groups that ``are_found`` by what images show say nothing
    of how parts lie: those that lie alike by chance are taken for sisters.
    """
    rotation = settings.views.rotation
    turning = None
    if rotation == "auto":
        given = None if are_found else groups
        turning = look_for_turns(module, settings, images, given, seed, progress)
        rotation = "full" if turning.turns else "none"
    readings = _readings(settings, module.channels, _poolings(settings, rotation))
    is_settled = len(readings) == 1 and settings.training.length != "auto"
    if is_settled or waits_for_rotation(settings, rotation):
        return _found(rotation, _ranked(readings, None, seed), turning, len(images), 0), None
    most = max(FEWEST, MOST // provisional(settings).backbone.tiles)  # features in memory
    order = np.random.default_rng(seed).permutation(len(images))[:most].tolist()
    names = [index if groups is None else groups[index] for index in order]
    if len(order) < FEWEST or len(set(names)) < 2:
        return _without_evidence(settings, len(order), turning), None
    fitted, held = hold_out(names, min(HELD_SHARE, MOST_HELD / len(names)), seed)
    held = held[:MOST_HELD]
    if len(held) < FEWEST_HELD:
        return _without_evidence(settings, len(order), turning), None
    parts = [order[i] for i in fitted], [order[i] for i in held]
    tables = Tables(settings, describer(), images, *parts, seed=seed, progress=progress)
    evidence = tables.evidence(rotation)
    return _found(rotation, _ranked(readings, evidence, seed), turning, len(order), len(held)), evidence


def waits_for_rotation(settings: presets.Config, rotation: str) -> bool:
    """Whether all else is found out in another shape or in other pieces than before this ``rotation`` was known.

    Views that turn are squares, and how many tiles there are follows the rotation.
    """
    return settings.backbone.tiles == "auto" or (rotation == "full" and settings.views.aspect != 1)


def _found(
    rotation: str, candidates: tuple[Candidate, ...], turning: Turning | None, images: int, held: int
) -> Choice:
    best = candidates[0]
    return Choice(rotation, best.read_stages, best.pooling, candidates, images, held, turning=turning)


def _ranked(
    readings: list[tuple[tuple[int, ...], RowReading]], evidence: Evidence | None, seed: int
) -> tuple[Candidate, ...]:
    """Judge ways to read by a Gaussian of each and the drawn defects; best first."""
    if len(readings) == 1 or evidence is None:
        stages, read = readings[0]
        return (Candidate(stages, read.pooling, None),)
    found = []
    norms: dict[tuple[tuple[int, ...], bool], Tensor] = {}
    for stages, read in readings:
        key = stages, read.pooling == "whole"  # the other two map the same parts
        if key not in norms:
            good = gaussian.fit(read.rows(evidence.rows.flatten(0, 1)), seed)
            norms[key] = gaussian.norms(read.rows(evidence.tests.flatten(0, 2)), good)
        scores = read.of_view(norms[key]).view(evidence.tests.shape[:3]).mean(dim=2)
        found.append(Candidate(stages, read.pooling, judge(scores)))
    return tuple(sorted(found, key=lambda one: -(one.auroc or 0)))


def _poolings(settings: presets.Config, rotation: str, first: Pooling = "whole") -> tuple[Pooling, ...]:
    """List the poolings that are open, ``first`` first; places mean nothing where views turn."""
    wanted = settings.reading.pooling
    if wanted != "auto":
        return (wanted,)
    if settings.backbone.grid == 1 or rotation == "full":
        return ("whole",)
    return (first, *(pooling for pooling in _POOLINGS if pooling != first))


def _readings(
    settings: presets.Config, channels: tuple[int, ...], poolings: tuple[Pooling, ...]
) -> list[tuple[tuple[int, ...], RowReading]]:
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


def _without_evidence(settings: presets.Config, count: int, turning: Turning | None) -> Choice:
    """Take what was asked for, and for the rest what did best with few images of all data measured."""
    rotation = "none" if settings.views.rotation == "auto" else settings.views.rotation
    wanted = settings.reading.read_stages
    stages = settings.backbone.stages if isinstance(wanted, str) else wanted
    asked = settings.training.length
    found = 0.0 if settings.flow.start == "gaussian" else 1.0
    length = found if isinstance(asked, str) else asked
    return Choice(
        rotation,
        stages,
        _poolings(settings, rotation, "largest")[0],
        (),
        images=count,
        held=0,
        length=length,
        turning=turning,
    )
