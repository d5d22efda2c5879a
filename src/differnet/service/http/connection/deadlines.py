"""How long a connection is waited for: for the head of a request, and for one who reads nothing of the answer.

Where nothing comes, the connection is cut, so that it holds no place for ever and nobody can keep a service from
stopping. For bodies see :mod:`differnet.service.http.connection.bodies`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from differnet.service.http.limits import Limits

_LAST = 5.0  # seconds that one who neither sends nor reads has when the service stops
_LEAST = 4096  # bytes a second that one who reads must take
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Deadlines(H11Protocol):
    """A connection that is cut when its deadlines pass; :func:`with_limits` says which they are."""

    head = 10.0
    stall = 30.0
    _waits_for_head: asyncio.TimerHandle | None = None
    _waits_for_reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes, of a head or a body; each head has its time from its first byte on."""
        super().data_received(data)
        if self._is_answering:
            self._cancel_head()
        elif not self.transport.is_closing() and self.timeout_keep_alive_task is None:
            self._await_head()

    def on_response_complete(self) -> None:
        """Wait for the next request, of which a part may have come already."""
        super().on_response_complete()
        if self._is_answering:
            self._cancel_head()

    def pause_writing(self) -> None:
        """The one who reads is slower than the answer: see to it that something is read."""
        super().pause_writing()
        self._await_reader(self.stall)

    def resume_writing(self) -> None:
        """What was to be read has been."""
        super().resume_writing()
        if self._waits_for_reader is not None:
            self._waits_for_reader.cancel()
            self._waits_for_reader = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        self._cancel_head()
        if self._waits_for_reader is not None:
            self._waits_for_reader.cancel()

    def shutdown(self) -> None:
        """Finish what is being judged, and cut off one who neither sends nor reads."""
        super().shutdown()
        self._cancel_head()
        self.loop.call_later(_LAST, self._end, self._progress())

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        if self._waits_for_head is None:
            self._waits_for_head = self.loop.call_later(self.head, self._give_up_head)

    def _cancel_head(self) -> None:
        if self._waits_for_head is not None:
            self._waits_for_head.cancel()
            self._waits_for_head = None

    def _give_up_head(self) -> None:
        self._waits_for_head = None
        if not self._is_answering and not self.transport.is_closing():
            self.transport.write(_TOO_LATE)
            self.transport.close()
            self.loop.call_later(_LAST, self.transport.abort)  # unless it is read until then

    def _await_reader(self, seconds: float) -> None:
        before = self._unread()
        self._waits_for_reader = self.loop.call_later(seconds, self._look_at_reader, seconds, before)

    def _look_at_reader(self, seconds: float, before: int) -> None:
        if before - self._unread() < _LEAST * seconds:
            self.logger.warning("one who did not read the answer was cut off")
            self.transport.abort()
        else:
            self._await_reader(seconds)

    def _unread(self) -> int:
        return int(self.transport.get_write_buffer_size())

    def _progress(self) -> tuple[int, int]:
        """Return how much of a body is waited for, roughly, and how much of an answer was not read."""
        return (len(self.cycle.body) if self._is_answering and self.cycle.more_body else -1), self._unread()

    def _end(self, before: tuple[int, int]) -> None:
        if self not in self.connections:
            return
        now = self._progress()
        if now[0] >= 0 or (now[1] > 0 and now[1] >= before[1]) or not self._is_answering:
            self.transport.abort()
        else:
            self.loop.call_later(_LAST, self._end, now)


def with_limits(limits: Limits) -> type[Deadlines]:
    """Return the protocol with the deadlines of a service."""
    return type("Protocol", (Deadlines,), {"head": limits.head_timeout, "stall": limits.stall_timeout})
