"""A soak: two services on one record, loaded at a share of what they can do, while everything around them fails.

Usage: python benchmarks/soak.py STATION IMAGES [--minutes 60] [--share 0.5] [--store postgres|sqlite] [--seed 1]
       [--every 20] [--out FILE]

STATION: a folder of `differnet export`; IMAGES: a folder of images. One of the services is killed, stopped and started
again; the other lives from the beginning to the end, and its memory is watched. Every part has a key and is sent again
under it, to the other service, until it is answered. Meanwhile, in turn and at random moments: kills (SIGKILL), stops
(SIGTERM), restarts and crashes of PostgreSQL, a record that somebody holds locked for longer than a sender waits, a
full disk (a small tmpfs, where one may be mounted), clients that stall in the head or the body of a request, that
leave before the answer, and other pictures under keys that were used.

At the end every part must have one row with the score and verdict that the inspector gives here, its picture must be
kept as it was sent, and the answers must be those of the rows; anything else ends the soak with an error.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import http.client
import json
import os
import platform
import queue
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from differnet import Inspector
from differnet.data.images import find
from differnet.service.record.store import Store

SENDERS, STALLED, TIMEOUT = 24, 20, 3.0
OUTAGE = 5.0  # seconds that a lock or a full disk lasts
TMPFS = 48 * 2**20
MOST = 40  # pictures
SETTLED = 300.0  # seconds after which memory is looked at first, or a third of a shorter soak


@dataclass
class Part:
    """One part to inspect: its key, which picture, when it is due, and how often it was sent."""

    key: str
    picture: int
    due: float
    sent: int = 0


@dataclass
class Tally:
    """What came of the soak so far; for all threads."""

    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    pictures: dict[str, int] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        """Count one."""
        with self.lock:
            self.seen[what] += 1


class Served:
    """A service as a process that can be killed and started again on its port."""

    def __init__(self, name: str, station: Path, store: str, images: Path, folder: Path) -> None:
        self.log, self.process = folder / f"{name}.log", None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.command = [
            sys.executable,
            "-m",
            "differnet",
            "--threads",
            "1",
            "serve",
            "--name",
            f"part={station}",
        ]
        self.command += [
            "--port",
            str(self.port),
            "--store",
            store,
            "--images",
            str(images),
            "--keep-images",
            "all",
        ]
        self.command += [
            "--workers",
            "1",
            "--queue",
            "32",
            "--timeout",
            f"{TIMEOUT:g}",
            "--log-level",
            "warning",
        ]
        self.command += ["--max-bytes", str(TMPFS // 4)]
        self.start()

    def start(self) -> None:
        """Start it; returns when it takes images."""
        end = time.monotonic() + 180
        while time.monotonic() < end:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(self.command, stderr=log)
            while self.process.poll() is None and time.monotonic() < end:
                if self.is_ready():
                    return
                time.sleep(0.2)
            time.sleep(1.0)  # the database was away
        raise SystemExit(f"{self.log}: the service did not start: {self.log.read_text()[-2000:]}")

    def is_ready(self) -> bool:
        """Whether it says so."""
        try:
            return ask(self.port, "GET", "/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def end(self, kill: bool) -> None:
        """Kill it, or stop it and wait."""
        (self.process.kill if kill else self.process.terminate)()
        self.process.wait(120)

    def memory(self) -> float:
        """Return how many MB of memory are its own."""
        with suppress(psutil.Error):
            return psutil.Process(self.process.pid).memory_full_info().uss / 2**20
        return float("nan")


def ask(
    port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict, bytes]:
    """Send a request; return status, headers and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(
            method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def inspect(port: int, content: bytes, key: str) -> tuple[int, dict, bytes]:
    """Have a picture inspected."""
    head = b'--part\r\nContent-Disposition: form-data; name="image"; filename="part"\r\n\r\n'
    body, kind = head + content + b"\r\n--part--\r\n", "multipart/form-data; boundary=part"
    return ask(port, "POST", "/v1/models/part/inspect", body, Content_Type=kind, Idempotency_Key=key)


class Sender(threading.Thread):
    """Sends parts until each is answered, to the one service and the other in turn."""

    def __init__(
        self, parts: queue.Queue[Part | None], ports: list[int], contents: list[bytes], tally: Tally
    ) -> None:
        super().__init__(daemon=True)
        self.parts, self.ports, self.contents, self.tally = parts, ports, contents, tally

    def run(self) -> None:
        """Send until there is nothing more."""
        while (part := self.parts.get()) is not None:
            self.tally.pictures[part.key] = part.picture
            while not self.send(part):
                time.sleep(0.2)

    def send(self, part: Part) -> bool:
        """Send a part once; return whether that is answered for good."""
        start, port = time.monotonic(), self.ports[(part.picture + part.sent) % len(self.ports)]
        part.sent += 1
        try:
            status, headers, body = inspect(port, self.contents[part.picture], part.key)
        except (OSError, http.client.HTTPException):
            self.tally.count("cut off")
            return False
        self.tally.count(f"{status}")
        if status == 503 and b"will be recorded" in body:
            self.tally.count("promised")
        if status not in (200, 422):
            return False
        found = json.loads(body)
        row = found if status == 200 else found["inspection"]
        if headers.get("idempotent-replayed"):
            self.tally.count("replayed")
        with self.tally.lock:
            self.tally.latencies.append(time.monotonic() - start)
            self.tally.answers[part.key] = status, row["id"]
        return True


class Troubles:
    """What goes wrong, one thing after the other."""

    def __init__(
        self, served: Served, steady: Served, record: Record, disk: Path | None, tally: Tally
    ) -> None:
        self.served, self.steady, self.record, self.disk, self.tally = served, steady, record, disk, tally
        self.kinds: list[Callable[[], None]] = [self.kill, self.stop, self.reuse_keys, self.leave, self.lock]
        if record.has_server:
            self.kinds += [self.restart_database, self.crash_database]
        if disk is not None:
            self.kinds.append(self.fill_disk)

    def kill(self) -> None:
        """Kill a service and start it again."""
        self.served.end(kill=True)
        self.served.start()

    def stop(self) -> None:
        """Stop a service and start it again."""
        self.served.end(kill=False)
        self.served.start()

    def restart_database(self) -> None:
        """Restart PostgreSQL as an administrator does."""
        self.record.control("restart", "-m", "fast")

    def crash_database(self) -> None:
        """End PostgreSQL as a power cut does, and start it a little later."""
        self.record.control("stop", "-m", "immediate")
        time.sleep(2.0)
        self.record.control("start")

    def lock(self) -> None:
        """Hold the record for longer than a sender waits."""
        with suppress(Exception), self.record.held():
            time.sleep(TIMEOUT + OUTAGE)

    def fill_disk(self) -> None:
        """Leave no room for images."""
        filler = self.disk / "filler"
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(2**16))
        time.sleep(OUTAGE)
        filler.unlink()

    def reuse_keys(self) -> None:
        """Send another picture under keys that were used: refused each time."""
        with self.tally.lock:
            used = list(self.tally.answers)[-5:]
        for key in used:
            other = b"another picture " + os.urandom(8)
            with suppress(OSError, http.client.HTTPException):
                status, _, body = inspect(self.steady.port, other, key)
                if status == 422 and b"another picture" in body:
                    self.tally.count("keys refused")
                elif status < 500 and status != 429:
                    self.tally.wrong.append(f"{key}: another picture was answered {status}: {body[:200]!r}")

    def leave(self) -> None:
        """Send requests and leave before the answer."""
        for _ in range(5):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.steady.port), 5) as client:
                client.sendall(b"GET /v1/inspections?limit=999 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.tally.count("left")

    def stall(self, over: threading.Event) -> None:
        """Keep connections that send nothing, half a head, or a body a byte at a time."""
        head = b"POST /v1/models/part/inspect HTTP/1.1\r\nHost: localhost\r\n"
        begun = (
            b"",
            head,
            head + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n--x",
        )
        clients: list[socket.socket] = []
        while not over.wait(0.5):
            while len(clients) < STALLED:
                with suppress(OSError):
                    client = socket.create_connection(("127.0.0.1", self.steady.port), 5)
                    clients.append(client)
                    client.sendall(begun[len(clients) % 3])
                    self.tally.count("stalled")
            for client in list(clients):
                try:
                    client.sendall(b"y")
                except OSError:
                    clients.remove(client)
                    client.close()
        for client in clients:
            client.close()


class Record:
    """The database: a throw-away cluster of PostgreSQL, or a file of SQLite."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.has_server, self.data, self.folder = kind == "postgres", folder / "data", folder
        self.url = f"sqlite:///{folder / 'record.sqlite3'}"
        if self.has_server:
            self.owner = "postgres" if os.getuid() == 0 else getpass.getuser()
            home = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
            if os.getuid() == 0:
                shutil.chown(home, self.owner)
            self.data, self.folder = home / "data", home
            self._call("initdb", "-D", self.data, "-U", self.owner, "-A", "trust", "-E", "UTF8", "--no-sync")
            self.control("start")
            self.url = f"postgresql+psycopg://{self.owner}@/postgres?host={home}"

    def control(self, what: str, *options: str) -> None:
        """Start, stop or restart the server."""
        settings = f"-k {self.folder} -c listen_addresses='' -c fsync=on"
        self._call(
            "pg_ctl",
            "-D",
            self.data,
            "-l",
            self.folder / "log",
            "-w",
            "-t",
            "60",
            "-o",
            settings,
            *options,
            what,
        )

    def _call(self, name: str, *arguments: object) -> None:
        before = ["runuser", "-u", self.owner, "--"] if os.getuid() == 0 else []
        program = shutil.which(name) or str(sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[-1])
        command = [*before, program, *map(str, arguments)]
        subprocess.run(command, check=True, timeout=180, stdout=subprocess.DEVNULL, cwd="/")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the turn to write."""
        store = Store.open(self.url, self.folder / "none")
        try:
            with store.writing():
                yield
        finally:
            store.close()

    def close(self) -> None:
        """Remove it."""
        if self.has_server:
            self.control("stop", "-m", "immediate")
            shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def small_disk(place: Path) -> Iterator[Path | None]:
    """Mount a small tmpfs at a place; nothing where that is not allowed."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS}", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    try:
        yield place if done else None
    finally:
        if done:
            subprocess.run(["umount", str(place)], check=False)  # noqa: S607


def capacity(ports: list[int], contents: list[bytes], seconds: float) -> float:
    """Return how many inspections a second the services do."""
    tally, over = Tally(), threading.Event()

    def press(number: int) -> None:
        count = 0
        while not over.is_set():
            key = f"warm/{number}/{count}"
            Sender(queue.Queue(), ports, contents, tally).send(
                Part(key, (number + count) % len(contents), 0.0)
            )
            count += 1

    threads = [threading.Thread(target=press, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    over.set()
    for thread in threads:
        thread.join()
    return len(tally.answers) / seconds


@dataclass
class Soak:
    """What is measured while it lasts."""

    rate: float
    began: float
    settled: float
    memory: list[tuple[float, float]] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    slipped: float = 0.0


def last(
    soak: Soak,
    seconds: float,
    every: float,
    parts: queue.Queue,
    pictures: int,
    troubles: Troubles,
    rng: random.Random,
) -> None:
    """Send parts at their rate, and let things go wrong, for so many seconds."""
    over = threading.Event()
    stalling = threading.Thread(target=troubles.stall, args=(over,), daemon=True)
    stalling.start()

    def trouble() -> None:
        kinds: list[Callable[[], None]] = []
        while not over.wait(rng.uniform(0.5, 1.5) * every):
            kinds = kinds or rng.sample(troubles.kinds, len(troubles.kinds))
            kind = kinds.pop()
            soak.troubles[kind.__name__] += 1
            kind()

    def remember() -> None:
        while not over.wait(5.0):
            soak.memory.append((time.monotonic() - soak.began, troubles.steady.memory()))

    threads = [threading.Thread(target=work) for work in (trouble, remember)]
    for thread in threads:
        thread.start()
    number = 0
    while (due := number / soak.rate) < seconds:
        wait = soak.began + due - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        parts.put(Part(f"soak/{number}", rng.randrange(pictures), due))
        soak.slipped = max(soak.slipped, parts.qsize() / soak.rate)
        number += 1
    over.set()
    for thread in threads:
        thread.join()


def judge(record: Record, images: Path, tally: Tally, contents: list[bytes], wanted: list) -> dict[str, int]:
    """Compare the record with what was sent and answered; return what is not as it must be."""
    found, rows, after = Counter(lost=0, doubled=0, wrong=len(tally.wrong), files=0), [], 0
    store = Store.open(record.url, images)
    while page := store.after(after):
        rows += page
        after = page[-1].seq
    by_key = {row.source_key: row for row in rows}
    found["rows"] = sum((row.source_key or "").startswith("soak/") for row in rows)
    found["doubled"] = len(rows) - len(by_key.keys() - {None})  # also rows without a key: faults of the model
    for key, picture in tally.pictures.items():
        row, answer = by_key.get(key), tally.answers.get(key)
        if row is None or answer is None or answer[1] != row.id:
            found["lost"] += 1
            print(f"lost: {key}: row {row and row.id}, answer {answer}", flush=True)
            continue
        score, verdict = wanted[picture]
        same = row.verdict == verdict and row.image_digest == hashlib.sha256(contents[picture]).hexdigest()
        same &= (row.score is None) == (score is None) and (
            score is None or np.isclose(row.score, score, rtol=1e-6)
        )
        if not same or answer[0] != (422 if score is None else 200):
            found["wrong"] += 1
            print(f"wrong: {key}: {row.verdict} {row.score} where {verdict} {score} was wanted", flush=True)
        if row.image is not None:
            path = store.kept.path(row.image)
            found["files"] += not path.is_file() or path.read_bytes() != contents[picture]
    store.close()
    for line in tally.wrong:
        print(f"wrong: {line}", flush=True)
    return dict(found)


def expected(station: Path, paths: list[Path]) -> list[tuple[float | None, str]]:
    """Return score and verdict of each picture; the last is no picture."""
    inspector = Inspector(station, threads=1)
    judged = [inspector.predict(path) for path in paths]
    return [(one.score, one.verdict) for one in judged] + [(None, "error")]


PAGE = """# The soak

`python benchmarks/soak.py STATION IMAGES --minutes {minutes:g} --share {share:g} --store {store}` wrote this page:
two services on one record, of which one is killed and started again, at {rate:.1f} inspections a second,
{share:.0%} of what both did before. A station of {views} view(s) in {engine}, {pictures} pictures of {size:.0f} kB;
{cores} cores, shared with other work; Python {python}.

| | |
|---|---|
| parts sent, rows | {sent}, {rows} |
| rows lost, doubled, wrong verdicts, kept files missing or other | {lost}, {doubled}, {wrong}, {files} |
| what went wrong meanwhile | {troubles} |
| answers | {answers} |
| seconds to the answer, p50, p99, longest that a part waited to be sent | {p50:.2f}, {p99:.2f}, {slipped:.1f} |
| MB of the service that lived on: after {settled:.0f} s, at the end, ratio | {before:.0f}, {after:.0f}, {ratio:.2f} |
| MB at each tenth of the time | {tenths} |
"""


def main() -> None:
    """Soak, compare, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("station", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--store", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--every", type=float, default=20.0, help="Seconds between two troubles, on average.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    paths = find(arguments.images)[:MOST]
    contents, wanted = (
        [path.read_bytes() for path in paths] + [b"no picture"],
        expected(arguments.station, paths),
    )
    tally, seconds = Tally(), 60 * arguments.minutes
    with tempfile.TemporaryDirectory(prefix="soak-") as place, small_disk(Path(place, "disk")) as disk:
        folder = Path(place)
        record, images = Record(arguments.store, folder), (disk or folder) / "images"
        try:
            two = [
                Served(name, arguments.station, record.url, images, folder) for name in ("steady", "killed")
            ]
            ports = [one.port for one in two]
            rate = arguments.share * capacity(ports, contents, 15.0)
            soak = Soak(rate, time.monotonic(), min(SETTLED, seconds / 3))
            print(f"{rate:.1f} a second for {arguments.minutes:g} minutes", flush=True)
            parts: queue.Queue[Part | None] = queue.Queue()
            senders = [Sender(parts, ports, contents, tally) for _ in range(SENDERS)]
            for sender in senders:
                sender.start()
            troubles = Troubles(two[1], two[0], record, disk, tally)
            rng = random.Random(arguments.seed)  # noqa: S311
            last(soak, seconds, arguments.every, parts, len(contents), troubles, rng)
            for _ in senders:
                parts.put(None)
            for sender in senders:
                sender.join(300)
            soak.memory.append((time.monotonic() - soak.began, two[0].memory()))
            for one in two:
                one.end(kill=False)
            found = judge(record, images, tally, contents, wanted)
            shutil.copy(two[0].log, Path(tempfile.gettempdir(), "soak-steady.log"))
        finally:
            for one in two:
                if one.process.poll() is None:
                    one.process.kill()
            record.close()
    report(arguments, soak, tally, found)


def report(arguments: argparse.Namespace, soak: Soak, tally: Tally, found: dict[str, int]) -> None:
    """Print the page and write it; ends with an error when something was lost, doubled or wrong, or memory grew."""
    before = next((mb for at, mb in soak.memory if at >= soak.settled), soak.memory[0][1])
    after = soak.memory[-1][1]
    p50, p99 = np.quantile(tally.latencies, (0.5, 0.99))
    at = np.linspace(0, len(soak.memory) - 1, 11).round().astype(int)
    tenths = ", ".join(f"{soak.memory[index][1]:.0f}" for index in at)
    shown = {what: ", ".join(f"{name} {n}" for name, n in sorted(some.items()))
             for what, some in (("troubles", soak.troubles), ("answers", tally.seen))}  # fmt: skip
    about = json.loads((arguments.station / "manifest.json").read_text())
    sizes = [path.stat().st_size for path in find(arguments.images)[:MOST]]
    text = PAGE.format(
        minutes=arguments.minutes, share=arguments.share, store=arguments.store, rate=soak.rate, cores=os.cpu_count(),
        python=platform.python_version(), sent=len(tally.pictures), **found, **shown, p50=p50, p99=p99,
        slipped=soak.slipped, views=len(about["views"]), engine=about["engine"], pictures=len(sizes),
        size=np.mean(sizes) / 1e3, tenths=tenths,
        settled=soak.settled, before=before, after=after, ratio=after / before,
    )  # fmt: skip
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")
    bad = {name: found[name] for name in ("lost", "doubled", "wrong", "files") if found[name]}
    if found["rows"] != len(tally.pictures):
        bad["rows"] = found["rows"]
    if after / before > 1.1:
        bad["memory"] = round(after / before, 2)
    if bad:
        raise SystemExit(f"NOT KEPT: {bad}")


if __name__ == "__main__":
    main()
