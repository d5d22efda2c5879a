"""How many threads everything underneath may use: one number for torch, OpenVINO, ONNX Runtime and BLAS.

``differnet --threads N`` or the environment variable ``DIFFERNET_THREADS`` sets it for a process; differnet starts no
worker processes, so nothing multiplies it. Beside these threads others read and decode images.

A process that was forked has none of the threads that its parent computed with, and would wait for them for ever. So
it computes with one, and makes anew what threads belong to (:func:`generation`): each child has one, which is also what
several of them on one machine want.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from differnet.errors import ConfigError

VARIABLE = "DIFFERNET_THREADS"
_forks = [0]  # how many led to this process since differnet began to compute
_lost: list[Any] = []  # what belongs to threads of a parent: to give it up would wait for them
_SECONDS = 2.0  # that the system may take to end a thread, under load
_OTHERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def limit() -> int | None:
    """Return how many threads may be used, nothing when that is left to the libraries.

    Raises :class:`ConfigError` when the variable holds no number from 1.
    """
    if _forks[0]:
        return 1
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= 1024 and len(text) <= 4):
        raise ConfigError(f"{VARIABLE} = {text!r}: a number from 1 to 1024 was wanted")
    return int(text)


def cores() -> int:
    """Return how many threads can compute at a time: as many as may be used, or as there are cores for this process."""
    if (most := limit()) is not None:
        return most
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def mind_forks() -> None:
    """Have processes that are forked from this one compute with one thread, and this one where it was forked itself."""
    if (
        type(multiprocessing.current_process()).__name__ == "ForkProcess"
    ):  # before anything of differnet was made
        _after_fork()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


class Lanes(ThreadPoolExecutor):
    """Threads to compute in, which have ended for the system too once the pool is shut down.

    Python counts a thread as ended a little before the system does. Libraries give up what was the thread's own in
    between, and a fork at that moment copies their locks as they are held: a child waits for Intel MKL for ever.
    """

    def __init__(self, count: int, begin: Callable[[], None] = lambda: None) -> None:
        self._ids: list[int] = []
        super().__init__(count, "differnet-lane", self._begin, (begin,))

    def _begin(self, begin: Callable[[], None]) -> None:
        self._ids.append(threading.get_native_id())
        begin()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads; where ``wait``, until the system has ended them too, at most some two seconds more."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        until = time.monotonic() + _SECONDS
        while wait and time.monotonic() < until and any(map(_is_running, self._ids)):
            time.sleep(0.0002)


def _is_running(native_id: int) -> bool:
    """Whether a thread of this process is there for the system; never where it does not say (only Linux does)."""
    return Path(f"/proc/self/task/{native_id}").exists()


def generation() -> int:
    """Return a number that is another one in a process that was forked."""
    return _forks[0]


def keep_lost(thing: Any) -> None:
    """Never give up what was made before a fork."""
    _lost.append(thing)


def _after_fork() -> None:
    _forks[0] += 1
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def use(count: int | None = None) -> None:
    """Keep every library underneath to ``count`` threads, or to what the variable says; best called first of all."""
    if count is not None:
        os.environ[VARIABLE] = str(count)
    most = limit()
    if most is None:
        return
    for name in _OTHERS:
        os.environ[name] = str(most)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(most)
