"""A studio as a process of its own, with settings whose fits are tiny, and pictures to choose."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import httpx
import psutil

from support.service_fixture import SETTINGS
from support.tiny import defective_image, good_image, save

BASE = "/v1/studio"
TINY_FITS = ["--weights", "random", "--seed", "1"]
for name, value in SETTINGS.items():
    TINY_FITS += ["--set", f"{name}={json.dumps(value)}"]


def write_pictures(root, good=60, bad=6):
    """Write drawn good pictures and defects with a square."""
    for i in range(good):
        save(root / "good" / f"part-{7 * i:03}.png", good_image(i))
    for i in range(bad):
        save(root / "bad" / "square" / f"square-{i}.png", defective_image(i)[0])
    return root


class Studio:
    """The questions that tests ask a studio."""

    def __init__(self, process, url, root, headers=None):
        self.process, self.url, self.root = process, url, root
        self.client = httpx.Client(base_url=url, timeout=60, headers=headers)

    def ask(self, method, path, **more):
        return self.client.request(method, f"{BASE}{path}", **more)

    def get(self, path, **more):
        return self.ask("GET", path, **more).raise_for_status().json()

    @property
    def state(self):
        return self.get("/state")

    def until(self, condition, seconds=120):
        """Wait until a condition of the state holds, and return that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.state
            if condition(state):
                return state
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {state}")

    def take(self, folder, kind="good"):
        self.ask("POST", "/folders", json={"path": str(folder), "kind": kind}).raise_for_status()
        return self.until(lambda state: not state["waiting"] and state["is_found"])

    def run(self, path, body=None):
        """Begin a job and wait until it has ended."""
        self.ask("POST", path, json=body).raise_for_status()
        return self.until(lambda state: state["job"]["outcome"] != "running")

    def computed(self):
        """Return the seconds that its processes have computed, those of jobs that ended too."""
        return sum(psutil.Process(self.process.pid).cpu_times()[:4])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def studio(root, *more, work=None, tiny=True, headers=None):
    """Run ``differnet studio`` for the folder ``root``; ``tiny``: its fits take seconds."""
    place, log = work or root / "work", root / "studio.log"
    command = [sys.executable, "-m", "differnet", "studio", "--port", "0", "--allow", str(root)]
    command += ["--work", str(place), *(TINY_FITS if tiny else []), *more]
    with log.open("ab") as file:
        start = file.tell()
        process = subprocess.Popen(command, stderr=file, cwd=root)
    try:
        yield Studio(process, said_address(log, start, process), root, headers)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def said_address(log, start, process, seconds=60):
    """Return the URL at which a studio says that it serves."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_bytes()[start:].decode().splitlines():
            if line.startswith("{") and "address" in (said := json.loads(line)):
                with suppress(httpx.TransportError):  # it may not listen yet
                    httpx.get(f"{said['address']}/health", timeout=30)
                    return said["address"]
        time.sleep(0.05)
    raise AssertionError(f"it did not start: {log.read_text()}")
