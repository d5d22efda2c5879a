"""The application: routes, the guard before them, and how errors are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import compile_path

from differnet import __version__
from differnet.errors import ConfigError, NotFittedError, StoreError
from differnet.service.http.guard import BodyError, Guard, error
from differnet.service.http.queue import FullError, LateError
from differnet.service.http.routes import inspect, models, page, record
from differnet.service.http.schemas import ErrorBody
from differnet.service.http.service import Service

_DESCRIPTION = "Judge images of parts, and keep a record of everything that was said."


def create_app(service: Service) -> FastAPI:
    """Return the application of a service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.life():
            yield

    locked = [
        Depends(HTTPBearer(auto_error=False)),
        Depends(APIKeyHeader(name="X-API-Key", auto_error=False)),
    ]
    refused: dict[int | str, dict[str, Any]] = {
        401: {"model": ErrorBody, "description": "No key, or a wrong one."}
    }
    app = FastAPI(
        title="differnet",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        separate_input_output_schemas=False,
    )
    app.add_middleware(Guard, limits=service.limits, metrics=service.metrics, hosts=service.limits.hosts)
    with_key: dict[str, Any] = {"dependencies": locked, "responses": refused} if service.limits.keys else {}
    for part in (inspect, record, models):
        app.include_router(part.routes(service), **with_key)
    app.include_router(_open_routes(service))
    app.router.routes.extend(page.routes())
    _answer_errors(app, service)
    return app


def _open_routes(service: Service) -> APIRouter:
    """Return the routes that need no key."""
    router = APIRouter(tags=["health"], responses={400: {"model": ErrorBody, "description": "Another Host."}})

    @router.get("/health")
    def health() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "ok", "version": __version__}

    @router.get("/ready", responses={503: {"model": ErrorBody, "description": "It takes no images now."}})
    def ready() -> dict[str, str]:
        """Say whether images are taken: the record can be read, and the service is not stopping."""
        if service.is_stopping:
            raise HTTPException(503, "stopping")
        service.store.last_seq()
        return {"status": "ready"}

    text: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    }

    @router.get("/metrics", response_class=Response, responses=text)
    def metrics() -> Response:
        """Return counts, times, the queue and drift, for Prometheus."""
        service.metrics.streams.set(len(service.hub))
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _methods(app: FastAPI, path: str) -> list[str]:
    """Return the methods that a path knows: each route alone knows its own."""
    for template, operations in app.openapi()["paths"].items():
        if compile_path(template)[0].match(path):
            return sorted(method.upper() for method in operations)
    return []


def _answer_errors(app: FastAPI, service: Service) -> None:
    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, found: StarletteHTTPException) -> JSONResponse:
        headers = dict(found.headers or {})
        if found.status_code == 405 and (methods := _methods(app, request.url.path)):
            headers["Allow"] = ", ".join(methods)
        return error(found.status_code, str(found.detail), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, found: RequestValidationError) -> JSONResponse:
        said = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in found.errors()]
        return error(422, "; ".join(said))

    @app.exception_handler(ConfigError)
    @app.exception_handler(NotFittedError)
    async def unfit(_: Request, found: Exception) -> JSONResponse:
        return error(422, str(found))

    @app.exception_handler(BodyError)
    async def too_much(_: Request, found: BodyError) -> JSONResponse:
        service.metrics.refused.labels("too_large" if found.status == 413 else "too_slow").inc()
        return error(found.status, str(found), {"Connection": "close"})

    @app.exception_handler(FullError)
    async def full(request: Request, found: FullError) -> JSONResponse:
        service.metrics.refused.labels("queue_full").inc()
        async for _ in request.stream():  # else the connection is cut, and the client may not see the answer
            pass
        return error(429, str(found), {"Retry-After": str(found.retry_after)})

    @app.exception_handler(LateError)
    async def late(_: Request, found: LateError) -> JSONResponse:
        service.metrics.refused.labels("late").inc()
        return error(503, service.reason(found), {"Retry-After": "1"})

    @app.exception_handler(StoreError)
    async def unrecorded(_: Request, found: StoreError) -> JSONResponse:
        service.metrics.refused.labels("record").inc()
        return error(503, service.reason(found), {"Retry-After": "5"})
