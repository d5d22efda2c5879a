"""One inspection, as it is recorded and answered."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Literal

from differnet.data.pixels import Pixels
from differnet.decision.verdict import Prediction
from differnet.service.record.part import Part

Judgement = Literal["OK", "review", "NG", "error"]
Operator = Literal["good", "defective"]
Fault = Literal["image", "pixels", "model"]
Tell = Callable[[str, str], None]  # what it is about ("drift", "reconnect", ...), and that in words
JUDGEMENTS: tuple[Judgement, ...] = ("OK", "review", "NG", "error")
OPERATORS: tuple[Operator, ...] = ("good", "defective")


def new_id() -> str:
    """Return 32 random hexadecimal digits."""
    return uuid.uuid4().hex


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Received:
    """One image as it came, or the reason why it cannot be judged.

    ``digest``: SHA-256 of the bytes as they were received, of a frame that of its pixels. ``content``: those bytes;
    nothing for a frame. Either ``pixels``, uint8 (H, W, 3), or ``error``. ``key``, ``name``, ``time``: see
    ``source_key``, ``file_name`` and ``time`` of :class:`Inspection`. ``fault``: whose it is that there are no pixels;
    ``note``: what of it was not looked at. ``part``: which part it is of, as far as its sender said.
    """

    digest: str
    key: str | None = None
    name: str | None = None
    pixels: Pixels | None = None
    content: bytes | None = None
    error: str | None = None
    fault: Fault = "image"
    time: datetime | None = None
    note: str | None = None
    part: Part | None = None


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was said of one image, by what, and what an operator said of it afterwards.

    ``seq``: given by the record when it is added, increasing with the order in which rows can be seen. ``source``: by
    which way it came ("http", "watch"); ``source_key``: what this way knows it by, recorded at most once for a model.
    ``image_digest``: SHA-256 of the bytes as they were received. ``views``: how many were looked at, ``early`` with
    ``views="auto"``. ``rate``, ``confidence``, ``review_rate``: what the thresholds were chosen by. ``verdict``:
    nothing when the model has no threshold, "error" when the image could not be judged, for the reason in ``error``;
    ``fault`` says whose it is: of the "image", of its many "pixels", or of the "model" (nothing in rows of before).
    ``drift``: what the monitor said while it was in alarm. ``image``, ``heat_map``: files below the folder of the
    record, where they were kept. ``note``: what the operator wrote; ``image_note``: what of the image was not looked
    at, or not as it is. ``serial``, ``lot``, ``station``, ``fields``: of the part
    (:mod:`differnet.service.record.part`). ``defect``: the kind that the operator named. ``audit_share``: the share of
    OK parts that were drawn to be looked at when this OK part came, and ``is_drawn`` whether it was; nothing where none
    were.
    """

    model: str
    model_digest: str
    source: str
    image_digest: str
    verdict: Judgement | None
    id: str = field(default_factory=new_id)
    seq: int = 0
    time: datetime = field(default_factory=now)
    source_key: str | None = None
    file_name: str | None = None
    score: float | None = None
    p_value: float | None = None
    percent: float | None = None
    threshold: float | None = None
    review_threshold: float | None = None
    rate: float | None = None
    confidence: float | None = None
    review_rate: float | None = None
    views: int = 0
    early: bool = False
    error: str | None = None
    fault: Fault | None = None
    drift: str | None = None
    operator: Operator | None = None
    operator_time: datetime | None = None
    note: str | None = None
    image: str | None = None
    heat_map: str | None = None
    kept_bytes: int = 0
    image_note: str | None = None
    serial: str | None = None
    lot: str | None = None
    station: str | None = None
    fields: dict[str, str] = field(default_factory=dict)
    defect: str | None = None
    audit_share: float | None = None
    is_drawn: bool | None = None

    @property
    def is_flagged(self) -> bool:
        """Whether a person should look at it: "review", "NG" and what could not be judged."""
        return self.verdict in ("review", "NG", "error")


@dataclass(frozen=True)
class Rates:
    """The rates that a model judges by, as somebody applied them."""

    rate: float
    confidence: float | None = None
    review_rate: float | None = None


def with_prediction(row: Inspection, found: Prediction) -> Inspection:
    """Return a row that says what was found of its image."""
    said = found.record._asdict()
    del said["is_defective"]  # the verdict says so
    return replace(row, **said)
