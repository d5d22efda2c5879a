"""What is promised to a sender who waits no longer: his part is recorded, or it is said that it could not be.

A sender waits for a bounded time. When that is over while his part is being judged, he is told that it will be
recorded; from then on nobody hears of an error. So a row that the record does not take then is kept here and tried
again until it is recorded, and what is left when the service stops is logged as a whole.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from differnet.errors import StoreError
from differnet.service.record.inspection import Inspection

_PAUSES = (0.5, 1.0, 2.0)  # seconds between two attempts, the last for ever


class Ticket:
    """One part, between the sender who may leave and the thread that records it; for both of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._row: Inspection | None = None
        self._error: Exception | None = None
        self._is_left = False

    def recorded(self, row: Inspection) -> None:
        """Note that the part has its row."""
        with self._lock:
            self._row = row

    def failed(self, error: Exception) -> bool:
        """Note why it has none; return whether that is too late, since a row was promised."""
        with self._lock:
            self._error = error
            return self._is_left and self._row is None

    def leave(self) -> Inspection | None:
        """Wait no longer. Returns the row if there is one, raises why there is none, or else a row is promised."""
        with self._lock:
            if self._error is not None:
                raise self._error
            self._is_left = self._row is None
            return self._row


@dataclass(frozen=True)
class Waiting:
    """A row that is to be recorded: how, and what is to be done then. ``row``: as it was judged."""

    row: Inspection
    add: Callable[[], Inspection]
    then: Callable[[Inspection], None]


class Promised:
    """Rows that were promised and are not recorded yet, the oldest first; a thread of its own tries them.

    ``lost``: told of each row that is given up, with the reason.
    """

    def __init__(
        self, lost: Callable[[Inspection, Exception], None], pauses: tuple[float, ...] = _PAUSES
    ) -> None:
        self._lost, self._pauses = lost, pauses
        self._rows: deque[Waiting] = deque()
        self._tried: Waiting | None = None
        self._any, self._is_stopping, self._is_closed = threading.Event(), False, False
        self._thread = threading.Thread(target=self._run, name="promised", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, waiting: Waiting) -> None:
        """Record a row as soon as that can be done; from any thread."""
        self._rows.append(waiting)
        self._any.set()

    def close(self, seconds: float) -> None:
        """Go on for so many seconds at most; what is left then is given up, which is said of each row."""
        self._is_stopping = True
        self._any.set()
        self._thread.join(seconds)
        self._is_closed, tried = True, self._tried
        while self._rows:
            one, reason = self._rows.popleft(), "the service stopped before the record could be reached"
            if one is tried:
                reason += "; it was just being tried, and whether it is recorded is not known"
            self._lost(one.row, StoreError(reason))

    def _run(self) -> None:
        attempt = 0
        while not self._is_closed:
            if not self._rows:
                if self._is_stopping:
                    return
                self._any.wait()
                self._any.clear()
            elif self._is_over(self._rows[0]):
                with suppress(IndexError):  # it was given up meanwhile
                    self._rows.popleft()
                attempt = 0
            else:
                time.sleep(self._pauses[min(attempt, len(self._pauses) - 1)])
                attempt += 1

    def _is_over(self, waiting: Waiting) -> bool:
        """Try a row; return whether it needs no other attempt."""
        self._tried = waiting
        try:
            waiting.then(waiting.add())
        except StoreError:
            return False
        except Exception as error:
            self._lost(waiting.row, error)
        finally:
            self._tried = None
        return True
