"""The route that shows who changed what."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from differnet.service.http.routes.filters import Of
from differnet.service.http.routes.record import Seq
from differnet.service.http.schemas import errors
from differnet.service.http.service import Service
from differnet.service.record.changes import Change, newest


class ChangesBody(BaseModel):
    """Changes, the newest first; ``next``: what to give as ``before_number`` for those before."""

    changes: list[Change]
    next: int | None


def routes(service: Service) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/v1", tags=["record"], responses=errors())

    @router.get("/changes", response_model=ChangesBody)
    def changes(
        model: Of = None, before_number: Seq = None, limit: Annotated[int, Query(ge=1, le=999)] = 100
    ) -> Any:
        """List who confirmed parts, moved rates and reset drift, and when; nothing of it can be altered."""
        rows = newest(service.store.engine, model, before_number, limit + 1)
        return {"changes": rows[:limit], "next": rows[limit - 1].number if len(rows) > limit else None}

    return router
