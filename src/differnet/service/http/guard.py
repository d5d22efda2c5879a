"""What every request passes first: is it meant for us, may it ask, is it small and quick enough; and what is logged."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from differnet.service.http.access import keys, roles
from differnet.service.http.access.origin import Origins
from differnet.service.http.connection.bodies import Bodies, Body
from differnet.service.http.limits import Limits
from differnet.service.http.telemetry import Metrics, asker, request_id, say
from differnet.service.record.changes import By
from differnet.service.record.inspection import new_id

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
_QUIET = ("/health", "/ready", "/metrics")
_GONE = 499  # what the log and the counts have in place of a status where nobody is left to be answered
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cache-Control": "no-store",
}


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics) -> None:
        self.app, self.limits, self.metrics = app, limits, metrics
        self.origins, self.bodies = Origins(limits.hosts, limits.origins), Bodies(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        identity = given if _ID.fullmatch(given) else new_id()
        answer, caller = Answer(send, identity), self._caller(headers)
        by = By(caller.name if caller else None, (scope.get("client") or (None,))[0], identity)
        token, whose = request_id.set(identity), asker.set(by)
        start, body = time.perf_counter(), Body(self.bodies, scope, receive)
        inner = {**scope, "method": "GET"} if _is_head(scope) else scope  # the server leaves the body out
        try:
            refusal = self._refusal(scope, headers, caller)
            if refusal is not None:
                await refusal(scope, receive, answer)
            else:
                await self.app(inner, body, answer)
        except ClientDisconnect:
            answer.status = answer.status or _GONE
        except Exception:
            log_error(scope)
            if answer.status:
                raise  # the answer has begun: the connection is cut
            await error(500, "this is a defect of the service; its log has the lines")(scope, receive, answer)
        finally:
            body.close()
            route = getattr(inner.get("route"), "path", "other")
            self._note(scope, route, answer.status or _GONE, time.perf_counter() - start, by)
            request_id.reset(token)
            asker.reset(whose)

    def _caller(self, headers: Headers) -> roles.Caller | None:
        """Return whose key a request has."""
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        key = rest.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        return keys.owner(self.limits.keys, key) if key else None

    def _refusal(self, scope: Scope, headers: Headers, caller: roles.Caller | None) -> Response | None:
        """Return an answer for a request that goes no further."""
        if not self.origins.is_ours(scope, headers):
            return error(400, "this Host is not one of the service; --allow-host NAME adds one")
        if "transfer-encoding" in headers and "content-length" in headers:
            reason = "a body of two lengths (Content-Length and Transfer-Encoding): a proxy may read another request"
            return error(400, reason, {"Connection": "close"})
        if self.origins.is_foreign(scope, headers):
            reason = "a page of another origin may not use the service; --allow-origin adds that of a reverse proxy"
            return error(403, reason)
        if not self.limits.keys or roles.is_open(scope["path"]):
            return None
        if caller is None:
            head = {"WWW-Authenticate": "Bearer"}
            return error(401, "an API key is needed (Authorization: Bearer KEY)", head)
        role = roles.needed(scope["method"], scope["path"])
        if role is not None and not caller.may(role):
            has = ", ".join(sorted(caller.roles))
            return error(403, f"this needs a key with the role {role}; that of {caller.name} has {has}")
        return None

    def _note(self, scope: Scope, route: str, status: int, seconds: float, by: By) -> None:
        """Count a request by what there is a bounded number of, and log it."""
        method = scope["method"] if route != "other" and scope["method"] in _METHODS else "other"
        self.metrics.requests.labels(route, method, str(status)).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
        said: dict[str, Any] = {"method": scope["method"], "path": scope["path"], "status": status}
        level = logging.DEBUG if route in _QUIET and status < 400 else logging.INFO
        say("request", level, **said, seconds=round(seconds, 4), client=by.client, key=by.who)


class Answer:
    """What is sent, with the headers that every answer has; ``status``: that of the answer once it has begun."""

    def __init__(self, send: Send, identity: str) -> None:
        self._send, self._identity, self.status = send, identity, 0

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            found = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                found.setdefault(name, value)
            found["X-Request-ID"] = self._identity
        await self._send(message)


def _is_head(scope: Scope) -> bool:
    return bool(scope["method"] == "HEAD" and scope["path"] != "/events")  # which would never end


def error(status: int, detail: str, headers: dict[str, str] | None = None, **more: object) -> JSONResponse:
    """Return an answer that says what was wrong."""
    return JSONResponse({"detail": detail, "request_id": request_id.get(), **more}, status, headers)


def log_error(scope: Scope) -> None:
    """Write down an exception that nobody expected."""
    logging.getLogger("differnet.service").exception(
        "unexpected error", extra={"data": {"method": scope["method"], "path": scope["path"]}}
    )
