"""What the operating system says of files: which have changed, and whether somebody has one open for writing."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from differnet.errors import MissingExtraError
from differnet.service.record.inspection import Tell

_GROUP = 100  # milliseconds for which changes are gathered
_AGAIN = 30.0  # seconds until the system is asked again after it refused


class Hints:
    """The paths at and below a folder that have changed: hints, since some may be missing and some be nothing new.

    ``idle``: none are wanted. Raises :class:`MissingExtraError` without watchfiles.
    """

    def __init__(self, root: Path, tell: Tell, idle: bool = False) -> None:
        self.root, self.tell, self.idle = root, tell, idle
        self._found: set[str] = set()
        self._lock, self._any, self._stop = threading.Lock(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="changes", daemon=True)
        if not idle:
            _watchfiles()

    def __enter__(self) -> Hints:
        if not self.idle:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def take(self, seconds: float) -> set[str]:
        """Return what has changed since the last call; waits for ``seconds`` at most."""
        if self.idle:
            time.sleep(min(seconds, 0.05))
            return set()
        self._any.wait(seconds)
        with self._lock:
            found, self._found = self._found, set()
            self._any.clear()
        return found

    def _run(self) -> None:
        watch, told = _watchfiles().watch, False
        while not self._stop.is_set():
            try:
                for changes in watch(
                    self.root,
                    watch_filter=None,
                    debounce=_GROUP,
                    step=20,
                    stop_event=self._stop,
                    rust_timeout=1000,
                    raise_interrupt=False,
                    ignore_permission_denied=True,
                ):
                    with self._lock:
                        self._found.update(path for _, path in changes)
                        self._any.set()
            except Exception as error:  # the folder is gone, or there are no more watches to be had
                if not told:
                    self.tell(
                        "slow", f"{self.root}: the system does not say what changes ({error}); it is listed"
                    )
                told = True
            self._stop.wait(_AGAIN)


def is_closed(path: Path) -> bool | None:
    """Whether nobody has a file open for writing; nothing where the system does not tell.

    By asking for a lease, which Linux grants to the owner of a file on its own disks when there is no writer. One that
    opens it in that moment makes the system send SIGIO, which must be ignored by then: see :func:`ask_for_leases`.
    """
    if not _asks or sys.platform != "linux":
        return None
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return False if error.errno == errno.EAGAIN else None
    finally:
        os.close(descriptor)
    return True


def ask_for_leases() -> None:
    """Let :func:`is_closed` ask; from the main thread, since it ignores a signal."""
    global _asks
    if sys.platform == "linux":
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        _asks = True


_asks = False


def _watchfiles() -> Any:
    try:
        import watchfiles
    except ImportError as error:
        raise MissingExtraError(
            "watching a folder needs watchfiles: pip install 'differnet[watch]'"
        ) from error
    return watchfiles
