"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Preset = Annotated[str, typer.Option(help="Settings to start from: default, fast, turned or paper.")]
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
        help="Regular expression over paths; images with equal matches belong together (same part)."
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
Layout = Annotated[str, typer.Option(help="auto, folder, mvtec, mtd or elpv.")]
Categories = Annotated[
    list[str] | None, typer.Option("--category", help="MVTec category, or mono or poly; repeatable.")
]
Split = Annotated[Path | None, typer.Option(help="File naming the training images (mtd).")]
Model = Annotated[Path, typer.Argument(help="Model file.")]
