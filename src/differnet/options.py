"""Options that several commands share."""

from __future__ import annotations

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
