"""A version on trial: it judges what another one judged, after the answer, and what it said is recorded beside it.

Parts wait in a queue of bounded length and size. What finds no place there is left out, which is counted and said; so
nobody waits for a trial. A process of its own judges (:mod:`differnet.service.http.versions.worker`), and a thread
records many rows at a time, so that the record is not held up either.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

from differnet.errors import StoreError
from differnet.runtime.inspector import Count
from differnet.service.http.telemetry import say
from differnet.service.http.versions.process import Worker, WorkerError
from differnet.service.record import shadows
from differnet.service.record.inspection import Inspection, Rates, now
from differnet.service.record.shadows import Shadow
from differnet.service.record.store import Store
from differnet.service.record.versions import Post

_PARTS, _BYTES = 64, 64 * 2**20  # that may wait
_ROWS, _FLUSH = 200, 5.0  # rows of one transaction, and seconds for which one waits for others
_MOST_ROWS = 1000  # that wait for a record which cannot be reached
_CRASHES = 3  # in a row, after which a trial is over
_SAY = 60.0  # seconds between two sentences on what is left out
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """A part that was judged and recorded as ``row``, and how: ``rates`` are those applied to the model."""

    row: Inspection
    content: bytes
    views: Count
    rates: Rates | None


class Trial:
    """One version beside another; :meth:`take` is for any thread.

    ``keeps``: whether the picture of a part on which the two differ is kept. ``count``: told "judged", "dropped" or
    "failed" of each part.
    """

    def __init__(
        self, model: str, folder: str, post: Post, store: Store, most_pixels: int, keeps: bool, count: Tell
    ) -> None:
        self.model, self.folder, self.post, self.digest = model, folder, post, post.digest
        self.judged = self.dropped = self.failed = 0
        self.broken: str | None = None
        self._store, self._most_pixels, self._keeps, self._count = store, most_pixels, keeps, count
        self._waiting: deque[Part] = deque()
        self._bytes, self._said_at, self._crashes, self._oldest = 0, -_SAY, 0, 0.0
        self._change, self._is_closed, self._is_resting = threading.Condition(), False, False
        self._rows: list[Shadow] = []
        self._pictures: list[tuple[Inspection, bytes]] = []
        self._worker: Worker | None = None
        self._thread = threading.Thread(target=self._run, name="trial", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many parts wait."""
        return len(self._waiting)

    def take(self, part: Part) -> None:
        """Have a part judged as soon as nothing else is to be done; at once, and without an error."""
        with self._change:
            size = len(part.content)
            is_full = len(self._waiting) >= _PARTS or self._bytes + size > _BYTES
            if not (is_full or self.broken or self._is_closed):
                self._waiting.append(part)
                self._bytes += size
                self._change.notify()
                return
        self._drop(1, self.broken or "they came faster than they could be judged beside the others")

    def rest(self, is_resting: bool) -> None:
        """Have its process rest, or go on; from any thread."""
        with self._change:
            self._is_resting = is_resting
            if self._worker is not None:
                self._worker.rest(is_resting)

    def close(self) -> None:
        """End the trial; what was judged is recorded, and what waits is left out."""
        with self._change:
            self._is_closed = True
            left, worker = len(self._waiting), self._worker
            self._waiting.clear()
            self._change.notify()
        if worker is not None:
            worker.kill()
        self._thread.join(30)
        if left:
            self._drop(left, "the trial ended")

    def _run(self) -> None:
        while (part := self._next()) is not None or not self._is_closed:
            if part is not None:
                self._judge(part)
            is_due = time.monotonic() - self._oldest > _FLUSH
            is_large = sum(len(content) for _, content in self._pictures) > _BYTES
            if part is None or is_due or is_large or len(self._rows) >= _ROWS:
                self._flush()
        self._flush()
        if self._worker is not None:
            self._worker.close()

    def _next(self) -> Part | None:
        """Return the part that waits longest; nothing when none came for a while, or it is over."""
        with self._change:
            if not self._waiting and not self._is_closed:
                self._change.wait(_FLUSH if self._rows else None)
            if not self._waiting:
                return None
            part = self._waiting.popleft()
            self._bytes -= len(part.content)
            return part

    def _judge(self, part: Part) -> None:
        rates = None if self.post.own_rates or part.rates is None else astuple(part.rates)
        head = {"name": part.row.file_name, "views": part.views, "rates": rates}
        try:
            if self._worker is None:
                self._begin()
            worker: Any = self._worker
            said = worker.ask(head, part.content)
            self._crashes = 0
        except WorkerError as error:
            if self._is_closed:
                self._drop(1, "the trial ended")
                return
            said = {"verdict": "error", "error": str(error)}
            self._after_a_crash(str(error))
        self._note(part, said)

    def _begin(self) -> None:
        worker = Worker(self.folder, self._most_pixels)
        with self._change:
            self._worker = worker
            worker.rest(self._is_resting)
            if self._is_closed:  # since then, by somebody who saw no worker
                worker.kill()

    def _after_a_crash(self, reason: str) -> None:
        if self._worker is not None:
            self._worker.close()
        with self._change:
            self._worker, self._crashes = None, self._crashes + 1
        say("a version on trial failed", logging.ERROR, model=self.model, digest=self.digest, error=reason)
        if self._crashes >= _CRASHES:
            self.broken = f"the trial is over: {reason}, {_CRASHES} times in a row"
            with self._change:
                left = len(self._waiting)
                self._waiting.clear()
                self._bytes = 0
            self._drop(left, self.broken)

    def _note(self, part: Part, said: dict[str, Any]) -> None:
        row = Shadow(time=now(), model=self.model, digest=self.digest, inspection=part.row.id, **said)
        self._oldest = self._oldest if self._rows else time.monotonic()
        self._rows.append(row)
        if self._keeps and part.row.image is None and row.verdict != part.row.verdict:
            self._pictures.append((part.row, part.content))
        if row.verdict == "error" and part.row.verdict != "error":
            self.failed += 1
            self._count("failed")
        else:
            self.judged += 1
            self._count("judged")

    def _flush(self) -> None:
        """Record what was judged; what the record does not take is tried again with the next rows."""
        if not self._rows:
            return
        pictures, self._pictures = self._pictures, []
        try:
            shadows.add(self._store.engine, self._rows, self._store.kept, pictures)
        except (StoreError, OSError) as error:
            said = {"model": self.model, "error": str(error), "pictures_left_out": len(pictures)}
            say("what a trial said could not be recorded yet", logging.ERROR, **said)
            excess = len(self._rows) if self._is_closed else len(self._rows) - _MOST_ROWS
            if excess > 0:
                del self._rows[:excess]
                self._drop(excess, "the record could not be reached")
            time.sleep(0 if self._is_closed else _FLUSH)
        else:
            self._rows.clear()

    def _drop(self, parts: int, reason: str) -> None:
        self.dropped += parts
        for _ in range(parts):
            self._count("dropped")
        if parts and time.monotonic() - self._said_at > _SAY:
            self._said_at = time.monotonic()
            said = {"model": self.model, "digest": self.digest, "reason": reason, "left_out": self.dropped}
            say("a trial leaves parts out", logging.WARNING, **said)
