"""Images as a stream: read ahead, in order, with progress and the name of each."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from typing import Generic, TypeVar

from differnet.errors import NumericalError

Progress = Callable[[str, int, int], None]
_AHEAD = 2
In = TypeVar("In")
Out = TypeVar("Out")
Result = TypeVar("Result")


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


class Stopwatch:
    """Progress that is passed on, with how many ``seconds`` each stage took: since the last that was heard of any."""

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._last = time.perf_counter()
        self._turn = threading.Lock()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note progress and pass it on."""
        self.note(stage)
        self._progress(stage, done, total)

    def note(self, stage: str) -> None:
        """Count the time since the last note as that of a stage."""
        with self._turn:
            now = time.perf_counter()
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
            self._last = now


class LookAhead(Generic[In, Out]):
    """Items of a stream with the results of ``work``, in order, which threads make ahead of time.

    One thread draws the items, ``ahead`` of those that were taken; so many ``threads`` work on them. A source that
    fills one buffer again and again must yield copies.
    """

    def __init__(
        self, work: Callable[[In], Out], items: Iterable[In], ahead: int = _AHEAD, threads: int = 1
    ) -> None:
        self._work, self._source = work, iter(items)
        self._drawing = ThreadPoolExecutor(1, "differnet-read")
        self._working = ThreadPoolExecutor(threads, "differnet-decode")
        self._waiting = deque(self._drawing.submit(self._step) for _ in range(ahead))

    def take(self, most: int = 1) -> list[tuple[In, Out]]:
        """Return the next item and those after it that are there already, at most so many; none at the end.

        The next one is waited for. An exception, of ``work`` or of the source, is raised where its item is the next.
        """
        return self._take(most, must_wait=True)

    def take_ready(self, most: int) -> list[tuple[In, Out]]:
        """Return what :meth:`take` would without waiting: nothing where the next item is not there or failed."""
        return self._take(most, must_wait=False)

    def _take(self, most: int, must_wait: bool) -> list[tuple[In, Out]]:
        found: list[tuple[In, Out]] = []
        while len(found) < most and ((must_wait and not found) or self._is_there()):
            try:
                step = self._waiting[0].result()
                if step is None:
                    break
                found.append((step[0], step[1].result()))
            except Exception:
                if must_wait and not found:
                    raise
                break
            self._waiting.popleft()
            self._waiting.append(self._drawing.submit(self._step))
        return found

    def close(self) -> None:
        """Give the threads up; what was not taken is lost."""
        for pool in (self._drawing, self._working):
            pool.shutdown(wait=False, cancel_futures=True)

    def _step(self) -> tuple[In, Future[Out]] | None:
        for item in self._source:
            return item, self._working.submit(self._work, item)
        return None

    def _is_there(self) -> bool:
        """Whether the next item needs no waiting for."""
        if not self._waiting[0].done():
            return False
        if self._waiting[0].exception() is not None:
            return True
        step = self._waiting[0].result()
        return step is None or step[1].done()


def in_lanes(
    ahead: LookAhead[In, Out],
    first: Sequence[tuple[In, Out]],
    pool: ThreadPoolExecutor,
    work: Callable[[In, Out], Result],
    most: int,
    seconds: float = math.inf,
    total: float = math.inf,
) -> Iterator[Future[Result]]:
    """Yield the finished ``work`` of a pool on the items in ``first``, in order, and on what is there before its end.

    At most ``most`` items are under way; none is begun after ``seconds``, or beyond ``total``.
    """
    until = time.monotonic() + seconds
    running = deque(pool.submit(work, *one) for one in first)
    left = total - len(running)
    while running:
        if running[0].done():
            yield running.popleft()
        else:
            wait([one for one in running if not one.done()], return_when=FIRST_COMPLETED)
        if time.monotonic() < until:
            found = ahead.take_ready(int(min(most - len(running), left)))
            running.extend(pool.submit(work, *one) for one in found)
            left -= len(found)


def look_ahead(work: Callable[[In], Out], items: Iterable[In]) -> Iterator[tuple[In, Out]]:
    """Yield each item with its result, in order, as soon as it is there; see :class:`LookAhead`."""
    with closing(LookAhead(work, items)) as ahead:
        while found := ahead.take():
            yield found[0]


def name_of(image: object) -> str:
    """Return a path as text, or say that the image came without one."""
    return (
        str(image) if not hasattr(image, "shape") and not hasattr(image, "mode") else "an array or PIL image"
    )


@contextmanager
def naming(image: object) -> Iterator[None]:
    """Have a :class:`NumericalError` of the block say which image it came from."""
    try:
        yield
    except NumericalError as error:
        raise NumericalError(f"{name_of(image)}: {error}") from error
