"""The application: routes, the guard before them, and how errors are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.security import APIKeyHeader, HTTPBearer

from differnet import __version__
from differnet.service.http.answers import answer_errors
from differnet.service.http.guard import Guard
from differnet.service.http.routes import changes, good_part, health, inspect, models, page, record, versions
from differnet.service.http.routes.quality import export, figures, review
from differnet.service.http.routes.query import check_known
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
    for part in (inspect, record, models, good_part, changes, versions, review, figures, export):
        app.include_router(part.routes(service), **(with_key or {"dependencies": known}))
    app.include_router(health.routes(service))
    app.include_router(health.metrics(service), **with_key)
    app.router.routes.extend(page.routes())
    answer_errors(app, service)
    return app
