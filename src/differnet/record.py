"""What a threshold was calibrated on: how many images, of when, their digest, and how bright and sharp they were."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from differnet import light
from differnet.bank import content_digest
from differnet.errors import ConfigError
from differnet.features import Progress, silent
from differnet.images import ImageLike, load


@dataclass(frozen=True)
class CalibrationRecord:
    """The good images that set a threshold.

    ``count`` images of ``groups`` groups (same part, same shoot; as many as images where none were given). ``date``:
    when, ISO 8601 in UTC. ``digest``: SHA-256 over the sorted digests of files or pixels, the same for the same images
    in any order. ``brightness``, ``sharpness`` (count,): see :mod:`differnet.light`.
    """

    count: int
    groups: int
    date: str
    digest: str
    brightness: tuple[float, ...] = field(repr=False)
    sharpness: tuple[float, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self) | {"brightness": list(self.brightness), "sharpness": list(self.sharpness)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CalibrationRecord:
        """Undo :meth:`to_dict`, also after JSON; raises :class:`ValueError` for what does not fit together."""
        numbers = [tuple(float(value) for value in values[name]) for name in ("brightness", "sharpness")]
        count, groups = int(values["count"]), int(values["groups"])
        if {len(one) for one in numbers} != {count} or not 1 <= groups <= count:
            raise ValueError(f"a record of {count} calibration images in {groups} groups")
        if not all(math.isfinite(value) for one in numbers for value in one):
            raise ValueError("a record of calibration images with NaN or infinite numbers")
        return cls(count, groups, str(values["date"]), str(values["digest"]), *numbers)

    def summary(self) -> dict[str, Any]:
        """Return the record without what it says of each image."""
        return {name: getattr(self, name) for name in ("count", "groups", "date", "digest")}


def from_header(found: Mapping[str, Any] | None, count: int) -> CalibrationRecord | None:
    """Read the record of a model file that has the scores of ``count`` held-out images; nothing in older files.

    Raises :class:`ValueError` for a record of another number of images.
    """
    record = None if found is None else CalibrationRecord.from_dict(found)
    if record is not None and record.count != count:
        raise ValueError(f"scores of {count} held-out images and a record of {record.count}")
    return record


def record_of(
    images: Sequence[ImageLike], groups: Sequence[Hashable] | None = None, progress: Progress = silent
) -> CalibrationRecord:
    """Read the images once more and note what they are.

    Raises :class:`ConfigError` when the groups do not go with the images, and for no images.
    """
    if not images or (groups is not None and len(groups) != len(images)):
        raise ConfigError(
            f"{'no' if groups is None else len(groups)} groups for {len(images)} images; one each is needed"
        )
    digests, measured = [], []
    for image in images:
        digests.append(content_digest(image))
        measured.append(light.measure(load(image)))
        progress("noting calibration images", len(digests), len(images))
    return CalibrationRecord(
        count=len(images),
        groups=len(images if groups is None else set(groups)),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        digest=hashlib.sha256(b"".join(sorted(digests))).hexdigest(),
        brightness=tuple(one.brightness for one in measured),
        sharpness=tuple(one.sharpness for one in measured),
    )
