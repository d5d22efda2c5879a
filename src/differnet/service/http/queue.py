"""The line of images that wait to be judged: of bounded length, served by a fixed number of threads."""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import TypeVar

Result = TypeVar("Result")
_RECENT = 0.1  # how much the last image counts for the mean time
_FIRST = 0.1  # seconds that the first image is thought to take


class FullError(Exception):
    """Nobody more is let in; ``retry_after``: seconds after which it may be otherwise."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class LateError(Exception):
    """An image was not judged in time; ``started``: it still will be, and be recorded."""

    def __init__(self, started: bool) -> None:
        super().__init__("not judged in time")
        self.started = started


class Line:
    """At most ``queue`` requests wait while ``workers`` are served; further ones are refused at once.

    ``on_busy``: told when the first request comes in (true), and when the last has gone (false).
    """

    def __init__(self, queue: int, workers: int) -> None:
        self.capacity, self.workers = queue + workers, workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="inspect")
        self._lock = threading.Lock()
        self._inside = 0
        self.on_busy: Callable[[bool], None] = lambda _: None
        self._seconds = _FIRST

    @property
    def inside(self) -> int:
        """How many requests wait or are served."""
        return self._inside

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place while the block runs; raises :class:`FullError` when there is none."""
        with self._lock:
            self._check()
            self._inside += 1
            if self._inside == 1:
                self.on_busy(True)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self.on_busy(False)

    def check(self) -> None:
        """Raise :class:`FullError` when there is no place now: before something is received for which there is none."""
        with self._lock:
            self._check()

    def wait(self) -> int:
        """Return after how many seconds one who was refused may try again: not all of them at once."""
        mean = self._inside * self._seconds / self.workers
        return max(1, math.ceil(mean)) + random.randint(0, max(2, math.ceil(mean)))  # noqa: S311  no secret

    def _check(self) -> None:
        if self._inside >= self.capacity:
            raise FullError(self.wait())

    async def run(self, work: Callable[[], Result], timeout: float) -> Result:
        """Return what ``work`` returns in one of the threads; raises :class:`LateError` after ``timeout`` seconds."""
        future: Future[Result] = self._pool.submit(copy_context().run, self._timed, work)
        done = asyncio.wrap_future(future)
        try:
            return await asyncio.wait_for(asyncio.shield(done), timeout)
        except asyncio.TimeoutError as error:
            if future.done():  # in this very moment
                return future.result()
            done.add_done_callback(_forget)
            raise LateError(not future.cancel()) from error

    def _timed(self, work: Callable[[], Result]) -> Result:
        start = time.perf_counter()
        try:
            return work()
        finally:
            taken = time.perf_counter() - start
            with self._lock:
                self._seconds += _RECENT * (taken - self._seconds)

    def close(self) -> None:
        """Finish what was begun or waits, then end the threads."""
        self._pool.shutdown(wait=True)


def _forget(future: asyncio.Future[Result]) -> None:
    """Take notice of an error that nobody waits for any more."""
    if not future.cancelled():
        future.exception()
