"""The routes for figures over time: shifts, kinds of defects, scores, and what was changed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from fastapi import APIRouter, Query

from differnet.errors import ConfigError
from differnet.service.http.routes.filters import When
from differnet.service.http.routes.inspect import Name
from differnet.service.http.routes.record import Id
from differnet.service.http.schemas import ErrorBody, errors
from differnet.service.http.service import Service
from differnet.service.record.changes import Change, newest
from differnet.service.record.figures.defects import DefectCount, defect_counts
from differnet.service.record.figures.scores import ScoreSpan, score_spans
from differnet.service.record.figures.shifts import ShiftCount, shift_counts
from differnet.service.record.inspection import now

_NO_MODEL: dict[int | str, dict[str, Any]] = {404: {"model": ErrorBody, "description": "No such model."}}
_WEEK = timedelta(days=7)
_YEARS = 1971, 2999


def routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["figures"], responses=errors())
    _add_counts(router, service)
    _add_changes(router, service)
    return router


def _add_counts(router: APIRouter, service: Service) -> None:
    @router.get("/models/{name}/shifts", response_model=list[ShiftCount], responses=_NO_MODEL)
    def shifts(name: Name, since: When = None, until: When = None) -> Any:
        """Count inspections by shift, those of the last seven days if no time is given."""
        service.model(name)
        return shift_counts(service.store.engine, name, service.limits.shifts.between(*_span(since, until)))

    @router.get("/models/{name}/defects", response_model=list[DefectCount], responses=_NO_MODEL)
    def defects(name: Name, since: When = None, until: When = None) -> Any:
        """Count what operators confirmed as defective by its kind, the most frequent first."""
        service.model(name)
        return defect_counts(service.store.engine, name, since, until)

    @router.get("/models/{name}/scores", response_model=list[ScoreSpan], responses=_NO_MODEL)
    def scores(
        name: Name,
        since: When = None,
        until: When = None,
        spans: Annotated[int, Query(ge=1, le=1000)] = 120,
    ) -> Any:
        """Return the lowest, mean and highest score of each of many spans of time, beside the limit that held."""
        service.model(name)
        return score_spans(service.store.engine, name, *_span(since, until), spans)


def _add_changes(router: APIRouter, service: Service) -> None:
    @router.get("/models/{name}/rates/history", response_model=list[Change], responses=_NO_MODEL)
    def history(name: Name, limit: Annotated[int, Query(ge=1, le=999)] = 20) -> Any:
        """Return who moved the rates of a model, when and why, the newest first."""
        service.model(name)
        return newest(service.store.engine, name, limit=limit, what="rates")

    @router.get("/inspections/{id}/changes", response_model=list[Change])
    def said(id: Id) -> Any:
        """Return what was said of one inspection, when and by whom, the newest first."""
        return newest(service.store.engine, inspection=id, limit=999, what="confirm")


def _span(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    """Return both ends of a span in UTC: a week before its end where no beginning is given, now where no end."""
    for at in (since, until):
        if at is not None and not _YEARS[0] <= at.year <= _YEARS[1]:
            raise ConfigError(f"{at.isoformat()}: a time from {_YEARS[0]} to {_YEARS[1]} was wanted")
    end = _in_utc(until) or now() + timedelta(seconds=1)
    start = _in_utc(since) or end - _WEEK
    if start >= end:
        raise ConfigError(f"since {start.isoformat()} is not before until {end.isoformat()}")
    return start, end


def _in_utc(at: datetime | None) -> datetime | None:
    if at is None or at.tzinfo is not None:
        return at
    return at.replace(tzinfo=timezone.utc)
