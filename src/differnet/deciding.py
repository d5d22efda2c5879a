"""The commands that decide and show: calibrate, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from differnet import options
from differnet.console import bars, guarded
from differnet.telling import tell_calibration, tell_report


def calibrate(
    model: options.Model,
    good: Annotated[Path, typer.Argument(help="Folder of good images that it was not fitted to.")],
    target: Annotated[Path, typer.Option("--out", "-o", help="Model file to write.")],
    rate: options.Rate = None,
    confidence: options.Confidence = None,
    review_rate: options.ReviewRate = None,
    group_pattern: options.GroupPattern = None,
    group_table: options.GroupTable = None,
    group_column: options.GroupColumn = "group",
    defects: Annotated[
        Path | None,
        typer.Option(help="Folder of known defects, a subfolder a type: say how many would be found."),
    ] = None,
    weights: options.Weights = None,
    device: options.Device = "cpu",
    json: options.Json = False,
) -> None:
    """Set the threshold of a model anew from other good images, without training; what is not given stays.

    --confidence 0 and --review-rate 0 take them away. Known defects are counted, and never move the threshold.
    """
    with guarded():
        from differnet import groups
        from differnet.datasets import find_good
        from differnet.detector import DifferNet
        from differnet.images import find
        from differnet.storage import check_target

        check_target(target)
        known = [] if defects is None else find(defects)
        detector, paths = DifferNet.load(model, weights, device), find_good(good)
        names = groups.of_paths(paths, group_pattern, group_table, group_column)
        with bars() as progress:
            detector.calibrate(paths, rate, progress, None, confidence, review_rate, names)
            found = [] if defects is None else _recalls(detector, known, defects, progress)
        detector.save(target)
        tell_calibration(detector, target, found, json)


def report(
    model: options.Model,
    data: Annotated[Path, typer.Argument(help="Folder of images, or a labelled data set.")],
    target: Annotated[Path, typer.Option("--out", "-o", help="Page to write.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    layout: options.LayoutName = "auto",
    category: options.Category = None,
    split: options.Split = None,
    maps: Annotated[bool, typer.Option(help="Draw heat maps, which takes longer.")] = True,
    weights: options.Weights = None,
    device: options.Device = "cpu",
    json: options.Json = False,
) -> None:
    """Judge images and write one self-contained page: every verdict and picture, and what is promised."""
    with guarded():
        from differnet import datasets
        from differnet import report as pages
        from differnet.detector import DifferNet

        known = options.check_layout(layout)
        table, labelled = datasets.read_to_judge(data, known, category or (), split)
        detector = DifferNet.load(model, weights, device)
        with bars() as progress:
            found = pages.write(detector, table, labelled, target, maps, title, progress)
        tell_report(found, target, json)


def _recalls(detector: Any, paths: list[Path], root: Path, progress: Any) -> list[Any]:
    """Judge known defects; a type is the first folder below ``root``, or else the name of that itself."""
    from differnet.known import recalls

    kinds = [path.relative_to(root).parts[0] if path.parent != root else root.name for path in paths]
    verdicts = []
    for prediction in detector.predict_iter(paths):
        verdicts.append(prediction.verdict)
        progress("judging known defects", len(verdicts), len(paths))
    return recalls(kinds, verdicts, [str(path) for path in paths])
