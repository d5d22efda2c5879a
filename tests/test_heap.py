"""Freed memory goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from differnet.heap import give_back

HOLES = """
import numpy as np
from differnet.heap import give_back

def resident():
    return 4096 * int(open('/proc/self/statm').read().split()[1])

kept = [np.ones(1000) if i % 100 else np.ones(8) for i in range(20_000)]
full = resident()
kept = kept[::100]
holes = resident()
give_back()
print(full, holes, resident())
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not Path("/proc/self/statm").exists(),
    reason="only glibc on Linux hands pages back when asked",
)
def test_holes_between_small_tables_are_handed_back():
    run = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    full, holes, after = map(int, run.stdout.split())
    assert holes > full - 20e6  # the system has none of the 160 MB yet
    assert after < full - 120e6


def test_giving_back_works_everywhere(monkeypatch):
    import ctypes

    def missing(name):
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    give_back()
