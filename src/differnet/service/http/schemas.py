"""What is asked and answered over HTTP, beside :class:`differnet.service.record.inspection.Inspection`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from differnet.service.record.inspection import Inspection, Operator, Rates

_LEAST, _MOST = 1e-6, 0.999999
_NO_NUL = r"^[^\x00]*$"
_ROW = TypeAdapter(Inspection)


def as_json(row: Inspection) -> dict[str, Any]:
    """Return an inspection as it is answered everywhere."""
    found: dict[str, Any] = _ROW.dump_python(row, mode="json")
    return found


class ErrorBody(BaseModel):
    """What was wrong, in a sentence."""

    detail: str
    request_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answer(Inspection):
    """A recorded inspection; with ``map=true`` its heat map as PNG in base64, to lay over it.

    ``heat_map_error``: why there is none though it was asked for; the verdict stands.
    """

    heat_map_png: str | None = None
    heat_map_error: str | None = None


class Failure(ErrorBody):
    """An image that could not be judged; where it came so far, ``inspection`` is the row that says so."""

    inspection: Inspection | None = None


@dataclass(frozen=True)
class Result:
    """What came of one image of a batch: the status and the detail that it would have been answered with alone.

    ``id``: of its inspection, where it is recorded. ``replayed``: it was recorded under its key before.
    """

    status: int
    detail: str | None = None
    id: str | None = None
    replayed: bool = False


class Answers(BaseModel):
    """What was said of the images: ``inspections`` that are recorded, and of each image, in their order, the result."""

    inspections: list[Inspection]
    results: list[Result]


class Page(BaseModel):
    """Inspections, the newest first; ``next``: what to give as ``before_seq`` for those before."""

    inspections: list[Inspection]
    next: int | None


class DriftBody(BaseModel):
    """Whether the stream of images has changed."""

    alarm: bool
    text: str


class ModelBody(BaseModel):
    """A model, and what it judges by now."""

    name: str
    digest: str
    threshold: float | None
    review_threshold: float | None
    rate: float
    confidence: float | None
    review_rate: float | None
    views: int
    has_maps: bool
    drift: DriftBody | None


class RatesAnswer(BaseModel):
    """The rates that a model judges by.

    ``applied``: whether somebody moved them; else they are those of the folder. ``promised``: the false-alarm rate that
    the threshold promises. ``smallest_rate``: the smallest one that can be promised with this confidence.
    """

    rate: float
    confidence: float | None
    review_rate: float | None
    threshold: float | None
    review_threshold: float | None
    promised: float | None
    smallest_rate: float | None
    calibration_images: int
    applied: bool


class RatesBody(BaseModel):
    """Rates to look at or to apply; ``rate`` null: those of the folder.

    ``name``, ``reason``: who applies them and why, for the record of changes.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    rate: Annotated[float, Field(ge=_LEAST, le=_MOST)] | None
    confidence: Annotated[float, Field(ge=_LEAST, le=_MOST)] | None = None
    review_rate: Annotated[float, Field(ge=_LEAST, le=_MOST)] | None = None
    name: Annotated[str, Field(max_length=200, pattern=_NO_NUL)] | None = None
    reason: Annotated[str, Field(max_length=2000, pattern=_NO_NUL)] | None = None

    def rates(self) -> Rates | None:
        """Return them, nothing for those of the folder."""
        return None if self.rate is None else Rates(self.rate, self.confidence, self.review_rate)


class OperatorBody(BaseModel):
    """What an operator says of a part; null takes it back."""

    model_config = ConfigDict(extra="forbid")
    verdict: Operator | None
    note: Annotated[str, Field(max_length=10_000)] | None = None
    defect: Annotated[str, Field(max_length=200)] | None = None


class Bucket(BaseModel):
    """How many inspections an hour or a day had, by their verdict."""

    start: datetime
    OK: int
    review: int
    NG: int
    error: int
    none: int


class CountsBody(BaseModel):
    """Buckets with any inspection, the oldest first, and their sum."""

    buckets: list[Bucket]
    total: dict[str, int]


def errors(**more: str) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a route that are errors: ``errors(s404="no such model")``."""
    usual = {"s400": "A request that is not understood.", "s403": "A page of another origin."}
    usual |= {"s408": "The body came too slowly.", "s413": "Too large.", "s422": "Values that do not fit."}
    usual |= {"s503": "The record cannot be reached, or the service is stopping."}
    return {
        int(name[1:]): {"model": ErrorBody, "description": text}
        for name, text in sorted((usual | more).items())
    }
