"""The command ``report``: one page of everything that was judged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from differnet.cli import options
from differnet.cli.console import bars, guarded, out, print_json
from differnet.errors import counted


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
            found = pages.write(detector, table, labelled, target, maps=maps, title=title, progress=progress)
        tell_report(found, target, json)


def tell_report(found: Any, page: Path, json: bool) -> None:
    """Say how many of each verdict there were, what was found of known defects, and what to open."""
    alarms = found.alarms
    if json:
        document: dict[str, Any] = {"report": str(page), "counts": found.counts, "seen": found.seen}
        document["false_alarm_rate"] = None if alarms is None else alarms.value
        document["known_defects"] = [one.to_dict() for one in found.known]
        print_json({**document, "image_auroc": found.auroc})
        return
    out.print(", ".join(f"{count} {name}" for name, count in sorted(found.counts.items())))
    if alarms is not None:
        out.print(f"False alarms: {alarms.count} of {counted(alarms.total, 'good image')}.")
    tell_known(found.known)
    out.print(f"Open {page}", markup=False)


def tell_known(known: Iterable[Any]) -> None:
    """Say how many of each type of defect are found, and name those that are missed."""
    for one in known:
        out.print(f"Known defects, {one}.", markup=False)
        for name in one.missed if one.defect != "all defects" else ():
            out.print(f"  missed: {name}", markup=False)
