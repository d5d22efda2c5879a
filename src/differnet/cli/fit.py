"""The commands that learn: fit, fit-many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from differnet.cli import options
from differnet.cli.console import bars, err, guarded, out, print_json, printable, side
from differnet.cli.model import tell_condition, tell_review
from differnet.config.shape import in_words
from differnet.errors import counted


def fit(
    good: options.Good,
    model: options.ModelTarget,
    preset: options.Preset = "default",
    seed: options.Seed = 0,
    rate: options.Rate = None,
    confidence: options.Confidence = None,
    review_rate: options.ReviewRate = None,
    group_pattern: options.GroupPattern = None,
    group_table: options.GroupTable = None,
    group_column: options.GroupColumn = "group",
    groups_to: options.GroupsTarget = None,
    all_pages: options.AllPages = False,
    folds: options.Folds = None,
    ignore: options.Ignore = None,
    checkpoint: options.Checkpoint = None,
    config: options.ConfigFile = None,
    settings: options.Set = None,
    weights: options.Weights = None,
    device: options.Device = "cpu",
    timings: options.Timings = False,
    json: options.Json = False,
) -> None:
    """Learn from a folder of good images and write a model file."""
    with guarded():
        from differnet.data import groups
        from differnet.data.datasets import find_good
        from differnet.data.files import check_target
        from differnet.flow.train import by_epoch

        asked = {"rate": rate, "confidence": confidence, "review_rate": review_rate, "folds": folds}
        detector = _detector(preset, seed, weights, device, config, settings, asked | {"ignore": ignore})
        check_target(model)
        paths = find_good(good, all_pages)
        names = groups.of_paths(paths, group_pattern, group_table, group_column, good)
        with bars() as progress:
            _write_groups(groups_to, detector, paths, progress)
            detector.fit(
                paths,
                names,
                checkpoint=checkpoint,
                progress=progress,
                on_epoch=by_epoch(progress),
            )
        detector.save(model)
        tell_fit(detector, model, json, timings)


def _write_groups(target: Path | None, detector: Any, paths: Sequence[Any], progress: Any) -> None:
    """Write which images are found to belong together, if that is wanted."""
    from differnet.data import groups
    from differnet.data.files import check_target

    if target is not None:
        check_target(target)
        groups.write(target, paths, detector.groups(paths, progress).labels)


def _detector(
    preset: str,
    seed: int,
    weights: str | None,
    device: str,
    config: Path | None,
    settings: list[str] | None,
    asked: Mapping[str, Any],
) -> Any:
    """Make a detector by the settings of a file, of ``--set`` and of the options that were given."""
    from differnet.detector.detector import DifferNet

    given = {name: value for name, value in asked.items() if value is not None}
    return DifferNet(preset, seed, weights, device, **options.asked_for(config, settings, given))


def _tell_timings(stages: Mapping[str, float]) -> None:
    """List on stderr how long each stage took."""
    total = sum(stages.values())
    for stage, seconds in stages.items():
        err.print(f"{seconds:8.1f} s {seconds / max(total, 1e-9):5.0%}  {stage}", highlight=False)
    err.print(f"{total:8.1f} s        in all", highlight=False)


def fit_many(
    table: options.Keys,
    folder: options.ModelsFolder,
    preset: options.Preset = "default",
    seed: options.Seed = 0,
    maps: options.Maps = True,
    config: options.ConfigFile = None,
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
        from differnet.batch.fit_many import Wanted, fit, jobs_of, outcome_of, summary, write_summary
        from differnet.data.files import check_target

        wanted = Wanted(options.settings_of(preset, settings, config), seed, weights, device, maps)
        jobs = jobs_of(table.absolute(), folder.absolute(), wanted)
        check_target(folder / "summary.json")
        found = []
        with bars() as progress, executor.manned(engine, address, device) as crew:
            for index, result in crew.each(fit, jobs):
                outcome = outcome_of(jobs[index], result)
                found.append(outcome)
                _tell(outcome)
                progress("fitting detectors", len(found), len(jobs))
        outcomes = summary(found)
        page, _ = write_summary(folder, outcomes, wanted.settings)
        failed = [outcome.key for outcome in outcomes if outcome.error is not None]
        if json:
            print_json({"keys": len(outcomes), "failed": failed, "out": str(folder)})
        else:
            told = f"{counted(len(outcomes) - len(failed), 'model')}, {len(failed)} failed."
            out.print(f"{told}\nLook at {page}", markup=False)
    if failed:
        raise typer.Exit(3)


def _tell(outcome: Any) -> None:
    """Say on stderr what came of a key."""
    if outcome.error is not None:
        said = f"failed: {outcome.error}"
    else:
        area = "no AUROC" if outcome.image_auroc is None else f"AUROC {outcome.image_auroc:.4f}"
        said = f"{area}, fit {outcome.fit_seconds:.0f} s"
    where = side if outcome.error is None else err
    where.print(f"{printable(outcome.key)}: {printable(said)}", markup=False)


def tell_fit(detector: Any, model: Path, json: bool, timings: bool = False) -> None:
    """Say what was learned and what to do next, and how long each stage took."""
    promise = detector.promise
    if timings:
        _tell_timings(detector.model.stage_seconds)
    if json:
        from differnet.detector.model import summarise

        print_json({"model": str(model), **summarise(detector.model)})
        return
    tell_images(detector)
    if promise:
        held = "" if promise.folds else "held-out "
        out.print(
            f"Threshold {promise.value:.4g} from {counted(promise.count, held + 'good image')}: {promise}."
        )
        tell_review(detector.model)
        tell_condition(detector.model)
    out.print(f"Model file: {model}", markup=False)
    if not side.quiet:
        out.print(f"Next: differnet score {model} IMAGES --maps maps", markup=False)


def tell_images(detector: Any) -> None:
    """Say what was found out from the images, and how to overrule it."""
    out.print(f"Fitted on {counted(detector.model.train_count, 'good image')}.")
    settings = detector.settings
    tiles, picture = settings.backbone.tiles, detector.model.picture_shape
    if settings.views.aspect != 1 or tiles > 1:
        told = in_words(settings.shape, settings.views.aspect, tiles, picture)
        out.print(f"Looked at {told}.", highlight=False)
    if isinstance(settings.views.white, float):
        out.print(f"White is the level {settings.views.white:g}, in every picture of more than 8 bits.")
    if detector.model.sisters:
        out.print(f"Belonging together: {detector.model.sisters}.", markup=False, highlight=False)
        if detector.model.sisters.by:
            out.print(
                "They stay on one side. To overrule it: --set sisters=ignore, --group-pattern, --group-table; to see "
                "them: --groups-to groups.csv."
            )
    if detector.model.choice:
        out.print(f"Found out from them: {detector.model.choice}.", markup=False, highlight=False)
        out.print(
            "To overrule it: --set rotation=full, --set pooling=whole, --set read_stages=all, --set length=1."
        )
