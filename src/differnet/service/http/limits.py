"""What a service is told when it starts: how much it takes at once, who may ask, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field

from differnet.service.record.images import Keep


@dataclass(frozen=True)
class Limits:
    """How the service is run.

    ``queue``: requests that wait, beyond which 429 is answered; ``workers``: images judged at once. ``image_bytes``,
    ``pixels``: the most that one image may have; ``batch``: the most images of one request. ``timeout``: seconds until
    a body must have come, and until its image must have been judged. ``streams``: how many may listen to /events.
    ``hosts``: names by which the service may be called beside those of this machine. ``keep``: of which inspections the
    image is kept; ``max_age_days``, ``max_bytes``: see :mod:`differnet.service.record.retention`.
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
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def body_bytes(self) -> int:
        """The most that a request may have: some images, and a third more where they come as base64."""
        return min(self.batch, 8) * self.image_bytes + 2**20
