"""Bodies as they come: none larger than it may be, none for longer than it may take, all together within bounds."""

from __future__ import annotations

import asyncio
import re
import time

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from differnet.service.http.limits import Limits

_SMALL = 64 * 2**10  # bytes of a request that brings no image
_ONE = ("/inspect", "/upload")  # what brings one
_PUT_MODEL = re.compile(r"/v1/models/[^/]+")
ARCHIVE = "application/zip"


class BodyError(Exception):
    """A body that is too large (413) or too slow (408), or for which there is no room now (429)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Bodies:
    """How many bytes of bodies are held, of all requests that are not answered yet; lives in one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.held = limits, 0

    def is_model(self, scope: Scope, headers: Headers) -> bool:
        """Whether a request brings a model: its bytes go to the disk as they come, and are not held."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_put = scope["method"] == "PUT" and _PUT_MODEL.fullmatch(scope["path"]) is not None
        return is_put and kind == ARCHIVE

    def most(self, path: str) -> int:
        """Return how many bytes a request may have that brings no model."""
        if path.endswith("/inspect-batch"):
            return self.limits.body_bytes
        return self.limits.single_bytes if path.endswith(_ONE) else _SMALL


class Body:
    """The body of one request, in place of ``receive``; its bytes count until it is closed."""

    def __init__(self, bodies: Bodies, scope: Scope, receive: Receive) -> None:
        self._bodies, self._receive = bodies, receive
        headers, limits = Headers(scope=scope), bodies.limits
        is_model = bodies.is_model(scope, headers)
        self._most = limits.model_bytes if is_model else bodies.most(scope["path"])
        self._length = headers.get("content-length", "0")
        self._timeout = limits.model_timeout if is_model else limits.timeout
        self._deadline = time.monotonic() + self._timeout
        self._keeps, self._held, self._seen, self._ended = not is_model, 0, 0, False

    async def __call__(self) -> Message:
        """Return what came next; raises :class:`BodyError`."""
        if self._ended:
            return await self._receive()
        if self._length.isdecimal() and int(self._length) > self._most:
            raise BodyError(413, f"{self._length} bytes; a request may have {self._most:,}")
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except asyncio.TimeoutError as late:
            reason = f"the body did not come within {self._timeout:g} s"
            raise BodyError(408, reason) from late
        self._take(len(message.get("body", b"")))
        self._ended = not message.get("more_body", False)
        return message

    def _take(self, size: int) -> None:
        self._seen += size
        if self._seen > self._most:
            raise BodyError(413, f"more than the {self._most:,} bytes that a request may have")
        if not self._keeps:
            return
        self._held += size
        self._bodies.held += size
        if self._bodies.held > self._bodies.limits.held_bytes:
            self.close()
            raise BodyError(429, "the images that are being sent take all the room there is; try again")

    def close(self) -> None:
        """Count its bytes no more."""
        if self._keeps:
            self._keeps = False
            self._bodies.held -= self._held
