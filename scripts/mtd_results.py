"""Turn the output of ``differnet evaluate`` on magnetic tiles into docs/results/mtd.md.

Usage: python scripts/mtd_results.py OUT_FOLDER MINUTES_OF_THE_WHOLE_RUN
"""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from differnet.evaluation.metrics import auroc, recall_without_false_alarms

ROOT = Path(__file__).parent.parent
COMMAND = (
    "differnet evaluate mtd --preset single --layout mtd --split mtd_train_filenames.txt --seeds 3 "
    "--json --out results"
)


def development_half(is_defective: np.ndarray) -> np.ndarray:
    """Mark half of the defective and half of the good test tiles, drawn by seed 0."""
    rng = np.random.default_rng(0)
    chosen = np.zeros(len(is_defective), dtype=bool)
    for label in (True, False):
        indices = np.flatnonzero(is_defective == label)
        chosen[rng.permutation(indices)[: len(indices) // 2]] = True
    return chosen


def read_scores(path: Path) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Read scores and labels of each seed, in the order of the test set."""
    runs: dict[int, list[tuple[float, bool]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            runs.setdefault(int(row["seed"]), []).append((float(row["score"]), row["label"] != "good"))
    return {seed: (np.array([s for s, _ in r]), np.array([d for _, d in r])) for seed, r in runs.items()}


def table(runs: dict[int, tuple[np.ndarray, np.ndarray]]) -> list[str]:
    """One row a seed and one of means: AUROC and recall without a false alarm, whole and by half."""
    lines = [
        "| seed | AUROC, all | AUROC, other half | AUROC, development half "
        "| recall without a false alarm, all | other half |",
        "|---|---|---|---|---|---|",
    ]
    rows = []
    for scores, labels in runs.values():
        half = development_half(labels)
        rows.append(
            (
                auroc(scores, labels),
                auroc(scores[~half], labels[~half]),
                auroc(scores[half], labels[half]),
                recall_without_false_alarms(scores, labels),
                recall_without_false_alarms(scores[~half], labels[~half]),
            )
        )
    for name, row in [*zip(runs, rows, strict=True), ("**mean**", tuple(np.mean(rows, axis=0)))]:
        lines.append(f"| {name} | " + " | ".join(f"{value:.4f}" for value in row) + " |")
    return lines


def by_defect(path: Path) -> list[str]:
    """AUROC of each defect type against all good test tiles, mean over seeds."""
    values: dict[str, dict[int, list[float]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            values.setdefault(row["label"], {}).setdefault(int(row["seed"]), []).append(float(row["score"]))
    good = values.pop("good")
    lines = ["| defect | images | AUROC | recall without a false alarm |", "|---|---|---|---|"]
    for defect, seeds in sorted(values.items()):
        pairs = [
            (np.array(good[s] + seeds[s]), np.arange(len(good[s]) + len(seeds[s])) >= len(good[s]))
            for s in seeds
        ]
        area = np.mean([auroc(*pair) for pair in pairs])
        recall = np.mean([recall_without_false_alarms(*pair) for pair in pairs])
        lines.append(f"| {defect} | {len(next(iter(seeds.values())))} | {area:.4f} | {recall:.3f} |")
    return lines


def heat_maps(figures: dict[str, Any]) -> str:
    """Say how well heat maps find the masks, or that it was not measured."""
    if figures["pixel_auroc_mean"] is None:
        return "Not measured in this run; see [decisions](../decisions.md) for a part of the tiles."
    each = ", ".join(f"{value:.4f}" for value in figures["pixel_auroc"])
    return (
        f"Pixel AUROC over all test tiles by seed: {each} (mean {figures['pixel_auroc_mean']:.4f}), eq. 7 with the "
        f"defaults of the preset, {1000 * figures['map_seconds_per_image_mean']:.0f} ms an image. The pooled features "
        "were never fitted for localisation; see [limits](../limits.md)."
    )


def choices(figures: dict[str, Any]) -> str:
    """Say what was found out from good tiles, seed by seed."""
    pairs = zip(figures["seeds"], figures["choice"], strict=True)
    return "\n".join(f"- Seed {seed}: {choice['text']}." for seed, choice in pairs)


def main() -> None:
    """Write the page and copy the two pictures that show no data."""
    out, minutes = Path(sys.argv[1]), float(sys.argv[2])
    figures = json.loads((out / "evaluation.json").read_text())
    target = ROOT / "docs" / "results"
    target.mkdir(parents=True, exist_ok=True)
    for name in ("roc", "histogram"):
        shutil.copyfile(out / f"{name}.png", target / f"mtd-{name}.png")
    template = (ROOT / "scripts" / "mtd_results.template.md").read_text()
    text = template.format(
        command=COMMAND,
        n_train=figures["n_train"],
        n_good=figures["n_good"],
        n_defective=figures["n_defective"],
        table="\n".join(table(read_scores(out / "scores.csv"))),
        defects="\n".join(by_defect(out / "scores.csv")),
        maps=heat_maps(figures),
        choices=choices(figures),
        promised=figures["promised_false_alarm_rate_mean"],
        seen=figures["false_alarm_rate_mean"],
        seen_each=", ".join(f"{value:.1%}" for value in figures["false_alarm_rate"]),
        recall=figures["recall_mean"],
        fit=figures["fit_seconds"],
        score_ms=1000 * figures["score_seconds_per_image"],
        minutes=minutes / len(figures["seeds"]),
        cores=os.cpu_count(),
        machine=platform.machine(),
        versions=", ".join(f"{name} {version}" for name, version in figures["versions"].items()),
        config=json.dumps(figures["config"], indent=2),
    )
    (target / "mtd.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
