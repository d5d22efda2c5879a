"""A detector and its stations on a labelled data set: scores, verdicts, milliseconds and megabytes, in one run.

Usage: python benchmarks/station.py DATA [--split FILE] [--model MODEL] [--preset default] [--out docs/results]
       [--work benchmark-output/station] [--images N]

Fits a detector (or takes MODEL), exports it to ONNX Runtime and OpenVINO, checked on training images, and judges every
test image by all three, one at a time and decoded by each. The test images choose nothing. Fails when a score differs
by more than the bound of the export, or a verdict differs.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from differnet import DifferNet, Inspector, datasets, export
from differnet.metrics import auroc

PAGE = """# A station beside the detector it came from

{count} test images, {threads}. `python benchmarks/station.py DATA` wrote this page.

| what judges | largest difference of a score | other verdicts | AUROC | ms an image, median (p95) | MB |
|---|---|---|---|---|---|
{rows}

Heat maps of {maps} test images, station against detector: largest difference {heat} of the peak.
One image at a time, decoding included, no heat map. MB: of the folder, or of the model file, which has not the weights
of a backbone in floats.
"""


def judged(predict: Callable[[Any], Any], paths: list[Path]) -> tuple[list[Any], list[float]]:
    """Return predictions and milliseconds, after three images to warm up."""
    for path in paths[:3]:
        predict(path)
    found, times = [], []
    for path in paths:
        start = time.perf_counter()
        found.append(predict(path))
        times.append(1000 * (time.perf_counter() - start))
    return found, times


def row(name: str, found: list[Any], wanted: list[Any], times: list[float], size: float, labels: Any) -> str:
    """Compare with the detector's predictions; fails when they differ."""
    scores, right = (np.array([one.score for one in those]) for those in (found, wanted))
    largest = float(np.abs(scores / right - 1).max())
    others = sum(a.verdict != b.verdict for a, b in zip(found, wanted, strict=True))
    assert largest <= export.SCORE_BOUND, f"{name}: a score differs by {largest:.1e}"
    assert others == 0, f"{name}: {others} verdicts differ"
    p95 = statistics.quantiles(times, n=20)[-1]
    return (
        f"| {name} | {largest:.1e} | {others} | {auroc(scores, labels):.4f} | "
        f"{statistics.median(times):.1f} ({p95:.1f}) | {size:.1f} |"
    )


def folder_size(folder: Path) -> float:
    """Return megabytes."""
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def main() -> None:
    """Fit, export, judge, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", type=Path, default=None)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-output/station"))
    parser.add_argument("--images", type=int, default=None)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    data = datasets.read(options.data, "auto", (), options.split)[0]
    options.work.mkdir(parents=True, exist_ok=True)
    file = options.model or options.work / f"{options.preset}.safetensors"
    train = [sample.path for sample in data.train]
    if not file.exists():
        DifferNet(options.preset).fit(train).save(file)
    detector = DifferNet.load(file)
    test = data.test[: options.images]
    paths, labels = [one.path for one in test], np.array([one.is_defective for one in test])
    wanted, times = judged(detector.predict, paths)
    name = f"detector ({detector.describer.runtime.name}, {detector.model.precision})"
    rows = [row(name, wanted, wanted, times, file.stat().st_size / 1e6, labels)]
    int8, heat, maps = detector.model.precision == "int8", [], paths[:: max(1, len(paths) // 20)]
    for form in ("openvino",) if int8 else ("onnx", "openvino"):
        folder = options.work / f"{file.stem}-{form}"
        shutil.rmtree(folder, ignore_errors=True)
        print(form, export.export(detector, folder, form, int8, train[:20]), flush=True)
        inspector = Inspector(folder)
        found, times = judged(inspector.predict, paths)
        rows.append(
            row(f"station, {export.ENGINES[form]}", found, wanted, times, folder_size(folder), labels)
        )
        if inspector.station.maps:
            for path in maps:
                ours, theirs = detector.localize(path), inspector.localize(path)
                heat.append(float(np.abs(theirs - ours).max() / ours.max()))
    text = PAGE.format(
        count=len(paths),
        threads=f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}",
        rows="\n".join(rows),
        maps=len(maps) if heat else 0,
        heat=f"{max(heat):.1e}" if heat else "none",
    )
    (options.out / f"station-{options.preset}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
