"""Before the first picture: how many good ones a promise takes."""

from __future__ import annotations

from typing import Annotated

import typer

from differnet.cli import options
from differnet.cli.console import advise, guarded, out, print_json

_HOLDOUT = 0.2


def plan(
    rate: Annotated[float, typer.Option(help="False-alarm rate to promise.")] = 0.01,
    confidence: Annotated[float, typer.Option(help="Confidence of the promise for the set at hand.")] = 0.95,
    holdout: Annotated[float, typer.Option(help="Share of the good images that fit keeps out.")] = _HOLDOUT,
    per_part: Annotated[int, typer.Option(help="How many pictures are taken of each part.")] = 1,
    correlation: Annotated[
        float, typer.Option(help="How much scores agree within a part, 0 to 1 (info says it of a model).")
    ] = 0.5,
    json: options.Json = False,
) -> None:
    """Say how many good pictures a promise takes, of how many parts and shoots, and what each kind of it costs."""
    with guarded():
        from differnet.decision.plan import plan as planned

        found = planned(rate, confidence, holdout, per_part, correlation)
        if json:
            print_json(found.to_dict())
        else:
            out.print(str(found), markup=False)
            advise("differnet fit GOOD_FOLDER --out part.safetensors --rate " + f"{rate:g}")
