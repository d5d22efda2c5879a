"""Keep a second process off a file that one is writing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class TakenError(Exception):
    """Another process has the lock."""


def open_locked(path: Path, opened: Any) -> Any:
    """Return a file that ``opened(path)`` opened, or made, and that no other process has locked.

    It is locked until it is closed; where there are no such locks (Windows, some network shares) it is only opened.
    Raises :class:`TakenError`. A file that was removed or replaced between opening and locking is opened
    anew: its lock would keep nobody off.
    """
    while True:
        file = opened(path)
        try:
            _lock(file)
            if _is_at(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: Any) -> None:
    try:
        import fcntl
    except ImportError:  # on Windows
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TakenError from error
    except OSError:
        return


def _is_at(path: Path, file: Any) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
