"""What the studio is asked for in JSON."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from differnet.studio.project import Kind

Text = Annotated[str, Field(min_length=1, max_length=4096)]


class Asked(BaseModel):
    """A body of which every member is known."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class FolderBody(Asked):
    """A folder of the machine, and what its pictures are."""

    path: Text
    kind: Kind = "good"


class RecordBody(Asked):
    """A model of the record, whose confirmed good pictures are wanted."""

    model: Annotated[str, Field(min_length=1, max_length=200)]


class LeftOutBody(Asked):
    """Pictures that are not to be fitted to, or are again."""

    ids: Annotated[list[str], Field(min_length=1, max_length=10_000)]
    left_out: bool


class FitBody(Asked):
    """How to fit: at which false-alarm rate, and by which preset."""

    rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    preset: Literal["default", "fast", "turned"] | None = None


class ExportBody(Asked):
    """Under which name the model judges live, and which further folder gets its station."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    to: Text | None = None


class Id(BaseModel):
    """The picture that was taken."""

    id: str
    name: str


class Count(BaseModel):
    """How many pictures are new."""

    new: int
