"""How time and memory of a fit and of scoring grow with the number of pictures.

Usage: python benchmarks/growth.py [--counts 100 1000 3000 10000] [--work benchmark-output/growth] [--out docs/results]

Draws so many different pictures of brushed metal, 256 x 256 pixels, and for each count fits the preset "default" to
them in a process of its own, then scores as many by that model in another. Time is that of the work alone, without the
start of the process; memory is the most that the system saw of it. Measurements that are there are not made again.
Writes growth.md and growth.png.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from report import commit, machine

SIDE = 256
PAGE = """# Cost as work grows

`python benchmarks/growth.py` wrote this page: pictures of {side} x {side} pixels, all different, preset "default".
Each figure was measured once, in a process of its own, {busy}.
Scoring is of as many pictures, by the model that was fitted to them. Memory is that of the command line, which hands
large tables back at once; a program that only calls the package takes some more. *A picture more*: what one costs
between this count and the one before it.

| pictures | fit, s | a picture more, ms | peak memory, MB | scoring, s | a picture more, ms | peak memory, MB |
|---|---|---|---|---|---|---|
{rows}

The straight line whose errors, as shares of the seconds, have the smallest sum of squares:

{lines}

Tables that are larger than 128 MB lie in files, so that a fit takes the most memory near 1,000 pictures.

![Seconds and megabytes by the number of pictures](growth.png)

## Where the time of a fit goes, in seconds

{stages}

The flow takes a least number of steps, so that few pictures cost as much there as 1,000.

{machine}
"""


def draw(folder: Path, count: int) -> list[Path]:
    """Write so many pictures, those that are not there yet, and return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:05}.png" for index in range(count)]
    for index, path in enumerate(paths):
        if path.exists():
            continue
        rng = np.random.default_rng(index)
        rows = rng.normal(0, 12, (SIDE, 1)) + rng.normal(0, 6, (SIDE, SIDE // 8)).repeat(8, 1)
        pixels = np.clip(128 + rows, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, compress_level=1)
    return paths


def fit(paths: list[Path], model: Path) -> dict[str, float]:
    """Fit, and return what it took, by stage."""
    from differnet import DifferNet

    started = time.perf_counter()
    detector = DifferNet("default", 0).fit(paths)
    seconds = time.perf_counter() - started
    detector.save(model)
    return {"seconds": seconds, **(detector.model.stage_seconds or {})}


def score(paths: list[Path], model: Path) -> dict[str, float]:
    """Score, and return what it took."""
    from differnet import DifferNet

    detector = DifferNet.load(model)
    detector.predict(paths[0])
    started = time.perf_counter()
    count = sum(1 for _ in detector.predict_iter(paths))
    assert count == len(paths)
    return {"seconds": time.perf_counter() - started}


WORK: dict[str, Callable[[list[Path], Path], dict[str, float]]] = {"fit": fit, "score": score}


def cell(kind: str, count: int, work: Path) -> None:
    """Do one measurement in this process, and print it."""
    from differnet.runtime.memory import keep_large_tables_apart

    keep_large_tables_apart()  # as the program does
    paths = [work / "pictures" / f"{index:05}.png" for index in range(count)]
    found = WORK[kind](paths, work / f"{count}.safetensors")
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"kind": kind, "count": count, "peak_bytes": peak, **found}))


def measure(counts: list[int], work: Path) -> list[dict[str, Any]]:
    """Make the measurements that are missing, and return all."""
    place = work / "growth.jsonl"
    done = [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []
    draw(work / "pictures", max(counts))
    for count in counts:
        for kind in WORK:
            if any((one["kind"], one["count"]) == (kind, count) for one in done):
                continue
            load = os.getloadavg()[0]
            command = [sys.executable, __file__, "--cell", kind, str(count), "--work", str(work)]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            done.append(json.loads(run.stdout.splitlines()[-1]) | {"load_before": load, "commit": commit()})
            with place.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
            print(done[-1], flush=True)
    return done


def nearest_line(ones: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the seconds of the start and of each picture, by the straight line with the smallest relative errors."""
    seconds = np.array([one["seconds"] for one in ones])
    slope, start = np.polyfit([one["count"] for one in ones], seconds, 1, w=1 / seconds)
    return float(start), float(slope)


def straightness(kind: str, ones: list[dict[str, Any]]) -> str:
    """Say how far the seconds lie from the nearest line, and how far apart the memory lies."""
    start, slope = nearest_line(ones)
    counts = np.array([one["count"] for one in ones])
    seconds = np.array([one["seconds"] for one in ones])
    off = np.abs((start + slope * counts) / seconds - 1).max()
    peaks = [one["peak_bytes"] / 1e6 for one in ones]
    return (
        f"- {kind}: {start:.1f} s and {1000 * slope:.1f} ms a picture, no count further from this line than {off:.1%}. "
        f"Memory from {min(peaks):.0f} to {max(peaks):.0f} MB; with {counts[-1]:,} pictures "
        f"{peaks[-1] / peaks[0] - 1:+.0%} beside {counts[0]:,}, the largest {max(peaks) / peaks[0] - 1:+.0%}."
    )


def stage_table(fits: list[dict[str, Any]]) -> str:
    """Return the seconds by stage, of each count in a column."""
    known = {"kind", "count", "peak_bytes", "seconds", "load_before", "commit"}
    counts = [f"{one['count']:,}" for one in fits]
    rows = [["pictures", *counts], ["---"] * (1 + len(fits))]
    for stage in (name for name in fits[-1] if name not in known):
        rows.append([stage, *(f"{one.get(stage, 0):.1f}" for one in fits)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write(found: list[dict[str, Any]], counts: list[int], out: Path) -> None:
    """Write the page and the plot."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    by = {(one["kind"], one["count"]): one for one in found}
    rows = []
    for before, count in zip([0, *counts], counts, strict=False):
        parts = [f"{count:,}"]
        for kind in WORK:
            one, other = by[kind, count], by.get((kind, before))
            more = (
                ""
                if other is None
                else f"{1000 * (one['seconds'] - other['seconds']) / (count - before):.1f}"
            )
            parts += [f"{one['seconds']:.1f}", more, f"{one['peak_bytes'] / 1e6:.0f}"]
        rows.append(f"| {' | '.join(parts)} |")
    lines = [straightness(kind, [by[kind, count] for count in counts]) for kind in WORK]
    busy = max(one["load_before"] for one in found)
    commits = dict.fromkeys(one["commit"] for one in found)
    page = PAGE.format(
        side=SIDE,
        rows="\n".join(rows),
        lines="\n".join(lines),
        machine=machine(commits),
        busy=f"on a machine whose load just before (that of the figure before included) was {busy:.1f} at most",
        stages=stage_table([by["fit", count] for count in counts]),
    )
    (out / "growth.md").write_text(page)
    figure, panes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    between = np.geomspace(counts[0], counts[-1], 100)
    for kind in WORK:
        start, slope = nearest_line([by[kind, n] for n in counts])
        points = panes[0].plot(counts, [by[kind, n]["seconds"] for n in counts], "o", label=kind)
        label = f"{start:.1f} s + {1000 * slope:.1f} ms a picture"
        panes[0].plot(between, start + slope * between, "--", color=points[0].get_color(), label=label)
        panes[1].plot(counts, [by[kind, n]["peak_bytes"] / 1e6 for n in counts], "o-", label=kind)
    for pane, what in zip(panes, ("seconds", "peak memory, MB"), strict=True):
        pane.set(xscale="log", xlabel="pictures", ylabel=what)
        pane.legend()
    panes[0].set_yscale("log")
    panes[1].set_ylim(0, 1.15 * max(one["peak_bytes"] for one in by.values()) / 1e6)
    figure.savefig(out / "growth.png", dpi=100)


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 3000, 10_000])
    parser.add_argument("--work", type=Path, default=Path("benchmark-output/growth"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        cell(options.cell[0], int(options.cell[1]), options.work)
        return
    counts = sorted(options.counts)
    write(measure(counts, options.work), counts, options.out)


if __name__ == "__main__":
    main()
