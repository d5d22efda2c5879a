"""What a service is told when it starts: how much it takes at once, who may ask, and what it keeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from differnet.service.http.access.roles import Caller
from differnet.service.record.figures.shifts import DAYS, Shifts
from differnet.service.record.images import Keep
from differnet.service.record.part import PartPattern, checked_kind, pattern_of

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # of a model


@dataclass(frozen=True)
class Limits:
    """How the service is run.

    ``queue``: requests that wait, beyond which 429 is answered; ``workers``: images judged at once. ``image_bytes``,
    ``pixels``: the most that one image may have; ``batch``: the most images of one request. ``timeout``: seconds until
    a body must have come, and until its image must have been judged. ``streams``: how many may listen to /events.
    ``hosts``: names by which the service may be called beside those of this machine. ``keep``: of which inspections the
    image is kept; ``max_age_days``, ``max_bytes``: see :mod:`differnet.service.record.retention`.

    ``audit_share``: of parts judged OK, the share that is drawn to be looked at. ``part_pattern``: finds a part in the
    name of a file. ``defects``: the kinds that an operator may name, any where there are none. ``shifts``: when they
    begin.

    ``keys``: of those who may ask, by the SHA-256 of each; without any everybody may. ``origins``: of pages that may
    use the service beside its own. ``head_timeout``: seconds until the head of a request must have come;
    ``stall_timeout``: seconds after which one who reads nothing of an answer is let go. ``model_bytes``: the most that
    the ZIP of a model may have, and what is in it; ``model_timeout``: seconds until that must have come.
    """

    queue: int = 64
    workers: int = 2
    image_bytes: int = 32 * 2**20
    pixels: int = 50_000_000
    batch: int = 64
    timeout: float = 30.0
    streams: int = 32
    hosts: tuple[str, ...] = ()
    keep: Keep = "flagged"
    max_age_days: float | None = None
    max_bytes: int | None = None
    keys: dict[str, Caller] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    head_timeout: float = 10.0
    stall_timeout: float = 30.0
    model_bytes: int = 2**30
    model_timeout: float = 600.0
    audit_share: float = 0.0
    part_pattern: PartPattern | None = None
    defects: tuple[str, ...] = ()
    shifts: Shifts = DAYS

    @property
    def body_bytes(self) -> int:
        """The most that a request may have: some images, and a third more where they come as base64."""
        return min(self.batch, 8) * self.image_bytes + 2**20

    @property
    def single_bytes(self) -> int:
        """The most that a request with one image may have: half more than the image, as base64 with line breaks has."""
        return self.image_bytes * 3 // 2 + 2**16

    @property
    def held_bytes(self) -> int:
        """The most bytes of bodies that are held at a time, of all requests together."""
        return max(2 * self.body_bytes, 16 * self.image_bytes)


def of_parts(
    audit_share: float,
    part_pattern: str | None,
    defects: Sequence[str],
    shifts: Sequence[str],
    time_zone: str | None,
) -> dict[str, Any]:
    """Return what of :class:`Limits` is about parts and people, from options; raises :class:`ConfigError`."""
    return {
        "audit_share": audit_share,
        "part_pattern": pattern_of(part_pattern),
        "defects": tuple(dict.fromkeys(kind for text in defects if (kind := checked_kind(text)) is not None)),
        "shifts": Shifts.read(shifts, time_zone),
    }
