"""The application: routes, the guard before them, and how errors are answered."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from differnet import __version__
from differnet.errors import ConfigError, NotFittedError, StoreError
from differnet.service.http.connection.bodies import BodyError
from differnet.service.http.guard import Guard, error
from differnet.service.http.queue import FullError, LateError
from differnet.service.http.routes import changes, health, inspect, models, page, record
from differnet.service.http.routes.query import check_known
from differnet.service.http.schemas import ErrorBody
from differnet.service.http.service import Service
from differnet.service.http.telemetry import say

_REASONS = {408: "too_slow", 413: "too_large", 429: "no_room"}
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
        401: {"model": ErrorBody, "description": "No key, or a wrong one."},
        403: {"model": ErrorBody, "description": "A key without the role, or a page of another origin."},
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
    app.add_middleware(Guard, limits=service.limits, metrics=service.metrics)
    keys, known = bool(service.limits.keys), [Depends(check_known)]
    with_key: dict[str, Any] = {"dependencies": [*known, *locked], "responses": refused} if keys else {}
    for part in (inspect, record, models, changes):
        app.include_router(part.routes(service), **(with_key or {"dependencies": known}))
    app.include_router(health.routes(service))
    app.include_router(health.metrics(service), **with_key)
    app.router.routes.extend(page.routes())
    _answer_errors(app, service)
    return app


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
        service.metrics.refused.labels(_REASONS[found.status]).inc()
        wait = {"Retry-After": str(service.line.wait())} if found.status == 429 else {}
        return error(found.status, str(found), {"Connection": "close", **wait})

    @app.exception_handler(FullError)
    async def full(request: Request, found: FullError) -> JSONResponse:
        service.metrics.refused.labels("queue_full").inc()
        with suppress(RuntimeError, BodyError, ClientDisconnect):  # it was read, is too much, or nobody waits
            async for (
                _
            ) in request.stream():  # else the connection is cut, and the client may not see the answer
                pass
        return error(429, str(found), {"Retry-After": str(found.retry_after)})

    @app.exception_handler(LateError)
    async def late(_: Request, found: LateError) -> JSONResponse:
        service.metrics.refused.labels("late").inc()
        after = "it will be recorded" if found.started else "it was not begun, and is not recorded"
        return error(503, f"not judged within {service.limits.timeout:g} s; {after}", {"Retry-After": "1"})

    @app.exception_handler(StoreError)
    async def unrecorded(_: Request, found: StoreError) -> JSONResponse:
        service.metrics.refused.labels("record").inc()
        say("the record cannot be reached", logging.ERROR, error=str(found))  # which names host and user
        return error(
            503, "the record cannot be reached; the log of the service says why", {"Retry-After": "5"}
        )
