"""The routes for what a person is still to look at, and what that tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from differnet.service.http.routes.filters import When
from differnet.service.http.routes.inspect import Name
from differnet.service.http.schemas import ErrorBody, errors
from differnet.service.http.service import Service
from differnet.service.record.figures.defects import named_defects
from differnet.service.record.figures.review import Escapes, Waiting, escapes, queue, waiting
from differnet.service.record.inspection import Inspection

_NO_MODEL: dict[int | str, dict[str, Any]] = {404: {"model": ErrorBody, "description": "No such model."}}


class ReviewBody(BaseModel):
    """How many parts wait for an operator's word, and the next of them, the oldest first."""

    waiting: Waiting
    inspections: list[Inspection]


@dataclass(frozen=True)
class DefectClasses:
    """The kinds of defects that an operator may name, or, where it is ``is_free``, those that were named so far."""

    names: list[str]
    is_free: bool


def routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["review"], responses=errors())

    @router.get("/models/{name}/review", response_model=ReviewBody, responses=_NO_MODEL)
    def review(
        name: Name,
        since: When = None,
        after_seq: Annotated[int, Query(ge=-1, le=2**53)] = -1,
        limit: Annotated[int, Query(ge=1, le=100)] = 1,
    ) -> Any:
        """Return what waits to be confirmed, the oldest first: "review", "NG" and the OK parts that were drawn."""
        service.model(name)
        engine = service.store.engine
        rows = queue(engine, name, since, after_seq, limit)
        return ReviewBody(waiting=waiting(engine, name, since), inspections=rows)

    @router.get("/models/{name}/escapes", response_model=Escapes, responses=_NO_MODEL)
    def escaped(name: Name, since: When = None, until: When = None) -> Any:
        """Estimate how many of the parts that were judged OK are defective, from those that were drawn."""
        service.model(name)
        return escapes(service.store.engine, name, since, until)

    @router.get("/defect-classes", response_model=DefectClasses)
    def classes() -> Any:
        """Return the kinds of defects that an operator may name."""
        known = list(service.limits.defects)
        return DefectClasses(known or named_defects(service.store.engine), not known)

    return router
