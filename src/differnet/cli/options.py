"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from differnet.data.datasets import Layout

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Preset = Annotated[
    str, typer.Option(help="Settings to start from: default, fast, thorough, turned or paper.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Maps = Annotated[bool, typer.Option(help="Compute pixel AUROC and AUPRO where masks exist.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Replace one setting, e.g. epochs=20; repeatable."),
]
Weights = Annotated[
    str | None, typer.Option(help="File of backbone weights (.pth or .safetensors), for use offline.")
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")]
GroupPattern = Annotated[
    str | None,
    typer.Option(
        help="Regular expression over paths below the folder; images with equal matches belong together (same part)."
    ),
]
GroupTable = Annotated[
    Path | None, typer.Option(help="CSV table with the columns path and group, instead of a pattern.")
]
GroupColumn = Annotated[str, typer.Option(help="Column of --group-table that says what belongs together.")]
Rate = Annotated[float | None, typer.Option(help="False-alarm rate wanted (fit: 0.01).")]
Confidence = Annotated[
    float | None,
    typer.Option(help="Promise the rate with this confidence, e.g. 0.95, instead of on average."),
]
ReviewRate = Annotated[
    float | None,
    typer.Option(help="A higher false-alarm rate, from whose threshold on a person should look."),
]
Model = Annotated[Path, typer.Argument(help="Model file.")]
ModelPlace = Annotated[str, typer.Argument(help="Model file; with --engine ray also a URI.")]
LayoutName = Annotated[
    str,
    typer.Option(
        help="auto, folder, table, mvtec, mvtec-ad2, mvtec-3d, btad, visa, mtd or elpv (auto tells them apart)."
    ),
]
Category = Annotated[list[str] | None, typer.Option(help="Category, such as bottle, 01 or mono; repeatable.")]
Split = Annotated[Path | None, typer.Option(help="File naming the training images (mtd).")]
Shots = Annotated[int | None, typer.Option(min=1, help="Train on this many random images.")]
Engine = Annotated[str, typer.Option(help="Where to work: local, or ray, on a cluster (docs/scale.md).")]
Address = Annotated[
    str | None,
    typer.Option(
        help="With --engine ray: auto, or HOST:PORT of a cluster; if not given, Ray on this machine alone."
    ),
]
Inputs = Annotated[
    list[str],
    typer.Argument(help="Images or folders; with --engine ray also s3:// and such, .tar and .parquet."),
]
Rows = Annotated[
    str | None,
    typer.Option("--out", "-o", help="Write rows to .csv or .jsonl; with --engine ray a folder or URI."),
]
OnError = Annotated[
    str | None,
    typer.Option(
        help="An image that cannot be judged: fail (the default), or skip with a row that says why (always with "
        "--engine ray)."
    ),
]
Actors = Annotated[
    int | None, typer.Option(min=1, help="With --engine ray: judging processes (default: one a core or GPU).")
]
Part = Annotated[int, typer.Option(min=1, max=1_000_000, help="With --engine ray: images in a file of rows.")]


def count_of(views: str | None) -> Any:
    """Read ``--views``: nothing, a number, or auto."""
    if views is None or views == "auto":
        return views
    if not views.isdecimal() or int(views) < 1:
        raise typer.BadParameter(f"--views {views}: a number from 1, or auto, was wanted")
    return int(views)


def check_engine(engine: str, address: str | None = None) -> None:
    """Refuse an engine that is none, and an address that nothing would connect to."""
    if engine not in ("local", "ray"):
        raise typer.BadParameter(f"--engine {engine}: local or ray was wanted")
    if address is not None and engine != "ray":
        raise typer.BadParameter(f"--address {address} is for --engine ray")


def check_layout(name: str) -> Layout:
    """Return the name of a layout; raises what the command line shows as a wrong option for any other text."""
    from differnet.data import datasets

    for layout in get_args(datasets.Layout):
        if layout == name:
            found: Layout = layout
            return found
    raise typer.BadParameter(f"{name!r} is not one of {', '.join(get_args(datasets.Layout))}")
