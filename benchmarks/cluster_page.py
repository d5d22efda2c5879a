"""The page of what ``benchmarks/cluster.py`` measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CORE_HOUR = (
    0.045  # dollars, assumed: about a vCPU of a general machine on demand; spot machines take a third of it
)
REQUEST = 0.4e-6  # dollars a read request of an object store, assumed
SHARD_READ = 8 * 2**20  # bytes a request reads of a tar shard
ROW_BYTES = 50
_HEAD = """# The Ray engine, measured

Made by `python benchmarks/cluster.py page` from the figures of the commands below. What these mean for a million images
and more: [scale.md](../scale.md).
"""


def write_page(figures: Path, page: Path) -> None:
    """Write a section for every part that was measured."""
    text = [_HEAD]
    for name, tell in (
        ("equal", _equal), ("overhead", _overhead), ("kills", _kills), ("many", _many), ("nodes", _nodes), ("s3", _s3),
        ("overhead", _cost),
    ):  # fmt: skip
        file = figures / f"{name}.json"
        if not file.is_file():
            if tell is not _cost:
                text.append(f"## {name}\n\nNot measured yet.\n")
            continue
        found = json.loads(file.read_text())
        versions = ", ".join(f"{key} {value}" for key, value in found["machine"].items() if key != "cpu")
        text.append(f"{tell(found)}\n`{found['command']}`, on {found['machine']['cpu']}; {versions}.\n")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(text))


def _equal(found: dict[str, Any]) -> str:
    return (
        f"## Equal rows\n\n{found['images']:,} images scored by both engines: {found['different_rows']} rows differ, in "
        "any bit of any column. Wall time on a machine with other work, so no measure of speed: "
        f"{found['local_seconds']:.0f} s and {found['ray_seconds']:.0f} s.\n"
    )


def _overhead(found: dict[str, Any]) -> str:
    lines = [
        "## Overhead and memory\n",
        "| images | engine | seconds | images a second | memory at its peak, MB |",
        "|---|---|---|---|---|",
    ]
    for run in found["runs"]:
        lines.append(
            f"| {run['images']:,} | {run['engine']} | {run['seconds']:.1f} | {run['images_a_second']:.1f} "
            f"| {run['peak_megabytes']:.0f} |"
        )
    lines.append(
        f"\nRay takes {found['ratio']:.2f} times as long as the local engine at the larger number, starting and ending "
        f"included, and {found['memory_ratio']:.2f} times the memory that it takes at the smaller one. Memory is the "
        "proportional share of all its processes, looked at every 3 s. Wanted: at most 1.15 times the time and as much "
        f"memory; {'kept' if found['is_within_limits'] else '**not kept**'}.\n"
    )
    return "\n".join(lines)


def _kills(found: dict[str, Any]) -> str:
    return (
        f"## Kills\n\nIn {found['runs']} runs over {found['images_a_run']:,} images {found['worker_kills']} judging "
        f"actors and {found['driver_kills']} drivers were killed (SIGKILL) at random moments: {found['lost']} rows lost, "
        f"{found['doubled']} doubled, {found['changed']} tables that differ from the local engine's. Processes that a "
        f"killed driver left running for 30 s: {found['processes_left']}.\n"
    )


def _many(found: dict[str, Any]) -> str:
    lines = ["## One detector for every key\n", "| key | AUROC | pixel AUROC | failed |", "|---|---|---|---|"]
    for row in found["keys"]:
        figures = ["" if row[name] is None else f"{row[name]:.3f}" for name in ("image_auroc", "pixel_auroc")]
        lines.append(f"| {row['key']} | {figures[0]} | {figures[1]} | {row['error'] or ''} |")
    lines.append(f"\n{found['models']} models, {len(found['failed'])} failure, {found['seconds']:.0f} s.\n")
    return "\n".join(lines)


def _nodes(found: dict[str, Any]) -> str:
    return (
        f"## A node is lost\n\nA head and two nodes of one core, each processes of its own; {found['images']:,} images in "
        f"{found['parts']} parts. One node was killed, with {found['judging_actors_on_it']} judging actors, when "
        f"{found['parts_when_killed']} parts were there. {found['lost']} rows lost, {found['doubled']} doubled; started "
        f"again with `--resume` {found['resumed']} times.\n"
    )


def _s3(found: dict[str, Any]) -> str:
    return (
        f"## Object store\n\n{found['images']} images in moto's S3 server, {found['of_them_in_a_shard']} of them in a tar "
        f"shard, rows written there, credentials from the environment: {found['different_rows']} rows differ from those "
        f"of the files. {found['seconds']:.0f} s.\n"
    )


def _cost(found: dict[str, Any]) -> str:
    """Fit start and rate to the first run at each size, check them on the last, and say what large runs would cost."""
    ray = [run for run in found["runs"] if run["engine"] == "ray"]
    small, large, check = ray[0], ray[1], ray[-1]
    cores = found["cores"]
    each = (large["seconds"] - small["seconds"]) / (large["images"] - small["images"])
    start, rate = small["seconds"] - each * small["images"], 1 / (each * cores)
    predicted = start + each * check["images"]
    known = ""  # a fit through two runs says nothing of these two
    if check not in (small, large):
        known = f"For the last run that gives {predicted:.0f} s; {check['seconds']:.0f} s were measured. "
    size = found["bytes_an_image"]
    lines = [
        "## What it would cost\n",
        f"From the first run with Ray at each size: {start:.0f} s to start and end, and {rate:.1f} images a second and "
        f"core. {known}Images have "
        f"{size / 1000:.0f} kB on average; the model looks at {found['views']:.0f} view of each. Assumed: "
        f"{CORE_HOUR} dollars a core hour, {1e6 * REQUEST:.2g} dollars a million requests, traffic within a region free, "
        "and the assumptions of [scale.md](../scale.md#what-it-costs).\n",
        "| images | core hours | hours on 64 cores | on 1,024 cores | computing, $ | one object an image: requests, $ "
        "| shards: requests, $ | read, TB | network on 1,024 cores, GB/s | rows, GB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for count in (10**6, 10**8, 10**9):
        hours = count / rate / 3600
        lines.append(
            f"| {count:,} | {hours:,.0f} | {hours / 64 + start / 3600:,.1f} | {hours / 1024 + start / 3600:,.1f} "
            f"| {hours * CORE_HOUR:,.2f} | {count * REQUEST:,.2f} | {count * size / SHARD_READ * REQUEST:,.2f} "
            f"| {count * size / 1e12:,.2f} | {rate * 1024 * size / 1e9:.2f} | {count * ROW_BYTES / 1e9:.2f} |"
        )
    lines.append("")
    return "\n".join(lines)
