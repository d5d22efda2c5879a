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
    confidence: options.Confidence = 0.95,
    marginal: Annotated[
        bool, typer.Option("--marginal", help="Promise the rate on average alone: fewer images will do.")
    ] = False,
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
    """Set the threshold of a model anew from other good images, without training.

    Too few images for the confidence are refused, unless --marginal asks for a promise on average. A rate or review
    rate that is not given stays; --review-rate 0 takes that away. Known defects never move the threshold.
    """
    with guarded():
        from differnet.data import groups
        from differnet.data.datasets import find_good
        from differnet.data.files import check_target
        from differnet.data.images import find
        from differnet.detector.detector import DifferNet

        check_target(target)
        known = [] if defects is None else find(defects)
        kinds = [] if defects is None else _kinds(known, defects)
        sure = None if marginal else confidence
        detector, paths = DifferNet.load(model, weights, device), find_good(good)
        names = groups.of_paths(paths, group_pattern, group_table, group_column, good)
        with bars() as progress:
            detector.calibrate(paths, rate, progress, None, sure, review_rate, names)
        detector.save(target)
        found: list[Any] = []
        try:
            with bars() as progress:
                found = [] if defects is None else _recalls(detector, known, kinds, progress)
        finally:  # the threshold does not depend on the known defects, so it is kept and told if one cannot be read
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
        from differnet.data import datasets
        from differnet.detector.detector import DifferNet
        from differnet.evaluation.report import page as pages

        known = options.check_layout(layout)
        table, labelled = datasets.read_to_judge(data, known, category or (), split)
        detector = DifferNet.load(model, weights, device)
        with bars() as progress:
            found = pages.write(detector, table, labelled, target, maps, title, progress)
        tell_report(found, target, json)


def _kinds(paths: list[Path], root: Path) -> list[str]:
    """Return the type of each defect: the first folder below ``root``, or else the name of the folder it lies in."""
    from differnet.data.samples import GOOD
    from differnet.errors import ConfigError

    kinds = []
    for path in paths:
        inner = path.relative_to(root).parts
        kinds.append(inner[0] if len(inner) > 1 else path.resolve().parent.name)
    if GOOD in kinds:
        raise ConfigError(
            f"--defects {root}: has images in a folder {GOOD!r}; a folder of defects alone was wanted"
        )
    return kinds


def _recalls(detector: Any, paths: list[Path], kinds: list[str], progress: Any) -> list[Any]:
    from differnet.evaluation.recall import recalls

    verdicts = []
    for prediction in detector.predict_iter(paths):
        verdicts.append(prediction.verdict)
        progress("judging known defects", len(verdicts), len(paths))
    return recalls(kinds, verdicts, [str(path) for path in paths])
