"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from differnet.runtime.memory import give_back, keep_large_tables_apart, trim

HOLES = """
import numpy as np
from differnet.runtime.memory import give_back

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


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
@pytest.mark.parametrize("call", [give_back, keep_large_tables_apart, trim])
def test_other_systems_are_left_alone(monkeypatch, call, error):
    """Windows says TypeError for a library of no name, macOS has the library without the function."""

    def missing(name):
        raise error("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    call()


FREED = """
import numpy as np
from differnet.runtime.memory import keep_large_tables_apart

def resident():
    return 4096 * int(open('/proc/self/statm').read().split()[1])

if {apart}:
    keep_large_tables_apart()
np.ones(2**22 - 4096)  # 32 MB: freed at once, which raises the limit of glibc
start = resident()
kept = [np.ones(2**20), np.ones(8)]
kept = [np.ones(2**20), np.ones(100), np.ones(2**20), np.ones(100), *kept]
kept = kept[1::2]
print(resident() - start)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not Path("/proc/self/statm").exists(),
    reason="only glibc on Linux learns to keep large blocks",
)
def test_large_tables_go_back_when_they_are_freed():
    held = {
        apart: int(subprocess.check_output([sys.executable, "-c", FREED.format(apart=apart)], text=True))
        for apart in (True, False)
    }
    assert held[True] < 4e6 < held[False]


AGAIN = """
import resource
import numpy as np
from differnet.runtime.memory import keep_large_tables_apart

keep_large_tables_apart()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    np.ones(3 * 2**17)  # 3 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these limits")
def test_smaller_tables_are_not_asked_for_anew_each_time():
    """One of 3 MB has 768 pages: 153,600 faults where each of them is new, 768 where the pages stay."""
    run = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 20_000
