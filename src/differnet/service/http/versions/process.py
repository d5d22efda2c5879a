"""The other end of :mod:`differnet.service.http.versions.worker`: starts it, asks it, and ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

_WORKER = "differnet.service.http.versions.worker"


class WorkerError(Exception):
    """The process ended, did not start, or was given up; the message says which."""


class Worker:
    """A process that judges by a folder; for one thread, but :meth:`kill`. Raises :class:`WorkerError`."""

    def __init__(self, folder: str, most_pixels: int) -> None:
        command = [sys.executable, "-m", _WORKER, folder, str(most_pixels)]
        environment = os.environ | {"DIFFERNET_THREADS": "1", "OMP_NUM_THREADS": "1"}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        try:
            self._process = subprocess.Popen(command, env=environment, **pipes)  # noqa: S603  our own module
        except OSError as error:
            raise WorkerError(f"its process could not be started: {error.strerror}") from error
        self._is_ready = False

    def ask(self, head: dict[str, Any], content: bytes) -> dict[str, Any]:
        """Return what it says of a picture; it is waited for until it is loaded."""
        if not self._is_ready:
            said = self._heard()
            if "error" in said:
                raise WorkerError(f"its folder cannot be loaded: {said['error']}")
            self._is_ready = True
        try:
            pipe: Any = self._process.stdin
            pipe.write(json.dumps(head | {"bytes": len(content)}).encode() + b"\n")
            pipe.write(content)
            pipe.flush()
        except OSError as error:
            raise WorkerError(self._end()) from error
        return self._heard()

    def kill(self) -> None:
        """End it, whatever it does; from any thread."""
        with suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """End it, and let go of what belongs to it."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def rest(self, is_resting: bool) -> None:
        """Stop it where it is, or let it go on, where it ends with this process even so; from any thread."""
        if sys.platform == "linux":
            with suppress(OSError):
                self._process.send_signal(signal.SIGSTOP if is_resting else signal.SIGCONT)

    def _heard(self) -> dict[str, Any]:
        """Return its next line."""
        line = self._process.stdout.readline() if self._process.stdout else b""
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise WorkerError(self._end()) from error
        return said

    def _end(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        how = "by itself" if code == 0 else f"with status {code}" if code else "answering"
        return f"its process ended {how}"
