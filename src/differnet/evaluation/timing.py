"""Wall time, and how much of the machine others took meanwhile, so that times from a busy machine can be told."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import psutil
import torch


class Stopwatch:
    """Starts when it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._own = _own_seconds()
        self._all = _busy_and_all()

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.perf_counter() - self._started

    def others(self) -> float | None:
        """Return the share of all processor time since the start that others took, 0..1; nothing if none has passed.

        What a hypervisor took away counts as others'.
        """
        busy, total = (now - then for now, then in zip(_busy_and_all(), self._all, strict=True))
        if total <= 0:
            return None
        return min(1.0, max(0.0, (busy - (_own_seconds() - self._own)) / total))


def machine() -> str:
    """Name the processor, the number of its cores, and of the threads that torch uses: what times depend on."""
    model = platform.processor() or platform.machine()
    known = Path("/proc/cpuinfo")
    if known.exists():
        names = [line for line in known.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()}, torch with {torch.get_num_threads()} threads"
    )


def _own_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _busy_and_all() -> tuple[float, float]:
    """Return seconds of processor time since the machine started: not idle, and all."""
    times = psutil.cpu_times()
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # user's, too
    return total - times.idle - getattr(times, "iowait", 0.0), total
