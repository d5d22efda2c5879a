"""Load the service on this machine: throughput and latency, refusals beyond its capacity, and a kill in the middle.

Usage: python benchmarks/service.py STATION IMAGES [--seconds 15] [--threads 1] [--stores sqlite postgres]
       [--requests 100] [--out FILE]

STATION: a folder of `differnet export`; IMAGES: a folder of images. Starts `differnet serve` as a process and sends it
images from threads of this one, each over a connection of its own that stays open, the next as soon as the last was
answered. After each load it compares the record with what was answered: an answer without its row, or a row too many,
ends the benchmark with an error. Records are a file of SQLite and a cluster of PostgreSQL, both made for it and thrown
away. `--requests`: how many requests schemathesis makes up for each operation of /openapi.json afterwards.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil

from differnet.data.images import find
from differnet.service.record.store import Store
from soak import Record

ROOT = Path(__file__).parent.parent
TEMPLATE = Path(__file__).with_name("service.template.md")
LOADS = (1, 8, 64)
QUEUE, SMALL_QUEUE, WORKERS, MOST = 64, 8, 2, 64
STORES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
CHECKS = (  # all but that valid requests are accepted: bytes that are no image are valid, too, and refused
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,"
    "allow_header_conformance,ignored_auth"
)


@dataclass
class Load:
    """What came of one load: seconds of accepted requests, ids and bodies by keys, refusals, broken connections."""

    clients: int
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    sent: dict[str, bytes] = field(default_factory=dict)
    refused: int = 0
    without_hint: int = 0
    other: int = 0
    broken: int = 0
    processor: float = 0.0

    def row(self, name: str) -> str:
        """Return a line of the table."""
        p50, p99 = (1e3 * np.quantile(self.latencies, q) for q in (0.5, 0.99))
        count = len(self.accepted)
        figures = (
            f"{count / self.seconds:.1f}",
            f"{p50:.0f}",
            f"{p99:.0f}",
            f"{1e3 * self.processor / count:.0f}",
        )
        return " | ".join(("| " + name, str(self.clients), *figures, str(count), f"{self.refused} |"))


class Client(threading.Thread):
    """Sends images over one connection until told to stop."""

    def __init__(
        self, address: str, bodies: list[bytes], load: Load, stop: threading.Event, number: int
    ) -> None:
        super().__init__(daemon=True)
        self.address, self.bodies, self.load, self.stop, self.number = address, bodies, load, stop, number

    def run(self) -> None:
        """Send."""
        host = urlsplit(self.address).netloc
        connection = http.client.HTTPConnection(host, timeout=60)
        count = self.number
        while not self.stop.is_set():
            key, body = uuid.uuid4().hex, self.bodies[count % len(self.bodies)]
            self.load.sent[key] = body
            start = time.perf_counter()
            try:
                status, headers, answer = post(connection, body, key)
            except (OSError, http.client.HTTPException):
                self.load.broken += 1
                connection.close()
                self.stop.wait(0.05)
                continue
            count += 1
            if status == 200:
                self.load.latencies.append(time.perf_counter() - start)
                self.load.accepted[key] = json.loads(answer)["id"]
            elif status == 429:
                self.load.refused += 1
                self.load.without_hint += not headers.get("Retry-After", "").isdecimal()
                self.stop.wait(0.05)  # a second or more is asked for; this one is impatient
            else:
                self.load.other += 1
        connection.close()


def post(
    connection: http.client.HTTPConnection, body: bytes, key: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send a body that :func:`multipart` made."""
    head = {"Content-Type": "multipart/form-data; boundary=part", "Idempotency-Key": key}
    connection.request("POST", "/v1/models/part/inspect", body, head)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def multipart(path: Path) -> bytes:
    """Return the body of a form with one file."""
    head = f'--part\r\nContent-Disposition: form-data; name="image"; filename="{path.name}"\r\n\r\n'
    return head.encode() + path.read_bytes() + b"\r\n--part--\r\n"


@contextmanager
def serving(
    station: Path, store: str, folder: Path, queue: int, threads: int, more: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen, str]]:
    """Run the service; yields the process and its URL. ``more``: further options."""
    command = [
        sys.executable,
        "-m",
        "differnet",
        "--threads",
        str(threads),
        "serve",
        "--name",
        f"part={station}",
    ]
    command += ["--port", "0", "--store", store, "--images", str(folder / "images"), "--queue", str(queue)]
    command += ["--workers", str(WORKERS), "--log-level", "warning", *more]
    log = folder / "log.txt"
    with log.open("wb") as file:
        run = subprocess.Popen(command, stderr=file)
    try:
        end = time.monotonic() + 120
        address = ""
        while not address and time.monotonic() < end and run.poll() is None:
            lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
            address = next((line["address"] for line in lines if "address" in line), "")
            time.sleep(0.05)
        until_ready(address, end)
        yield run, address
    finally:
        run.terminate()
        run.wait(60)


def until_ready(address: str, end: float) -> None:
    """Wait until the service takes images."""
    while time.monotonic() < end:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=5)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise SystemExit("the service did not become ready")


def press(
    run: subprocess.Popen, address: str, bodies: list[bytes], clients: int, seconds: float, kill: bool = False
) -> Load:
    """Load the service for some seconds; ``kill``: kill it then, while all are sending."""
    load, stop = Load(clients), threading.Event()
    threads = [Client(address, bodies, load, stop, number) for number in range(clients)]
    start, used = time.perf_counter(), processor(run)
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    if kill:
        run.kill()
        run.wait(30)
    stop.set()
    for thread in threads:
        thread.join(90)
    load.seconds = time.perf_counter() - start
    load.processor = 0.0 if kill else processor(run) - used
    return load


def processor(run: subprocess.Popen) -> float:
    """Return the seconds of processor time that the service took so far."""
    times = psutil.Process(run.pid).cpu_times()
    return times.user + times.system


def recorded(store: str, folder: Path) -> dict[str, str]:
    """Return the ids of the record by their keys."""
    opened = Store.open(store, folder / "images")
    rows, last = {}, 0
    while found := opened.after(last):
        rows |= {row.source_key: row.id for row in found}
        last = found[-1].seq
    opened.close()
    return rows


def check(is_so: bool, what: str) -> None:
    """End the benchmark when something was lost."""
    if not is_so:
        raise SystemExit(f"LOST: {what}")


def measure(
    arguments: argparse.Namespace, folder: Path, bodies: list[bytes], kind: str, store: str
) -> list[str]:
    """Run all loads on a record; return lines of the table, and last what came of the kill."""
    lines, answered = [], {}
    with serving(arguments.station, store, folder, QUEUE, arguments.threads) as (run, address):
        press(run, address, bodies, 2, 2.0)
        for clients in LOADS:
            load = press(run, address, bodies, clients, arguments.seconds)
            answered |= load.accepted
            check(load.other == 0 and load.broken == 0, f"{load.other} other answers, {load.broken} broken")
            rows = recorded(store, folder)
            check(answered.items() <= rows.items(), "an answer without its row")
            check(load.sent.keys() & rows.keys() == load.accepted.keys(), "a row without its answer")
            lines.append(load.row(f"{kind}, queue of {QUEUE}"))
            print(lines[-1], flush=True)
    with serving(arguments.station, store, folder, SMALL_QUEUE, arguments.threads) as (run, address):
        load = press(run, address, bodies, MOST, arguments.seconds)
        rows = recorded(store, folder)
        check(load.refused > 0 and load.without_hint == 0, "no refusal, or one without Retry-After")
        check(load.other == 0 and load.broken == 0, f"{load.other} other answers, {load.broken} broken")
        check(
            load.sent.keys() & rows.keys() == load.accepted.keys(),
            "rows that are not those answered with 200",
        )
        lines.append(load.row(f"{kind}, queue of {SMALL_QUEUE}"))
        print(lines[-1], flush=True)
    with serving(arguments.station, store, folder, QUEUE, arguments.threads) as (run, address):
        load = press(run, address, bodies, 8, arguments.seconds, kill=True)
    rows = recorded(store, folder)
    unanswered = (load.sent.keys() & rows.keys()) - load.accepted.keys()
    check(
        {k: rows.get(k) for k in load.accepted} == load.accepted, "an answer without its row after the kill"
    )
    check(len(unanswered) <= 8, "more rows without an answer than requests were under way")
    with serving(arguments.station, store, folder, QUEUE, arguments.threads) as (_, address):
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
        again = sorted(load.sent.keys() - load.accepted.keys())
        found = [post(connection, load.sent[key], key)[0] for key in again]
        connection.close()
    after = recorded(store, folder)
    check(set(found) <= {200}, "a part that was sent again was refused")
    check(
        load.sent.keys() <= after.keys() and len(after) == len(rows) + len(load.sent.keys() - rows.keys()),
        "parts recorded twice",
    )
    lines.append(
        f"Killed (SIGKILL) under 8 clients, the record in {kind}: {len(load.accepted)} had been answered, all of them "
        f"were in the record after the restart, and {len(unanswered)} more whose answer was under way. The "
        f"{len(again)} parts without an answer were sent again under their keys: each is in the record once."
    )
    print(lines[-1], flush=True)
    return lines


def made_up(arguments: argparse.Namespace, folder: Path, body: bytes) -> str:
    """Have schemathesis ask what /openapi.json allows and forbids; return what came of it."""
    with serving(arguments.station, f"sqlite:///{folder / 'asked.sqlite3'}", folder, QUEUE, 1) as (
        _,
        address,
    ):
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
        check(post(connection, body, "first")[0] == 200, "a part was refused")
        connection.close()
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{address}/openapi.json"]
        command += ["--checks", CHECKS, "--max-examples", str(arguments.requests), "--seed", "1"]
        command += ["--exclude-path", "/events", "--phases", "examples,coverage,fuzzing", "--no-color"]
        run = subprocess.run(
            [*command, "--request-timeout", "60"], capture_output=True, text=True, cwd=folder
        )
    print(run.stdout[-1500:], flush=True)
    check(run.returncode == 0, f"schemathesis found a fault: {run.stdout[-5000:]}")
    cases = re.search(r"([\d,]+) generated", run.stdout)
    operations = re.search(r"Tested: ([\d,]+)", run.stdout)
    return (
        f"schemathesis made up {cases[1] if cases else '?'} requests for {operations[1] if operations else '?'} "
        "operations of `/openapi.json`, valid and not: no answer was a fault of the server, of a status or form that "
        "is not described there, or let through what is not allowed."
    )


def run_all(arguments: argparse.Namespace, bodies: list[bytes]) -> tuple[list[str], list[str]]:
    """Run everything; return the lines of the table and what else there is to say."""
    table, rest = [], []
    with tempfile.TemporaryDirectory() as place:
        for store in arguments.stores:
            folder = Path(place, store)
            folder.mkdir()
            record = Record(store, folder)
            try:
                *lines, said = measure(arguments, folder, bodies, STORES[store], record.url)
            finally:
                record.close()
            table += lines
            rest.append(said)
        if arguments.requests:
            rest.append(made_up(arguments, Path(place), bodies[0]))
    return table, rest


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("station", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stores", nargs="+", choices=list(STORES), default=list(STORES))
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "service.md")
    arguments = parser.parse_args()
    paths = [path for path in find(arguments.images) if path.suffix != ".png"][:200] or find(
        arguments.images
    )[:200]
    bodies = [multipart(path) for path in paths]
    busy = psutil.cpu_percent(3.0)
    table, rest = run_all(arguments, bodies)
    about = json.loads((arguments.station / "manifest.json").read_text())
    arguments.out.write_text(
        TEMPLATE.read_text(encoding="utf-8").format(
            table="\n".join(table),
            rest="\n\n".join(rest),
            seconds=arguments.seconds,
            engine=about["engine"],
            views=len(about["views"]),
            threads=arguments.threads,
            busy=busy,
            cores=os.cpu_count(),
            python=platform.python_version(),
            count=len(bodies),
            size=np.mean([len(body) for body in bodies]) / 1e3,
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
