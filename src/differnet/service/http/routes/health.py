"""The routes for whoever restarts a service or draws curves of it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from differnet import __version__
from differnet.service.http.schemas import ErrorBody
from differnet.service.http.service import Service

_HOST: dict[int | str, dict[str, Any]] = {400: {"model": ErrorBody, "description": "Another Host."}}
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Prometheus' text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


def routes(service: Service) -> APIRouter:
    """Return the routes that need no key."""
    router = APIRouter(tags=["health"], responses=_HOST)

    @router.get("/health")
    def health() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "ok", "version": __version__}

    @router.get("/ready", responses={503: {"model": ErrorBody, "description": "It takes no images now."}})
    def ready() -> dict[str, str]:
        """Say whether images are taken: the record can be read and written to, and the service is not stopping."""
        if service.is_stopping:
            raise HTTPException(503, "stopping")
        service.store.last_seq()
        service.store.pulse.check()
        return {"status": "ready"}

    return router


def metrics(service: Service) -> APIRouter:
    """Return the route for Prometheus."""
    router = APIRouter(tags=["health"], responses=_HOST)

    @router.get("/metrics", response_class=Response, responses=_TEXT)
    def metrics() -> Response:
        """Return counts, times, the queue and drift, for Prometheus."""
        service.metrics.streams.set(len(service.hub))
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
