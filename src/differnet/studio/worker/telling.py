"""What a job says while it runs: a line of JSON for each thing, on what was the standard output."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from typing import IO

_REST = 0.1  # seconds between two lines of one stage


def apart() -> IO[str]:
    """Return the standard output for these lines alone; whatever else is printed goes to the log."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return own


def end_with_parent() -> None:
    """Have this process end when nobody holds the other end of its input any more."""

    def wait() -> None:
        while os.read(0, 4096):  # not by the file of Python, which cannot be closed meanwhile
            pass
        os._exit(3)

    threading.Thread(target=wait, name="parent", daemon=True).start()


class Teller:
    """Says how far a job is; call it as a progress function, from any thread."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._stage, self._said = "", 0.0
        self._turn = threading.Lock()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say how far a stage is: its begin, its end, and in between not too often."""
        with self._turn:
            now = time.monotonic()
            if stage == self._stage and done < total and now - self._said < _REST:
                return
            self._stage, self._said = stage, now
            self._line(stage=stage, done=done, total=total)

    def say(self, **said: object) -> None:
        """Say something else."""
        with self._turn:
            self._line(**said)

    def _line(self, **said: object) -> None:
        self._write(json.dumps(said) + "\n")
