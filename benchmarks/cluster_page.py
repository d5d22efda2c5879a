"""The page of what ``benchmarks/cluster.py`` measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_HEAD = """# The Ray engine, measured

Made by `python benchmarks/cluster.py page` from the figures of the commands below. What these mean for a million images
and more: [scale.md](../scale.md).
"""


def write_page(figures: Path, page: Path) -> None:
    """Write a section for every part that was measured."""
    text = [_HEAD]
    for name, tell in (
        ("equal", _equal), ("overhead", _overhead), ("kills", _kills), ("many", _many), ("nodes", _nodes), ("s3", _s3),
    ):  # fmt: skip
        file = figures / f"{name}.json"
        if not file.is_file():
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
        "proportional share of all its processes, looked at every 3 s.\n"
    )
    return "\n".join(lines)


def _kills(found: dict[str, Any]) -> str:
    return (
        f"## Kills\n\nIn {found['runs']} runs over {found['images_a_run']:,} images {found['worker_kills']} judging "
        f"actors and {found['driver_kills']} drivers were killed (SIGKILL) at random moments: {found['lost']} rows lost, "
        f"{found['doubled']} doubled, {found['changed']} tables that differ from the local engine's. Processes that a "
        f"killed driver left running: {found['processes_left']}.\n"
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
