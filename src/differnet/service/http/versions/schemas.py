"""What is answered of versions and their trials."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from differnet.service.record.shadows import Pair, Tally
from differnet.service.record.versions import Origin


class PutBody(BaseModel):
    """Where a version comes from: a ``folder`` below that of --models, or the digest of a ``version`` that is known."""

    model_config = ConfigDict(extra="forbid")
    folder: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    version: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class VersionBody(BaseModel):
    """A version of a model.

    ``time``, ``origin``, ``who``, ``client``: when, how and by whom it came; ``folder``: its name below that of
    --models, or the last part of one that was given at the start. ``judges``: as "active", as "shadow" on trial, as
    "before" after a roll back, or not at all. ``made_from``: how many images, which settings, which packages.
    """

    digest: str
    time: datetime
    origin: Origin
    folder: str
    who: str | None
    client: str | None
    judges: Literal["active", "shadow", "before"] | None
    made_from: dict[str, Any]


class TrialBody(BaseModel):
    """A version on trial beside the one that judges.

    ``parts``: how many that one judged since ``since``; ``compared``: of how many the trial's verdict is recorded, by
    verdicts in ``tally``. ``left_out``: since this service runs, because they came too fast, or for ``broken``;
    ``failed``: those that the trial alone could not judge. ``waiting``: parts that wait now. ``own_rates``: it judges
    by the rates of its folder.
    """

    digest: str
    since: datetime
    own_rates: bool
    parts: int
    compared: int
    left_out: int
    failed: int
    waiting: int
    broken: str | None
    tally: list[Tally]


class ModelVersions(BaseModel):
    """Which versions a model has, the newest first, and which judges now; ``retired``: none does any more."""

    model: str
    active: str | None
    retired: bool
    before: str | None
    trial: TrialBody | None
    versions: list[VersionBody]


class FoldersBody(BaseModel):
    """Folders of stations below that of --models; ``allowed``: whether there is one."""

    allowed: bool
    folders: list[str]


class DifferencesBody(BaseModel):
    """Parts that two versions judged differently, the newest first; ``next``: ``before_number`` for those before."""

    differences: list[Pair]
    next: int | None
