"""The commands that learn: fit, fit-many."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from differnet.cli import options
from differnet.cli.console import bars, err, guarded, out, print_json, printable
from differnet.cli.model import _tell_review


def fit(
    good: Annotated[Path, typer.Argument(help="Folder of good images.")],
    model: Annotated[Path, typer.Option("--out", "-o", help="Model file to write.")],
    preset: options.Preset = "default",
    seed: options.Seed = 0,
    rate: options.Rate = None,
    confidence: options.Confidence = None,
    review_rate: options.ReviewRate = None,
    group_pattern: options.GroupPattern = None,
    group_table: options.GroupTable = None,
    group_column: options.GroupColumn = "group",
    folds: Annotated[
        int | None, typer.Option(help="Few images: calibrate on all of them, by that many folds (5).")
    ] = None,
    ignore: Annotated[
        Path | None, typer.Option(help="Mask image: what is white does not matter and is not looked at.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder to keep progress in; run again to go on after a stop.")
    ] = None,
    settings: options.Set = None,
    weights: options.Weights = None,
    device: options.Device = "cpu",
    json: options.Json = False,
) -> None:
    """Learn from a folder of good images and write a model file."""
    with guarded():
        from differnet.config import presets
        from differnet.data import groups
        from differnet.data.datasets import find_good
        from differnet.data.files import check_target
        from differnet.detector.detector import DifferNet
        from differnet.flow.train import by_epoch

        asked: dict[str, Any] = {
            "rate": rate,
            "confidence": confidence,
            "review_rate": review_rate,
            "folds": folds,
        }
        asked |= {"ignore": ignore}
        values = presets.parse_assignments(settings or []) | {k: v for k, v in asked.items() if v is not None}
        detector = DifferNet(preset, seed, weights, device, **values)
        check_target(model)
        paths = find_good(good)
        with bars() as progress:
            detector.fit(
                paths,
                groups=groups.of_paths(paths, group_pattern, group_table, group_column, good),
                checkpoint=checkpoint,
                progress=progress,
                on_epoch=by_epoch(progress),
            )
        detector.save(model)
        tell_fit(detector, model, json)


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


def tell_fit(detector: Any, model: Path, json: bool) -> None:
    """Say what was learned and what to do next."""
    promise = detector.promise
    if json:
        from differnet.detector.model import summarise

        print_json({"model": str(model), **summarise(detector.model)})
        return
    out.print(f"Fitted on {detector.model.train_count} good images.")
    if detector.model.choice:
        out.print(f"Found out from them: {detector.model.choice}.", markup=False, highlight=False)
        out.print(
            "To overrule it: --set rotation=full, --set pooling=whole, --set read_stages=all, --set length=1."
        )
    if promise:
        held = "" if promise.folds else "held-out "
        out.print(f"Threshold {promise.value:.4g} from {promise.count} {held}good images: {promise}.")
        _tell_review(detector.model)
    out.print(f"Model file: {model}\nNext: differnet score {model} IMAGES --maps maps", markup=False)
