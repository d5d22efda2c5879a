"""What a model was fitted to and what its threshold was calibrated on, told from the model file alone."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from differnet.data.stream import Progress, silent
from differnet.errors import ConfigError, agreeing, counted
from differnet.features.look import Shown, seen, source

_SHORT = 16  # hexadecimal digits: enough that two images of one factory never share them


@dataclass(frozen=True)
class Way:
    """How images were scored: in how many views, and what computed their features, in which numbers.

    A threshold is worth something for scores of the very same way alone.
    """

    views: int
    runtime: str
    precision: str


@dataclass(frozen=True)
class Sources:
    """Where images come from, as short digests: which images, of which groups, in which folders.

    ``images`` (N,) in order; ``groups`` empty where none were given or found; ``folders`` empty where no image is a
    file. ``members`` (N,): the number of the group of each image, empty where there are no groups and in files of
    before.
    """

    images: tuple[str, ...] = field(repr=False)
    groups: tuple[str, ...]
    folders: tuple[str, ...]
    members: tuple[int, ...] = field(default=(), repr=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Sources:
        """Read back what :func:`dataclasses.asdict` gave, also after JSON.

        Raises :class:`ValueError` where the members are not those of the images.
        """
        images, groups, folders = (
            tuple(str(one) for one in values[name]) for name in ("images", "groups", "folders")
        )
        found = cls(images, groups, folders, tuple(int(one) for one in values.get("members", ())))
        if found.members and len(found.members) != len(found.images):
            raise ValueError(f"{len(found.members)} members of groups for {len(found.images)} images")
        return found

    @property
    def keep_copies(self) -> bool:
        """Whether copies are of one group, so that a split keeps them on one side."""
        return bool(self.members) and len(set(zip(self.images, self.members, strict=True))) == len(
            set(self.images)
        )

    def shares_shoot(self, other: Sources) -> bool:
        """Whether some images of both may be of one shoot: they share a group, or else a folder.

        Groups may be parts, so having none in common does not make them two shoots.
        """
        return self.shares_group(other) or bool(set(self.folders) & set(other.folders))

    def shares_group(self, other: Sources) -> bool:
        """Whether some images of both are of one group."""
        return bool(set(self.groups) & set(other.groups))


@dataclass(frozen=True)
class CalibrationRecord:
    """The good images that set a threshold.

    ``count`` images of ``groups`` groups (same part, same shoot; as many as images where none were given). ``date``:
    when, ISO 8601 in UTC. ``digest``: SHA-256 over the sorted digests of the pixels, the same for the same images in
    any order and from whatever they were read. ``brightness``, ``sharpness`` (count,): see
    :mod:`differnet.decision.light`. ``way``: how they were scored. ``same_shoot``: whether some share a group or a
    folder with images that were fitted to. ``folds``: how many they were cross-fitted over, 0 where none of them was
    fitted to.
    """

    count: int
    groups: int
    date: str
    digest: str
    brightness: tuple[float, ...] = field(repr=False)
    sharpness: tuple[float, ...] = field(repr=False)
    way: Way
    sources: Sources = field(repr=False)
    same_shoot: bool = False
    folds: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self) | {"brightness": list(self.brightness), "sharpness": list(self.sharpness)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CalibrationRecord:
        """Undo :meth:`to_dict`, also after JSON; raises :class:`ValueError` for what does not fit together."""
        brightness, sharpness = (
            tuple(float(value) for value in values[name]) for name in ("brightness", "sharpness")
        )
        count, groups, folds = (int(values[name]) for name in ("count", "groups", "folds"))
        sources, way = Sources.from_dict(values["sources"]), values["way"]
        lengths = {len(one) for one in (brightness, sharpness, sources.images)}
        if lengths != {count} or not 1 <= groups <= count or folds < 0:
            raise ValueError(f"a record of {count} calibration images in {groups} groups and {folds} folds")
        if not all(math.isfinite(value) for value in brightness + sharpness):
            raise ValueError("a record of calibration images with NaN or infinite numbers")
        scored = Way(int(way["views"]), str(way["runtime"]), str(way["precision"]))
        return cls(
            count=count,
            groups=groups,
            date=str(values["date"]),
            digest=str(values["digest"]),
            brightness=brightness,
            sharpness=sharpness,
            way=scored,
            sources=sources,
            same_shoot=bool(values["same_shoot"]),
            folds=folds,
        )

    @property
    def copies(self) -> int:
        """How many of the images are copies of another one of them, pixel for pixel."""
        return self.count - len(set(self.sources.images))

    def summary(self) -> dict[str, Any]:
        """Return the record without what it says of each image."""
        names = ("count", "groups", "date", "digest", "same_shoot", "folds")
        return {name: getattr(self, name) for name in names} | {"way": asdict(self.way)}


def from_header(found: Mapping[str, Any] | None, shape: tuple[int, ...]) -> CalibrationRecord | None:
    """Read the record of a model file with held-out scores of the ``shape`` (M, V); nothing in older files.

    Raises :class:`ValueError` for a record of another number of images or views.
    """
    record = None if found is None else CalibrationRecord.from_dict(found)
    if record is not None and (record.count, record.way.views) != shape:
        raise ValueError(
            f"scores of {shape[0]} held-out images in {shape[1]} views and a record of {record.count} in "
            f"{record.way.views}"
        )
    return record


def sources_of(
    images: Sequence[Shown], groups: Sequence[Hashable] | None = None, progress: Progress = silent
) -> Sources:
    """Note where images come from; :class:`ConfigError` when the groups do not go with them."""
    check_groups(images, groups)
    digests = []
    for image in images:
        digests.append(seen(image).digest)
        progress("noting images", len(digests), len(images))
    return _sources(digests, images, groups)


def _sources(digests: Sequence[str], images: Sequence[Shown], groups: Sequence[Hashable] | None) -> Sources:
    paths = [path for path in map(source, images) if isinstance(path, (str, os.PathLike))]
    return Sources(
        images=tuple(digests),
        groups=_hidden(_name(group) for group in (() if groups is None else groups)),
        folders=_hidden({str(Path(path).resolve().parent) for path in paths}),
        members=_numbered(() if groups is None else groups),
    )


def _numbered(groups: Sequence[Hashable]) -> tuple[int, ...]:
    """Number groups in the order in which they come.

    >>> _numbered(["b", "a", "b"])
    (0, 1, 0)
    """
    numbers: dict[Hashable, int] = {}
    return tuple(numbers.setdefault(group, len(numbers)) for group in groups)


def _name(group: Hashable) -> str:
    """Write a group as text, the same whether it comes out of a list or a NumPy array."""
    return repr(group.item() if isinstance(group, np.generic) else group)


def record_of(
    images: Sequence[Shown],
    groups: Sequence[Hashable] | None,
    way: Way,
    fitted_on: Sources | None,
    progress: Progress = silent,
    folds: int = 0,
) -> CalibrationRecord:
    """Note what images are.

    Raises :class:`ConfigError` when the groups do not go with the images, and for no images.
    """
    if not images:
        raise ConfigError("no images were given; good images are needed to calibrate")
    check_groups(images, groups)
    noted = []
    for image in images:
        noted.append(seen(image))
        progress("noting calibration images", len(noted), len(images))
    sources = _sources([one.digest for one in noted], images, groups)
    return CalibrationRecord(
        count=len(images),
        groups=len(images if groups is None else set(groups)),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        digest=hashlib.sha256("".join(sorted(sources.images)).encode()).hexdigest(),
        brightness=tuple(one.light.brightness for one in noted),
        sharpness=tuple(one.light.sharpness for one in noted),
        way=way,
        sources=sources,
        same_shoot=fitted_on is not None and not folds and sources.shares_shoot(fitted_on),
        folds=folds,
    )


def check_unseen(images: Sequence[Shown], record: CalibrationRecord, fitted_on: Sources | None) -> None:
    """Refuse good images to calibrate on that were fitted to: :class:`ConfigError` with how many, and one of them.

    ``record``: of these images. They are known by their pixels, so also as an array or in another file format that
    loses nothing.
    """
    known = set(fitted_on.images) if fitted_on else set()
    fitted = [
        source(image) for image, digest in zip(images, record.sources.images, strict=True) if digest in known
    ]
    if fitted:
        first = f", such as {fitted[0]}" if isinstance(fitted[0], (str, os.PathLike)) else ""
        raise ConfigError(
            f"{len(fitted)} of {counted(len(images), 'image')} to calibrate on {agreeing(len(fitted), 'was', 'were')} "
            f"fitted to{first}: a model scores what it was "
            "fitted to lower than new parts, so the threshold would be too low; give others"
        )


def check_groups(images: Sequence[Shown], groups: Sequence[Hashable] | None) -> None:
    """Refuse groups that do not go with the images: :class:`ConfigError`."""
    if groups is not None and len(groups) != len(images):
        raise ConfigError(
            f"{counted(len(groups), 'group')} for {counted(len(images), 'image')}; one each is needed"
        )


def _hidden(names: Any) -> tuple[str, ...]:
    """Digests in place of names: not to be read in a model file, though who guesses one can check the guess."""
    return tuple(
        sorted(
            {hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:_SHORT] for name in names}
        )
    )
