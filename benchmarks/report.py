"""Pages of measurements: tables, a figure, and the machine they were made on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

PACKAGES = ("differnet", "torch", "openvino", "onnxruntime", "nncf", "numpy", "pillow", "anomalib")


def machine(commits: Collection[str] = ()) -> str:
    """Name the processor, the cores and the versions in one line; ``commits``: those measured, if not that of now."""
    model = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        names = [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    where = f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{where}; commit {', '.join(commits) or commit()}; {', '.join(versions)}"


def commit() -> str:
    """Name the commit that was measured; nothing is known outside a repository."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    here = Path(__file__).parent
    found = subprocess.run([git, "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def write_curves(
    out: Path, groups: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]], where: str
) -> None:
    """Write training.md and training.png from the runs of ``curves.py``."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Training: time to accuracy",
        "",
        "`python benchmarks/curves.py MTD_FOLDER SPLIT_FILE`: one flow a row, seed 0, on the 609 training tiles that",
        "are left when a fifth is held out. *Held-out loss* is eq. 4 a feature on those; *drawn* is how well defects",
        "that are drawn into 60 of them are told (mean AUROC over nine kinds; in brackets the best epoch, where",
        "training would end by itself). These and the time are what a setting may be chosen by. *AUROC* and *recall*",
        "without a false alarm on the test tiles: **for the record**. Before training *drawn* is "
        f"{_start(groups, 'drawn'):.3f} and the AUROC {_start(groups, 'auroc'):.4f}.",
        "Seconds of training alone, the features at hand, on a shared machine: compare within the page only.",
        "Unless a row says otherwise: stages 3 to 5, the largest of 2 x 2 parts, upright, 4 cached views, 10 epochs in",
        "one cycle to a rate of 1e-3, batches of 192 views, noise 0.5, 4 blocks of 3 hidden layers of 128, starting as",
        "a Gaussian.",
        "",
        "![curves](training.png)",
        "",
    ]
    for title, runs in groups.items():
        lines += [
            f"## {title.capitalize()}",
            "",
            "| setting | steps | seconds | held-out loss | drawn | AUROC | recall |",
        ]
        lines += ["|---|---|---|---|---|---|---|"]
        for change, run in runs:
            last, best = run["epochs"][-1], max(epoch["drawn"] for epoch in run["epochs"])
            name = ", ".join(f"{key} {value}" for key, value in change.items())
            lines.append(
                f"| {name} | {run['steps']} | {last['seconds']:.0f} | {last['held_out_loss']:.3f} | "
                f"{last['drawn']:.3f} ({best:.3f}) | {last['auroc']:.4f} | {last['recall']:.3f} |"
            )
        lines.append("")
    lines += [where, ""]
    (out / "training.md").write_text("\n".join(lines))
    _draw_curves(out / "training.png", groups)


def _start(groups: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]], name: str) -> float:
    """Return a figure of the usual setting before its first epoch."""
    value: float = groups["epochs"][1][1]["epochs"][0][name]
    return value


def _draw_curves(path: Path, groups: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]]) -> None:
    mpl.use("Agg")
    rows = (len(groups) + 2) // 3
    figure, axes = plt.subplots(rows, 3, figsize=(12, 3.1 * rows), constrained_layout=True)
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for axis, (title, runs) in zip(axes.flat, groups.items(), strict=False):
        for change, run in runs:
            seconds = [epoch["seconds"] for epoch in run["epochs"]]
            label = ", ".join(str(value) for value in change.values())
            axis.plot(seconds, [epoch["drawn"] for epoch in run["epochs"]], marker=".", label=label)
        axis.set(
            title=title, xlabel="seconds of training", ylabel="AUROC of drawn defects", ylim=(0.74, 0.84)
        )
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=90)
    plt.close(figure)
