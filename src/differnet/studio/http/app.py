"""The application: the studio's own routes behind the guard, and below ``/live/`` the service that judges."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.types import Receive, Scope, Send

from differnet import __version__
from differnet.errors import DifferNetError, StoreError, in_words
from differnet.service.http.answers import answer_misfits
from differnet.service.http.connection.bodies import BodyError
from differnet.service.http.guard import Guard, error
from differnet.service.http.routes import page
from differnet.service.http.routes.query import check_known
from differnet.service.http.telemetry import Metrics
from differnet.studio.http.routes import routes
from differnet.studio.jobs import BusyError
from differnet.studio.studio import Studio
from differnet.studio.uploads import TooLargeError

LIVE = "/live"
_PAGE = Path(__file__).parent.parent / "page"


class WithLive:
    """Hands what is asked below ``/live/`` to the service that judges by now; all else is the studio's own."""

    def __init__(self, app: FastAPI, studio: Studio) -> None:
        self.app, self._studio = app, studio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        serving, path = self._studio.live.serving, scope.get("path", "")
        if scope["type"] != "http" or serving is None or not path.startswith(f"{LIVE}/"):
            await self.app(scope, receive, send)
            return
        raw = scope.get("raw_path") or b""
        inner = {"path": path[len(LIVE) :], "raw_path": raw.removeprefix(LIVE.encode())}
        await serving.app({**scope, **inner}, receive, send)


def create_app(studio: Studio) -> WithLive:
    """Return the application of a studio."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        studio.begin()
        try:
            yield
        finally:
            await studio.close()

    app = FastAPI(
        title="differnet studio",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(check_known)],
    )
    app.add_middleware(Guard, limits=studio.limits, metrics=Metrics([]))
    app.include_router(routes(studio))
    _add_rest(app)
    app.router.routes.extend(page.routes(_PAGE))
    answer_misfits(app)
    _answer_errors(app)
    return WithLive(app, studio)


def _add_rest(app: FastAPI) -> None:
    @app.get("/health")
    def health() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "ok", "version": __version__}

    @app.get(LIVE, include_in_schema=False)
    def to_live() -> RedirectResponse:
        return RedirectResponse("live/")

    @app.api_route(f"{LIVE}/{{rest:path}}", methods=["GET", "POST", "PUT"], include_in_schema=False)
    def not_live(rest: str) -> Any:  # noqa: ARG001  whatever it is
        raise HTTPException(409, "no model judges yet; export one in the studio")


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(DifferNetError)
    async def unfit(_: Request, found: DifferNetError) -> JSONResponse:
        return error(503 if isinstance(found, StoreError) else 422, str(found))

    @app.exception_handler(BusyError)
    async def busy(_: Request, found: BusyError) -> JSONResponse:
        return error(409, str(found))

    @app.exception_handler(TooLargeError)
    async def too_large(_: Request, found: TooLargeError) -> JSONResponse:
        return error(413, str(found), {"Connection": "close"})

    @app.exception_handler(BodyError)
    async def too_much(_: Request, found: BodyError) -> JSONResponse:
        wait = {"Retry-After": "2"} if found.status == 429 else {}
        return error(found.status, str(found), {"Connection": "close", **wait})

    @app.exception_handler(OSError)
    async def of_disk(_: Request, found: OSError) -> JSONResponse:
        return error(507, in_words(found))
