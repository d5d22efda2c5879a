"""The command that makes the folder of a station."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from differnet import options
from differnet.console import bars, err, guarded, out, print_json


def export(
    model: options.Model,
    target: Annotated[Path, typer.Option("--to", help="Folder to write; it must not exist, or be empty.")],
    form: Annotated[
        str, typer.Option("--format", help="What runs it: onnx (ONNX Runtime) or openvino.")
    ] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="Take the 8-bit network that the model brings along (openvino).")
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images that the folder must judge as the model does; synthetic if none."
        ),
    ] = None,
    weights: options.Weights = None,
    json: options.Json = False,
) -> None:
    """Write what an inspection station runs without torch: one folder, kept only if it judges as the model does."""
    with guarded():
        from dataclasses import asdict

        from differnet.data.images import find
        from differnet.detector import export as exporting
        from differnet.detector.detector import DifferNet

        wanted = exporting.format_of(form)
        images = [] if check is None else find(check)
        detector = DifferNet.load(model, weights)
        with bars() as progress:
            found = exporting.export(detector, target, wanted, int8, images, progress)
        if json:
            print_json({"model": str(model), "folder": str(target), "format": form, **asdict(found)})
            return
        if found.synthetic:
            err.print("Compared on synthetic images, which show less: --check FOLDER takes real ones.")
        out.print(f"Agrees: {found}.\nFolder: {target}", markup=False)
        out.print(f'Next: differnet.Inspector("{target}").predict("part.png")', markup=False)
