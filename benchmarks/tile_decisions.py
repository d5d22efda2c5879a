"""What the promised false alarms find on magnetic tiles: recall at 1 % and 5 % by defect type, beside realised alarms.

Usage: python benchmarks/tile_decisions.py CACHE [--out docs/results]

CACHE: the folder that benchmarks/tile_scores.py filled. Thresholds come from the held-out training tiles alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from differnet.decision.thresholds import choose_threshold, share_interval
from differnet.errors import ConfigError
from report import machine

PROMISES = ((0.01, None), (0.05, None), (0.05, 0.95))


def verdicts(found: dict[str, Any], rate: float, confidence: float | None) -> tuple[float, list[bool]]:
    """Return what is promised, and whether each test tile is NG."""
    threshold = choose_threshold(np.array(found["held_out"]["score"]), rate, confidence)
    return threshold.promised, [score >= threshold.value for score in found["test"]["score"]]


def table(seeds: list[dict[str, Any]], rate: float, confidence: float | None) -> list[str]:
    """Return the table of one promise: a row a kind of tile, a column a seed, and all seeds together."""
    labels = seeds[0]["label"]
    assert all(found["label"] == labels for found in seeds)
    every = [verdicts(found, rate, confidence) for found in seeds]
    held = len(seeds[0]["held_out"]["score"])
    said = "on average over calibration sets" if confidence is None else f"with {confidence:.0%} confidence"
    lines = [
        f"## At most {rate:.0%} promised, {said}",
        "",
        f"{held} held-out tiles; the order statistic promises {100 * every[0][0]:.2g} %.",
        "",
        "| tiles | images | "
        + " | ".join(f"seed {found['seed']}" for found in seeds)
        + " | mean | 95 % interval |",
        "|---" * (len(seeds) + 4) + "|",
    ]
    kinds = [("good (false alarms)", "good"), *((kind, kind) for kind in sorted(set(labels) - {"good"}))]
    for name, kind in [*kinds, ("**all defects**", "")]:
        chosen = [label == kind or (not kind and label != "good") for label in labels]
        counts = [sum(flag for flag, c in zip(flags, chosen, strict=True) if c) for _, flags in every]
        total = sum(chosen)
        low, high = share_interval(round(float(np.mean(counts))), total)
        cells = " | ".join(f"{count} ({count / total:.1%})" for count in counts)
        mean = np.mean(counts) / total
        lines.append(f"| {name} | {total} | {cells} | {mean:.1%} | {low:.1%} to {high:.1%} |")
    return [*lines, ""]


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cache", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    files = sorted(options.cache.glob("seed-*.json"))
    if not files:
        raise ConfigError(f"{options.cache}: no seed-*.json; run benchmarks/tile_scores.py first")
    seeds = [json.loads(file.read_text()) for file in files]
    lines = [
        "# What promised false alarms find on magnetic tiles",
        "",
        "`python benchmarks/tile_scores.py MTD SPLIT CACHE`, then `python benchmarks/tile_decisions.py CACHE`. Preset",
        "`default` on the paper's split; a fifth of the 761 training tiles is held out and sets the threshold, the",
        f"test tiles choose nothing. {len(seeds)} seed(s): each draws which tiles are held out. NG of all test tiles;",
        "the interval (Clopper and Pearson) is that of the mean count, for the draw of the test tiles alone.",
        "",
    ]
    for rate, confidence in PROMISES:
        lines += table(seeds, rate, confidence)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "tile-decisions.md").write_text("\n".join([*lines, machine(), ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
