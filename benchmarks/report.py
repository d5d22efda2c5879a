"""Pages of measurements: tables, a figure, and the machine they were made on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

PACKAGES = ("differnet", "torch", "openvino", "onnxruntime", "nncf", "numpy", "pillow", "anomalib")


def machine() -> str:
    """Name the processor, the cores and the versions in one line."""
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
    return f"{where}; commit {_commit()}; {', '.join(versions)}"


def _commit() -> str:
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
        "are left when a fifth is held out. *Held-out loss* is eq. 4 a feature on those; it and the time are what a",
        "setting may be chosen by. *AUROC* and *recall* without a false alarm on the test tiles: **for the record**.",
        "Seconds of training alone, the features at hand, on a shared machine: compare within the page only.",
        "Unless a row says otherwise: 32 cached views, 10 epochs in one cycle to a rate of 1e-3, batches of 192 views,",
        "8 blocks of 3 hidden layers of 256; features of the backbone in 8-bit integers.",
        "",
        "![curves](training.png)",
        "",
    ]
    for title, runs in groups.items():
        lines += [
            f"## {title.capitalize()}",
            "",
            "| setting | steps | seconds | held-out loss, last (best) | AUROC | recall |",
        ]
        lines += ["|---|---|---|---|---|---|"]
        for change, run in runs:
            last, best = run["epochs"][-1], min(epoch["held_out_loss"] for epoch in run["epochs"])
            name = ", ".join(f"{key} {value}" for key, value in change.items())
            lines.append(
                f"| {name} | {run['steps']} | {last['seconds']:.0f} | {last['held_out_loss']:.3f} ({best:.3f}) | "
                f"{last['auroc']:.4f} | {last['recall']:.3f} |"
            )
        lines.append("")
    lines += [where, ""]
    (out / "training.md").write_text("\n".join(lines))
    _draw_curves(out / "training.png", groups)


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
            axis.plot(seconds, [epoch["held_out_loss"] for epoch in run["epochs"]], marker=".", label=label)
        axis.set(
            title=title, xlabel="seconds of training", ylabel="held-out loss", xlim=(0, 90), ylim=(-0.4, 0.4)
        )
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=90)
    plt.close(figure)
