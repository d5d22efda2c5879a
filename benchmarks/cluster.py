"""Measure the Ray engine against the local one: equal rows, overhead, memory, kills, many fits, nodes, S3.

    python benchmarks/cluster.py equal MODEL TILES
    python benchmarks/cluster.py overhead MODEL TILES [--images 2000 20000 --pairs 2]     # on a quiet machine
    python benchmarks/cluster.py kills MODEL TILES [--workers 20 --drivers 5]
    python benchmarks/cluster.py nodes MODEL TILES
    python benchmarks/cluster.py s3 MODEL TILES
    python benchmarks/cluster.py many
    python benchmarks/cluster.py page                                           # docs/results/cluster.md

TILES is a folder of images. Both engines run as a user runs them, each a process of its own that may use all cores.
Every part asserts what it shows and exits with an error where that does not hold; its figures go to
``build/cluster/NAME.json``, of which ``page`` makes the page.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cluster_page import write_page

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "build" / "cluster"
LIMIT = 1.15
FLAT = 1.15  # memory at the most images over memory at the fewest
Rows = list[dict[str, Any]]


def main() -> None:
    """Run the part that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("equal", "overhead", "kills", "nodes", "s3", "many", "page"))
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("tiles", nargs="?", type=Path)
    parser.add_argument("--images", type=int, nargs=2, default=(2000, 20000))
    parser.add_argument("--pairs", type=int, default=2, help="runs of each engine at the larger number")
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--drivers", type=int, default=5)
    parser.add_argument("--part", type=int, default=64)
    options = parser.parse_args()
    if options.what == "page":
        write_page(RESULTS, ROOT / "docs" / "results" / "cluster.md")
        return
    work = {"equal": equal, "overhead": overhead, "kills": kills, "nodes": nodes, "s3": s3, "many": many}
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        figures = work[options.what](options, Path(folder))
    figures |= {"machine": machine(), "command": " ".join(["python", *map(_short, sys.argv)])}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{options.what}.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def equal(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Compare the rows of both engines, bit for bit."""
    ray = finished(ray_command(options.model, options.tiles, folder / "ray", 128))
    here = finished(local_command(options.model, options.tiles, folder / "rows.jsonl"))
    wanted, found = local_rows(folder / "rows.jsonl"), ray_rows(folder / "ray")
    assert found == wanted, f"{sum(a != b for a, b in zip(found, wanted, strict=False))} rows differ"
    return {
        "images": len(wanted),
        "different_rows": 0,
        "local_seconds": here.seconds,
        "ray_seconds": ray.seconds,
    }


def overhead(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Time both engines one after the other, so many times in turn at the larger number, and measure memory."""
    runs: list[dict[str, Any]] = []
    fewest, most = options.images
    turns = ["local", "ray", "ray", "local"] * options.pairs
    for number, (images, engine) in enumerate(
        [(fewest, "local"), (fewest, "ray"), *((most, engine) for engine in turns[: 2 * options.pairs])]
    ):
        tiles = repeated(options.tiles, folder / f"tiles{images}", images)
        out = folder / f"rows{number}"
        command = (
            local_command(options.model, tiles, out.with_suffix(".jsonl"))
            if engine == "local"
            else ray_command(options.model, tiles, out, 1024)
        )
        run = finished(command)
        rows = local_rows(out.with_suffix(".jsonl")) if engine == "local" else ray_rows(out)
        assert [row["path"] for row in rows] == sorted(map(str, tiles.iterdir()))
        runs.append(
            {"engine": engine, "images": images, **vars(run), "images_a_second": images / run.seconds}
        )
        print(runs[-1], flush=True)
    seconds = {
        e: sum(r["seconds"] for r in runs if (r["engine"], r["images"]) == (e, most)) / options.pairs
        for e in ("local", "ray")
    }
    memory = {
        n: max(r["peak_megabytes"] for r in runs if r["engine"] == "ray" and r["images"] == n)
        for n in (fewest, most)
    }
    found = {
        "runs": runs,
        "ratio": seconds["ray"] / seconds["local"],
        "memory_ratio": memory[most] / memory[fewest],
    }
    files = [path.stat().st_size for path in options.tiles.iterdir()]
    found |= {"cores": os.cpu_count(), "bytes_an_image": sum(files) / len(files), "views": rows[0]["views"]}
    found["is_within_limits"] = found["ratio"] <= LIMIT and found["memory_ratio"] <= FLAT
    return found


def kills(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill judging actors, then drivers, at random; every table must be that of the local engine."""
    finished(local_command(options.model, options.tiles, folder / "rows.jsonl"))
    wanted, draws = local_rows(folder / "rows.jsonl"), random.Random(0)  # noqa: S311
    found: Counter[str] = Counter(
        worker_kills=0, driver_kills=0, runs=0, lost=0, doubled=0, changed=0, processes_left=0
    )
    for what, count in (("worker_kills", options.workers), ("driver_kills", options.drivers)):
        while found[what] < count:
            out = folder / f"{what}-{found['runs']}"
            while _killed_run(options, out, what, count, found, draws):
                pass
            found["runs"] += 1
            rows = ray_rows(out)
            places = Counter(row["path"] for row in rows)
            found["lost"] += sum(row["path"] not in places for row in wanted)
            found["doubled"] += sum(n - 1 for n in places.values())
            found["changed"] += rows != wanted
            print(dict(found), flush=True)
    assert found["lost"] + found["doubled"] + found["changed"] == 0, found
    return {**found, "images_a_run": len(wanted)}


def _killed_run(
    options: argparse.Namespace, out: Path, what: str, count: int, found: Counter[str], draws: random.Random
) -> bool:
    """Run once with ``--resume``, killing meanwhile; whether it was the driver that was killed."""
    run = started(ray_command(options.model, options.tiles, out, options.part, "--resume"))
    before, end = len(list(out.glob("part-*"))) if out.exists() else 0, time.monotonic() + 1200
    while run.poll() is None and time.monotonic() < end:
        time.sleep(draws.uniform(0.2, 4))
        victims = below(run.pid, b"Judges")
        if found[what] >= count or not victims:
            continue
        is_driver = what == "driver_kills"
        if is_driver and len(list(out.glob("part-*"))) <= before:
            continue  # so that every run gets on
        children = below(run.pid)
        with suppress(ProcessLookupError):
            os.kill(run.pid if is_driver else draws.choice(victims), signal.SIGKILL)
            found[what] += 1
        if is_driver:
            run.wait()
            found["processes_left"] += wait_until_gone(children)
            return True
    assert run.wait(600) in (0, 3), run.returncode
    return False


def nodes(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run on a head and two worker nodes, each processes of its own, and kill one node half-way."""
    finished(local_command(options.model, options.tiles, folder / "rows.jsonl"))
    wanted = local_rows(folder / "rows.jsonl")
    with cluster_of_three() as (address, workers):
        command = ray_command(
            options.model, options.tiles, folder / "rows", options.part, "--address", address
        )
        run = started([*command, "--actors", "2"])
        half = -(-len(wanted) // options.part) // 2
        while len(list((folder / "rows").glob("part-*"))) < half and run.poll() is None:
            time.sleep(0.1)
        assert run.poll() is None, "it ended before the node was killed"
        there = len(list((folder / "rows").glob("part-*")))
        victims = [workers[0].pid, *below(workers[0].pid)]
        judges = len(below(workers[0].pid, b"Judges"))
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        code = run.wait(1500)
        resumed = 0
        while code not in (0, 3) and resumed < 3:
            resumed += 1
            code = finished([*command, "--actors", "2", "--resume"]).code
    rows = ray_rows(folder / "rows")
    assert rows == wanted
    parts = {"parts": half * 2, "parts_when_killed": there, "judging_actors_on_it": judges}
    return {**parts, "images": len(rows), "lost": 0, "doubled": 0, "resumed": resumed}


@contextmanager
def cluster_of_three() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Start a head without cores for work and two nodes of one core, and end them all."""
    from ray.util import get_node_ip_address

    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # it listens everywhere
    port = free_port()
    head = _ray_start("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
    processes = [head]
    try:
        time.sleep(15)
        for _ in range(2):
            processes.append(_ray_start(f"--address={get_node_ip_address()}:{port}", "--num-cpus=1"))
            time.sleep(10)
        yield f"{get_node_ip_address()}:{port}", processes[1:]
    finally:
        for one in processes:
            for pid in [*below(one.pid), one.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        for one in processes:
            one.wait(60)


def _ray_start(*arguments: str) -> subprocess.Popen[bytes]:
    program = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
    common = [
        "--object-store-memory=200000000",
        "--disable-usage-stats",
        "--block",
    ]
    command = [sys.executable, "-c", program, "start", *arguments, *common]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def s3(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Read tiles from an object store and write rows to it; the store is moto's server, in a process of its own."""
    import tarfile

    sys.path.insert(0, str(ROOT / "src"))
    port = free_port()
    names = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    os.environ.update(names)
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        import urllib.request

        time.sleep(10)
        request = urllib.request.Request(f"{names['AWS_ENDPOINT_URL']}/tiles", method="PUT")  # noqa: S310
        urllib.request.urlopen(request, timeout=20).close()  # noqa: S310
        from differnet.batch.cluster import locations

        files = sorted(options.tiles.iterdir())[:300]
        for file in files[:150]:
            locations.write(f"s3://tiles/raw/{file.name}", file.read_bytes())
        with tarfile.open(folder / "shard.tar", "w", dereference=True) as tar:
            for file in files[150:]:
                tar.add(file, file.name)
        locations.write("s3://tiles/shards/shard-0.tar", (folder / "shard.tar").read_bytes())
        command = ray_command(options.model, Path("-"), Path("-"), 64)
        command[command.index("-")] = "s3://tiles/raw"
        command[command.index("-")] = "s3://tiles/rows"
        command.insert(command.index("s3://tiles/raw"), "s3://tiles/shards")
        run = finished(command)
        assert run.code == 0
        for name in locations.names_in("s3://tiles/rows"):
            (folder / name).write_bytes(locations.read(f"s3://tiles/rows/{name}"))
    finally:
        server.terminate()
        server.wait(20)
    subset = folder / "subset"
    subset.mkdir()
    for file in files:
        (subset / file.name).symlink_to(file.resolve())
    finished(local_command(options.model, subset, folder / "rows.jsonl"))
    wanted = {Path(row["path"]).name: {**row, "path": None} for row in local_rows(folder / "rows.jsonl")}
    rows = {
        row["path"].rpartition("/")[2].rpartition("::")[2]: {**row, "path": None} for row in ray_rows(folder)
    }
    assert rows == wanted
    return {
        "images": len(rows),
        "of_them_in_a_shard": len(files) - 150,
        "different_rows": 0,
        "seconds": run.seconds,
    }


def many(_: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Fit a detector for each of twelve keys, the demo's textures drawn by three seeds, one of them poisoned."""
    sys.path.insert(0, str(ROOT / "src"))
    from differnet.evaluation.demo import write_demo_data

    lines = ["key,path,split,label,mask,group"]
    for seed in range(3):
        for name in write_demo_data(folder / f"set{seed}", seed):
            lines += _lines(
                folder, f"set{seed}/{name}", f"{name} {seed}", is_poisoned=(name, seed) == ("moon", 2)
            )
    table = folder / "table.csv"
    table.write_text("\n".join(lines) + "\n")
    command = differnet(
        "fit-many", str(table), "--out", str(folder / "out"), "--engine", "ray", "--preset", "fast"
    )
    run = finished(command)
    document = json.loads((folder / "out" / "summary.json").read_text())
    models = sorted((folder / "out" / "models").glob("*.safetensors"))
    assert (run.code, len(models), document["failed"]) == (3, 11, ["moon 2"]), document
    keys = [
        {k: v for k, v in row.items() if k in ("key", "image_auroc", "pixel_auroc", "error")}
        for row in document["keys"]
    ]
    for row in keys:
        row["error"] = row["error"] and row["error"].replace(str(folder) + "/", "")
    return {"keys": keys, "models": len(models), "failed": document["failed"], "seconds": run.seconds}


def _lines(root: Path, below_root: str, key: str, is_poisoned: bool) -> list[str]:
    found = []
    for path in sorted((root / below_root).rglob("*.png")):
        relative = path.relative_to(root)
        _, _, split, defect, name = relative.parts
        if split == "ground_truth":
            continue
        if is_poisoned and split == "train":
            path.write_bytes(b"poison")
        mask = "" if defect == "good" else f"{below_root}/ground_truth/{defect}/{path.stem}_mask.png"
        label, group = (
            "good" if defect == "good" else "defective",
            name.split("-")[0] if split == "train" else "",
        )
        found.append(f"{key},{relative},{split},{label},{mask},{group}")
    return found


class Finished:
    """What a process came to; ``peak_megabytes``: of it and all below it, what they share counted once."""

    def __init__(self, code: int, seconds: float, peak: float) -> None:
        self.code, self.seconds, self.peak_megabytes = code, seconds, peak


def differnet(*arguments: str) -> list[str]:
    """Return the command line of differnet."""
    return [sys.executable, "-m", "differnet", *arguments]


def local_command(model: Path, tiles: Path, out: Path) -> list[str]:
    """Return how the local engine is run."""
    return differnet("score", str(model), str(tiles), "--out", str(out), "--on-error", "skip")


def ray_command(model: Path, tiles: Path, out: Path, part: int, *more: str) -> list[str]:
    """Return how the Ray engine is run."""
    return differnet(
        "score", str(model), str(tiles), "--engine", "ray", "--out", str(out), "--part", str(part), *more
    )


def environment() -> dict[str, str]:
    """Return an environment in which the sources are found, with no limit of threads."""
    names = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    return names | {"PYTHONPATH": str(ROOT / "src"), "RAY_USAGE_STATS_ENABLED": "0"}


def started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a process that says nothing."""
    return subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finished(command: Sequence[str]) -> Finished:
    """Run a process to its end, and look at its memory every few seconds."""
    begun, peak, over = time.perf_counter(), [0.0], threading.Event()
    run = started(command)

    def look() -> None:
        while not over.wait(3):
            peak[0] = max(peak[0], sum(map(_share_of_memory, [run.pid, *below(run.pid)])))

    watch = threading.Thread(target=look)
    watch.start()
    code = run.wait()
    seconds = time.perf_counter() - begun
    over.set()
    watch.join()
    assert code in (0, 3), f"{' '.join(command)} ended with {code}"
    return Finished(code, seconds, peak[0])


def _share_of_memory(pid: int) -> float:
    """Return the proportional share of memory of a process in megabytes; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def below(pid: int, title: bytes = b"") -> list[int]:
    """Return the processes below one, those with ``title`` in their command line."""
    parents, titles = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, titles[int(place.name)] = (place / "stat").read_text(), (place / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(place.name)] = int(state.rpartition(")")[2].split()[1])
    found = []
    for one in parents:
        above, at = set(), one
        while at in parents and at not in above:
            above.add(at)
            at = parents[at]
        if one != pid and pid in above and title in titles.get(one, b""):
            found.append(one)
    return found


def wait_until_gone(processes: Sequence[int]) -> int:
    """Wait 30 s until what a killed driver left has ended by itself; end the rest and return how many that were."""
    for _ in range(150):
        left = [pid for pid in processes if b"\0" in _title(pid)]
        if not left:
            return 0
        time.sleep(0.2)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(left)


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def free_port() -> int:
    """Return a port that nobody listens on."""
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def repeated(tiles: Path, folder: Path, count: int) -> Path:
    """Fill a folder with ``count`` links to the tiles, again and again."""
    if not folder.exists():
        folder.mkdir()
        files = sorted(tiles.iterdir())
        for index in range(count):
            file = files[index % len(files)]
            (folder / f"{index:06}-{file.name}").symlink_to(file.resolve())
    return folder


def local_rows(file: Path) -> Rows:
    """Return the rows of a table of the local engine."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def ray_rows(folder: Path) -> Rows:
    """Return the rows of all parts, in order."""
    from pyarrow import parquet

    return [
        row for file in sorted(folder.glob("part-*.parquet")) for row in parquet.read_table(file).to_pylist()
    ]


def machine() -> dict[str, str]:
    """Say where this was measured, and with what."""
    import importlib.metadata as metadata
    import platform

    names = ("differnet", "ray", "pyarrow", "openvino", "torch")
    model = next(
        (
            x.partition(":")[2].strip()
            for x in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in x
        ),
        "",
    )
    return {"cpu": f"{model}, {os.cpu_count()} cores", "python": platform.python_version()} | {
        name: metadata.version(name) for name in names
    }


def _short(word: str) -> str:
    return Path(word).name if word.startswith("/") else word


if __name__ == "__main__":
    main()
