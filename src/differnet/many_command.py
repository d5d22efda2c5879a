"""The command ``fit-many``: one detector for every key of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from differnet import options
from differnet.console import bars, err, guarded, out, print_json, printable


def fit_many(
    table: Annotated[
        Path,
        typer.Argument(help="Table (.csv, .parquet) with key, path, split, label and, where known, mask."),
    ],
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for models and the summary.")],
    preset: options.Preset = "default",
    seed: options.Seed = 0,
    maps: options.Maps = True,
    settings: options.Set = None,
    weights: options.Weights = None,
    device: options.Device = "cpu",
    engine: options.Engine = "local",
    address: options.Address = None,
    json: options.Json = False,
) -> None:
    """Fit one detector for every key of a table, with a summary; exits with 3 when some keys failed.

    Run again it goes on: keys of the same images and settings are not fitted again.
    """
    options.check_engine(engine, address)
    with guarded():
        from differnet.batch import executor
        from differnet.batch.fit_many import fit, jobs_of, outcome_of, summary, write_summary
        from differnet.config import presets
        from differnet.data.files import check_target
        from differnet.data.square import with_mask_as_text

        asked = with_mask_as_text(presets.parse_assignments(settings or []))
        resolved = presets.resolve(preset, asked)
        jobs = jobs_of(table.absolute(), folder.absolute(), resolved, seed, weights, device, maps)
        check_target(folder / "summary.json")
        found = []
        with bars() as progress, executor.manned(engine, address, device) as crew:
            for index, result in crew.each(fit, jobs):
                outcome = outcome_of(jobs[index], result)
                found.append(outcome)
                _tell(outcome)
                progress("fitting detectors", len(found), len(jobs))
        outcomes = summary(found)
        paths = write_summary(folder, outcomes, resolved)
        failed = [outcome for outcome in outcomes if outcome.error is not None]
        if json:
            print_json({"keys": len(outcomes), "failed": [one.key for one in failed], "out": str(folder)})
        else:
            out.print(
                f"{len(outcomes) - len(failed)} models, {len(failed)} failed.\nLook at {paths[0]}",
                markup=False,
            )
    if failed:
        raise typer.Exit(3)


def _tell(outcome: Any) -> None:
    """Say on stderr what came of a key."""
    if outcome.error is not None:
        said = f"failed: {outcome.error}"
    else:
        area = "no AUROC" if outcome.image_auroc is None else f"AUROC {outcome.image_auroc:.4f}"
        said = f"{area}, fit {outcome.fit_seconds:.0f} s"
    err.print(f"{printable(outcome.key)}: {printable(said)}", markup=False)
