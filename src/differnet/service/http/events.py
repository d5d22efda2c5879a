"""What listeners are told as it happens: a task that looks for new rows, and a bounded queue for each listener.

Rows are read from the record, so those that another process added are told as well, and all of them in the order of
their numbers. A listener that reads too slowly is cut off; with the number it saw last it goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from differnet.errors import StoreError
from differnet.service.http.schemas import as_json
from differnet.service.http.telemetry import say
from differnet.service.record.inspection import Inspection
from differnet.service.record.store import Store

_LOOK = 1.0  # seconds after which rows of other processes are looked for
_REST = 0.05  # seconds between two looks
_BEAT = 4.0  # seconds after which a listener is told that the line lives
_WAITING = 500  # events that may wait for a listener
_STEP = 200  # rows that are read at once
Event = tuple[int | None, str]  # the number of its row, if it is one, and its text


class Listener:
    """One who listens: to which model, if not to all, and what waits for it."""

    def __init__(self, model: str | None) -> None:
        self.model = model
        self.waiting: asyncio.Queue[Event | None] = asyncio.Queue(_WAITING)
        self.is_lost = False

    def put(self, event: Event | None) -> None:
        """Let an event wait; one too many, and the listener is lost."""
        try:
            self.waiting.put_nowait(event)
        except asyncio.QueueFull:
            self.is_lost = True


class Hub:
    """Tells listeners of new rows, of confirmations and of drift; lives in one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: set[Listener] = set()
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._last = store.last_seq()
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._listeners)

    def wake(self) -> None:
        """Have new rows looked for at once; from any thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._news.set)

    def tell(self, kind: str, model: str, data: dict[str, Any]) -> None:
        """Tell listeners something that is no row; from any thread."""
        text = f"event: {kind}\ndata: {json.dumps(data)}\n\n"
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._give, model, (None, text))

    async def run(self) -> None:
        """Look for new rows until it is closed."""
        while (
            not self.is_closed
        ):  # a cancellation alone can get lost in wait_for, when there are news just then
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), _LOOK)
            self._news.clear()
            try:
                await self._look()
            except StoreError as error:
                say("events: the record cannot be read", 40, error=str(error))
            await asyncio.sleep(_REST)

    def close_soon(self) -> None:
        """Do :meth:`close` in the event loop; from any thread and from handlers of signals."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.close)

    def close(self) -> None:
        """Let all listeners go, and look no more."""
        self.is_closed = True
        self._news.set()
        for one in self._listeners:
            one.put(None)

    async def listen(self, model: str | None, after: int | None) -> AsyncIterator[str]:
        """Yield what a listener is told, from the row after number ``after`` on, or from now on."""
        one, last = Listener(model), after or 0
        yield ": here\n\n"
        self._listeners.add(one)
        try:
            while after is not None:
                rows = await asyncio.to_thread(self._store.after, last, model, _STEP)
                for row in rows:
                    last = row.seq
                    yield _text(row)
                if len(rows) < _STEP:
                    break
            while not (one.is_lost or self.is_closed):
                try:
                    event = await asyncio.wait_for(one.waiting.get(), _BEAT)
                except asyncio.TimeoutError:
                    yield ": beat\n\n"
                    continue
                if event is None:
                    break
                seq, text = event
                if seq is None or seq > last:
                    last = last if seq is None else seq
                    yield text
        finally:
            self._listeners.discard(one)

    async def _look(self) -> None:
        while not self.is_closed:
            if not self._listeners:
                self._last = await asyncio.to_thread(self._store.last_seq)
                return
            rows = await asyncio.to_thread(self._store.after, self._last, None, _STEP)
            for row in rows:
                self._last = row.seq
                self._give(row.model, (row.seq, _text(row)))
            if len(rows) < _STEP:
                return

    def _give(self, model: str, event: Event) -> None:
        for one in self._listeners:
            if one.model in (None, model):
                one.put(event)


def _text(row: Inspection) -> str:
    return f"id: {row.seq}\nevent: inspection\ndata: {json.dumps(as_json(row))}\n\n"
