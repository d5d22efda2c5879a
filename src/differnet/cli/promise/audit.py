"""Afterwards: whether a promise held, by good pictures of later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from differnet.cli import options
from differnet.cli.console import bars, guarded, out, print_json


def audit(
    model: options.Model,
    good: Annotated[Path, typer.Argument(help="Folder of later pictures, all of them good.")],
    group_pattern: options.GroupPattern = None,
    group_table: options.GroupTable = None,
    group_column: options.GroupColumn = "group",
    all_pages: options.AllPages = False,
    weights: options.Weights = None,
    device: options.Device = "cpu",
    json: options.Json = False,
) -> None:
    """Say from later good pictures whether the promise held, with its interval, and what to do where it did not."""
    with guarded():
        from differnet.data import groups
        from differnet.data.datasets import find_good
        from differnet.detector.detector import DifferNet
        from differnet.evaluation.audit import audit as audited

        detector, paths = DifferNet.load(model, weights, device), find_good(good, all_pages)
        names = groups.of_paths(paths, group_pattern, group_table, group_column, good)
        with bars() as progress:
            found = audited(detector, paths, names, progress)
        if json:
            print_json({"model": str(model), **found.to_dict()})
        else:
            out.print(str(found), markup=False)
