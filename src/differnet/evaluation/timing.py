"""Wall time, and how much of the machine others took meanwhile, so that times from a busy machine can be told."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import torch

_STAT = Path("/proc/stat")


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
        """Return the share of all processor time since the start that others took, 0..1, from ``/proc/stat``.

        What a hypervisor took away counts as others'. Nothing on systems without that file.
        """
        now = _busy_and_all()
        if self._all is None or now is None or now[1] <= self._all[1]:
            return None
        busy, total = now[0] - self._all[0], now[1] - self._all[1]
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


def _busy_and_all() -> tuple[float, float] | None:
    """Return seconds of processor time since the machine started: not idle, and all."""
    try:
        fields = _STAT.read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
