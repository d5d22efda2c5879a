"""Live judging: the service of an exported station, inside the studio's process, and replaced by the next one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from differnet.errors import ConfigError, in_a_line
from differnet.service.http import server
from differnet.service.http.app import create_app
from differnet.service.http.limits import Limits
from differnet.service.http.service import Service

Status = Literal["off", "starting", "on", "failed"]
RECORD = "record.sqlite3"


@dataclass(frozen=True)
class Serving:
    """A service that runs: its application, and what ends it."""

    service: Service
    app: Callable[..., Any]
    stop: asyncio.Event
    task: asyncio.Task[None]


@dataclass(frozen=True)
class Live:
    """What judges by now: ``name`` and ``station`` of the model, its status, why it failed; ``note``: what changed."""

    status: Status = "off"
    name: str = ""
    station: str = ""
    error: str | None = None
    note: str | None = None


class LiveHost:
    """Serves one station at a time, in the event loop that :meth:`begin` was called in.

    ``folder``: where the record lies, which all stations share.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.url, self._limits = f"sqlite:///{folder / RECORD}", limits
        self.live = Live()
        self.serving: Serving | None = None
        self._turn = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = threading.Event()

    def begin(self) -> None:
        """Note the event loop."""
        self._loop = asyncio.get_running_loop()

    def serve(self, name: str, station: Path) -> None:
        """Begin to serve a station in place of what is served; from any thread, and without waiting for it."""
        self.live = Live("starting", name, str(station))
        if self._loop is not None and not self._stopping.is_set():
            self._loop.call_soon_threadsafe(self._start, name, station)

    def close_soon(self) -> None:
        """Let those go who listen to it, since all is about to end; from any thread and handlers of signals."""
        self._stopping.set()
        if self.serving is not None:
            self.serving.service.is_stopping = True
            self.serving.service.hub.close_soon()

    async def close(self) -> None:
        """Finish what was accepted, and end."""
        self._stopping.set()
        async with self._turn:
            serving, self.serving = self.serving, None
            if serving is not None:
                await _ended(serving)

    def _start(self, name: str, station: Path) -> None:
        task = asyncio.get_running_loop().create_task(self._replace(name, station))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _replace(self, name: str, station: Path) -> None:
        async with self._turn:
            try:
                service, note = await asyncio.to_thread(self._build, name, station)
                new = await _begun(service)
            except Exception as error:
                self.live = Live("failed", name, str(station), in_a_line(error))
                return
            old, self.serving = self.serving, new
            self.live = Live("on", name, str(station), note=note)
            if old is not None:
                old.service.hub.close_soon()
                await _ended(old)

    def _build(self, name: str, station: Path) -> tuple[Service, str | None]:
        """Open the record and load the station; rates that were applied and do not fit it are given up, and said."""
        limits = replace(self._limits, keep="all")
        here = {name: str(station)}, self.url, None, "127.0.0.1", limits
        try:
            return server.build(*here), None
        except ConfigError as error:
            if "--forget-rates" not in str(error):
                raise
            note = f"the rates that were applied before do not fit this model, and those of its fit hold: {error}"
            return server.build(*here, forget=[name]), note


async def _begun(service: Service) -> Serving:
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def run() -> None:
        try:
            async with service.life():
                ready.set_result(None)
                await stop.wait()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    task = asyncio.create_task(run())
    await ready
    return Serving(service, create_app(service), stop, task)


async def _ended(serving: Serving) -> None:
    serving.stop.set()
    with suppress(Exception):
        await serving.task
