"""Put versions of a model in place while clients send, and measure what a version on trial costs the one that judges.

Usage: python benchmarks/swaps.py FIRST SECOND IMAGES [--swaps 10] [--pairs 10] [--seconds 5] [--out FILE]

FIRST, SECOND: folders of `differnet export`, two versions of one model; IMAGES: a folder of images. An answer without
its row, a row that is not of the version that it names, or any error ends the benchmark with an error.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil

from differnet import Inspector
from differnet.data.images import find
from differnet.service.record.store import Store
from service import ROOT, Client, Load, check, multipart, press, serving

TEMPLATE = Path(__file__).with_name("swaps.template.md")
CLIENTS, LOADS, QUEUE, MOST = 8, (1, 8), 64, 60


@dataclass
class Pairs:
    """What came of a load without and with a trial, a pair a line."""

    clients: int
    rates: list[tuple[float, float]] = field(default_factory=list)
    medians: list[tuple[float, float]] = field(default_factory=list)
    slowest: list[tuple[float, float]] = field(default_factory=list)
    processor: list[tuple[float, float]] = field(default_factory=list)
    compared: int = 0
    not_judged: int = 0

    def add(self, without: Load, beside: Load) -> None:
        """Add a pair."""
        loads = without, beside
        self.rates.append(tuple(len(one.accepted) / one.seconds for one in loads))
        self.processor.append(tuple(1e3 * one.processor / len(one.accepted) for one in loads))
        for found, quantile in ((self.medians, 0.5), (self.slowest, 0.99)):
            found.append(tuple(1e3 * np.quantile(one.latencies, quantile) for one in loads))

    def row(self) -> str:
        """Return a line of the table."""
        cells = [str(self.clients)]
        measured = ((self.rates, 1), (self.medians, 0), (self.slowest, 0), (self.processor, 0))
        for found, digits in measured:
            without, beside = np.median(np.array(found), axis=0)
            low, middle, high = np.quantile([two / one for one, two in found], (0.25, 0.5, 0.75))
            cells += [
                f"{without:.{digits}f} / {beside:.{digits}f}",
                f"{middle:.3f} ({low:.3f} to {high:.3f})",
            ]
        return " | ".join(("| " + cells[0], *cells[1:], str(self.compared), f"{self.not_judged} |"))


def ask(address: str, method: str, path: str, body: object = None) -> object:
    """Ask the service something; ends the benchmark where that is refused."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=300)
    head = {"Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), head)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    check(answer.status == 200, f"{method} {path}: {answer.status} {found}")
    return found


def swap(address: str, bodies: list[bytes], swaps: int) -> tuple[Load, list[float]]:
    """Put one version and then the other in place while clients send; return the load and the seconds of each swap."""
    load, stop, taken = Load(CLIENTS), threading.Event(), []
    threads = [Client(address, bodies, load, stop, number) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for number in range(swaps):
        time.sleep(1.0)
        start = time.perf_counter()
        ask(address, "PUT", "/v1/models/part", {"folder": ("second", "first")[number % 2]})
        taken.append(time.perf_counter() - start)
    time.sleep(1.0)
    stop.set()
    for thread in threads:
        thread.join(90)
    return load, taken


def check_rows(
    load: Load, store: str, folder: Path, stations: list[Path], images: dict[bytes, Path]
) -> list[int]:
    """Compare the record with what was answered, and each row with what its version says; return rows by version."""
    check(load.other == load.broken == load.refused == 0, f"{load.other + load.broken + load.refused} errors")
    opened = Store.open(store, folder / "images")
    rows = {row.source_key: row for row in opened.after(0, limit=1_000_000)}
    opened.close()
    check({key: row.id for key, row in rows.items()} == load.accepted, "rows that are not the answers")
    inspectors = {one.station.digest: one for one in map(Inspector, stations)}
    wanted = {
        (digest, body): one.predict(path)
        for digest, one in inspectors.items()
        for body, path in images.items()
    }
    counts = dict.fromkeys(inspectors, 0)
    for key, row in rows.items():
        found = wanted[row.model_digest, load.sent[key]]
        is_so = np.isclose(row.score, found.score, rtol=1e-5) and row.threshold == found.threshold
        check(bool(is_so) and row.verdict == found.verdict, f"row {row.seq} is not of the version it names")
        counts[row.model_digest] += 1
    return list(counts.values())


@contextmanager
def trial(address: str, is_on: bool) -> Iterator[None]:
    """Have the second version on trial while the block runs."""
    if not is_on:
        yield
        return
    ask(address, "PUT", "/v1/models/part?as=shadow", {"folder": "second"})
    time.sleep(4.0)  # its process loads meanwhile
    yield
    found = ask(address, "GET", "/v1/models/part/versions")["trial"]
    check(found["broken"] is None and found["failed"] == 0, f"the trial failed: {found}")
    ask(address, "DELETE", "/v1/models/part/shadow")


def tried(address: str) -> int:
    """Return how many parts trials judged so far."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = re.search(r'differnet_trial_parts_total{model="part",outcome="judged"} ([\d.]+)', text)
    return int(float(found[1])) if found else 0


def measure(
    address: str, run: subprocess.Popen, bodies: list[bytes], count: int, seconds: float
) -> list[Pairs]:
    """Measure pairs of loads with and without a trial, in turns."""
    found = [Pairs(clients) for clients in LOADS]
    press(run, address, bodies, 2, 2.0)
    for number in range(count):
        loads: dict[bool, list[Load]] = {}
        for is_on in (False, True) if number % 2 else (True, False):
            with trial(address, is_on):
                loads[is_on] = [under(address, run, bodies, pairs, seconds, is_on) for pairs in found]
        for pairs, without, beside in zip(found, loads[False], loads[True], strict=True):
            pairs.add(without, beside)
            print(pairs.row(), flush=True)
    return found


def under(
    address: str, run: subprocess.Popen, bodies: list[bytes], pairs: Pairs, seconds: float, is_on: bool
) -> Load:
    """Measure one load, and count what a trial does meanwhile."""
    before = tried(address)
    load = press(run, address, bodies, pairs.clients, seconds)
    check(load.other == load.broken == load.refused == 0, "an error beside a trial")
    if is_on:
        time.sleep(2.0)
        judged = tried(address) - before
        pairs.compared += judged
        pairs.not_judged += len(load.accepted) - judged
    return load


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--swaps", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "swaps.md")
    arguments = parser.parse_args()
    images = {multipart(path): path for path in find(arguments.images)[:MOST]}
    bodies = list(images)
    busy = psutil.cpu_percent(3.0)
    with tempfile.TemporaryDirectory() as place:
        root, folder = Path(place) / "models", Path(place)
        for name in ("first", "second"):
            shutil.copytree(getattr(arguments, name), root / name)
        store, more = f"sqlite:///{folder / 'record.sqlite3'}", ("--models", str(root))
        with serving(root / "first", store, folder, QUEUE, 1, more) as (_, address):
            load, taken = swap(address, bodies, arguments.swaps)
        first, second = check_rows(load, store, folder, [root / "first", root / "second"], images)
        p50, p99, longest = 1e3 * np.quantile(load.latencies, (0.5, 0.99, 1))
        swap_row = f"| {len(load.accepted)} | 0 | {first} / {second} | {np.median(taken):.1f} s / {max(taken):.1f} s | "
        swap_row += f"{p50:.0f} / {p99:.0f} / {longest:.0f} ms |"
        print(swap_row, flush=True)
        store = f"sqlite:///{folder / 'trials.sqlite3'}"
        with serving(root / "first", store, folder, QUEUE, 1, more) as (run, address):
            found = measure(address, run, bodies, arguments.pairs, arguments.seconds)
    about = json.loads((arguments.first / "manifest.json").read_text())
    text = TEMPLATE.read_text(encoding="utf-8").format(
        swaps=arguments.swaps,
        clients=CLIENTS,
        swap_row=swap_row,
        trial_rows="\n".join(pairs.row() for pairs in found),
        pairs=arguments.pairs,
        seconds=arguments.seconds,
        engine=about["engine"],
        views=len(about["views"]),
        count=len(bodies),
        size=np.mean([len(body) for body in bodies]) / 1e3,
        cores=os.cpu_count(),
        busy=busy,
        python=platform.python_version(),
    )
    arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
