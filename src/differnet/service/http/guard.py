"""What every request passes first: is it meant for us, may it ask, is it small and quick enough; and what is logged.

The name in ``Host`` and, where a browser sends one, ``Origin`` must be one of ours: else a foreign page could talk to a
service on the local network through the browser of somebody who looks at it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from differnet.service.http import keys
from differnet.service.http.limits import Limits
from differnet.service.http.telemetry import Metrics, request_id, say
from differnet.service.record.inspection import new_id

_LOCAL = ("127.0.0.1", "localhost", "::1")
_LOCKED = ("/v1", "/events")
_SMALL = 64 * 2**10  # bytes of a request that brings no image
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::\d{1,5})?")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cache-Control": "no-store",
}


class BodyError(Exception):
    """A body that is too large (413) or too slow (408)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics, hosts: Iterable[str]) -> None:
        self.app, self.limits, self.metrics = app, limits, metrics
        self.hosts = frozenset(name.lower() for name in (*_LOCAL, *hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        identity = given if _ID.fullmatch(given) else new_id()
        token = request_id.set(identity)
        start, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                found = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    found.setdefault(name, value)
                found["X-Request-ID"] = identity
            await send(message)

        who = None
        try:
            refusal, who = self._refusal(scope, headers)
            if refusal is not None:
                await refusal(scope, receive, answer)
            else:
                await self.app(scope, self._counted(scope, receive), answer)
        except Exception:
            log_error(scope)
            if status:
                raise  # the answer has begun: the connection is cut
            await error(500, "this is a defect of the service; its log has the lines")(scope, receive, answer)
        finally:
            self._note(scope, status, time.perf_counter() - start, who)
            request_id.reset(token)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[Response | None, str | None]:
        """Return an answer for a request that goes no further, and whose key it has."""
        if host_of(headers.get("host", "")) not in self.hosts:
            return error(400, "this Host is not one of the service; --allow-host NAME adds one"), None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).hostname not in self.hosts:
            return error(403, "a page of another origin may not use the service"), None
        path = scope["path"]
        if not self.limits.keys or not any(path == one or path.startswith(f"{one}/") for one in _LOCKED):
            return None, None
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        key = rest.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        who = keys.owner(self.limits.keys, key)
        if who is None:
            return error(
                401, "an API key is needed (Authorization: Bearer KEY)", {"WWW-Authenticate": "Bearer"}
            ), None
        return None, who

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        """Return a ``receive`` that gives up on bodies that are too large or take too long."""
        most = self.limits.body_bytes if scope["path"].endswith(("/inspect", "/inspect-batch")) else _SMALL
        deadline, seen, ended = time.monotonic() + self.limits.timeout, 0, False
        length = Headers(scope=scope).get("content-length", "0")

        async def counted() -> Message:
            nonlocal seen, ended
            if ended:
                return await receive()
            if length.isdecimal() and int(length) > most:
                raise BodyError(413, f"{length} bytes; a request may have {most:,}")
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError as late:
                reason = f"the body did not come within {self.limits.timeout:g} s"
                raise BodyError(408, reason) from late
            seen += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if seen > most:
                raise BodyError(413, f"more than the {most:,} bytes that a request may have")
            return message

        return counted

    def _note(self, scope: Scope, status: int, seconds: float, who: str | None) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(
            route, scope["method"] if route != "other" else "other", str(status)
        ).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
        quiet = route in ("/health", "/ready", "/metrics")
        client = (scope.get("client") or ("",))[0]
        say(
            "request",
            logging.DEBUG if quiet else logging.INFO,
            method=scope["method"],
            path=scope["path"],
            status=status,
            seconds=round(seconds, 4),
            client=client,
            key=who,
        )


def host_of(header: str) -> str | None:
    """Return the name in a ``Host`` header without its port; nothing where it is none.

    >>> host_of("Line-3.local:8000"), host_of("[::1]:8000"), host_of("a:b:c")
    ('line-3.local', '::1', None)
    """
    match = _HOST.fullmatch(header.strip())
    return None if match is None else match[1].strip("[]").lower()


def error(status: int, detail: str, headers: dict[str, str] | None = None, **more: object) -> JSONResponse:
    """Return an answer that says what was wrong."""
    return JSONResponse({"detail": detail, "request_id": request_id.get(), **more}, status, headers)


def log_error(scope: Scope) -> None:
    """Write down an exception that nobody expected."""
    logging.getLogger("differnet.service").exception(
        "unexpected error", extra={"data": {"method": scope["method"], "path": scope["path"]}}
    )
