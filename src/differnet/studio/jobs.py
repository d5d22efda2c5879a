"""A job in a process of its own: how far it is, how it can be ended, and what came of it.

The process writes a line of JSON for each thing it has to say, and ends by itself when nobody holds the other end of
its input any more, so that no job outlives the studio.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from differnet.errors import DifferNetError
from differnet.studio.pictures import printable
from differnet.studio.project import Folder
from differnet.studio.time_left import Clock

JobKind = Literal["fit", "judge", "export"]
Outcome = Literal["running", "done", "failed", "cancelled"]
_PATIENCE = 5.0  # seconds between asking a process to end and ending it
_DEFECT = "this is a defect of differnet; the log of the job has the lines"


class BusyError(DifferNetError, RuntimeError):
    """A job is running, and only one can."""


@dataclass(eq=False)
class Job:
    """One job; written by the thread that listens to it, read by all."""

    number: int
    kind: JobKind
    clock: Clock
    outcome: Outcome = "running"
    stage: str = "starting"
    done: int = 0
    total: int = 0
    error: str | None = None
    warnings: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    is_cancelled: bool = False

    @property
    def was_cancelled(self) -> bool:
        """Whether it has ended because it was cancelled."""
        return self.outcome == "cancelled"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        now = self.ended or time.monotonic()
        is_running = self.outcome == "running"
        return {
            "number": self.number,
            "kind": self.kind,
            "outcome": self.outcome,
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "seconds": round(now - self.started, 1),
            "seconds_left": round(self.clock.left(now), 1) if is_running else None,
            "error": self.error,
            "warnings": list(self.warnings),
        }


class Jobs:
    """One job at a time, each in a folder that has its name only once it is done.

    ``on_end``: called with each job when its process is gone, before it is said that it has ended.
    """

    def __init__(self, folder: Folder, on_end: Callable[[Job], None]) -> None:
        self._folder, self._on_end = folder, on_end
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self.last: Job | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a job that has not ended."""
        return self.last is not None and self.last.outcome == "running"

    def start(self, number: int, kind: JobKind, wanted: Mapping[str, Any], plan: Mapping[str, float]) -> Job:
        """Begin a job; raises :class:`BusyError` while another runs."""
        with self._turn:
            if self.is_running:
                raise BusyError("a job is running already; wait for it, or cancel it")
            place = self._folder.job(number, is_done=False)
            place.mkdir(parents=True)
            (place / "job.json").write_text(json.dumps({"kind": kind, **wanted}))
            with (place / "log.txt").open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603  our own interpreter
                    [sys.executable, "-m", "differnet.studio.worker", str(place)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=os.name == "posix",
                )
            self.last = job = Job(number, kind, Clock(plan, time.monotonic()))
            self._thread = threading.Thread(
                target=self._listen, args=(job, self._process), name="studio-job", daemon=True
            )
            self._thread.start()
            return job

    def cancel(self) -> bool:
        """End the job that runs, and wait until its process is gone; whether it did not end by itself."""
        with self._turn:
            job, process, thread = self.last, self._process, self._thread
            if job is None or process is None or thread is None or job.outcome != "running":
                return False
            job.is_cancelled = True
            _end(process)
        thread.join()
        return job.was_cancelled

    def _listen(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101  it was asked for
        for line in process.stdout:
            with suppress(ValueError, TypeError, KeyError):
                self._hear(job, json.loads(line))
        status = process.wait()
        if process.stdin is not None:
            process.stdin.close()
        process.stdout.close()
        outcome: Outcome = "cancelled" if job.is_cancelled else "done" if status == 0 else "failed"
        unfinished, place = self._folder.job(job.number, is_done=False), self._folder.job(job.number)
        try:
            if outcome == "done":
                unfinished.replace(place)
                self._on_end(job)
        except Exception as error:
            outcome, job.error = "failed", f"{type(error).__name__}: {error}"
        if outcome == "failed":
            job.error = job.error or f"the process ended with {status}; {_DEFECT}: {place / 'log.txt'}"
            _keep_log(unfinished, place)
        shutil.rmtree(unfinished, ignore_errors=True)
        job.ended = time.monotonic()
        job.outcome = outcome

    def _hear(self, job: Job, said: Mapping[str, Any]) -> None:
        if "stage" in said:
            stage, done, total = str(said["stage"]), int(said["done"]), int(said["total"])
            job.clock.hear(stage, done, total, time.monotonic())
            job.stage, job.done, job.total = stage, done, total
        elif "warning" in said and said["warning"] not in job.warnings:
            job.warnings.append(printable(str(said["warning"])))
        elif "error" in said:
            job.error = printable(str(said["error"]))


def _keep_log(unfinished: Path, place: Path) -> None:
    """Keep what a process wrote that failed, and nothing else of it."""
    with suppress(OSError):
        place.mkdir(exist_ok=True)
        (unfinished / "log.txt").replace(place / "log.txt")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process and those that it started to end, and end them if they do not."""
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        with suppress(ProcessLookupError):
            if os.name == "posix":
                os.killpg(process.pid, number)
            else:
                process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
            return
