"""How errors are answered: each by a sentence, with the id of its request."""

from __future__ import annotations

from contextlib import suppress

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from differnet.errors import ConfigError, MissingExtraError, NotFittedError, StoreError
from differnet.service.http.connection.bodies import BodyError
from differnet.service.http.guard import error
from differnet.service.http.queue import FullError, LateError
from differnet.service.http.service import Service

_REASONS = {408: "too_slow", 413: "too_large", 429: "no_room"}


def _methods(app: FastAPI, path: str) -> list[str]:
    """Return the methods that a path knows: each route alone knows its own."""
    for template, operations in app.openapi()["paths"].items():
        if compile_path(template)[0].match(path):
            return sorted(method.upper() for method in operations)
    return []


def answer_errors(app: FastAPI, service: Service) -> None:
    """Have every error answered by a sentence, and counted."""
    answer_misfits(app)
    _answer_refusals(app, service)
    _answer_the_record(app, service)


def answer_misfits(app: FastAPI) -> None:
    """Have requests that fit nothing answered by a sentence."""

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

    @app.exception_handler(MissingExtraError)
    async def missing(_: Request, found: Exception) -> JSONResponse:
        return error(501, str(found))

    @app.exception_handler(ConfigError)
    @app.exception_handler(NotFittedError)
    async def unfit(_: Request, found: Exception) -> JSONResponse:
        return error(422, str(found))


def _answer_refusals(app: FastAPI, service: Service) -> None:
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
        return error(503, service.reason(found), {"Retry-After": "1"})


def _answer_the_record(app: FastAPI, service: Service) -> None:
    @app.exception_handler(StoreError)
    async def unrecorded(_: Request, found: StoreError) -> JSONResponse:
        service.metrics.refused.labels("record").inc()
        return error(503, service.reason(found), {"Retry-After": "5"})
