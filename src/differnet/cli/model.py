"""The commands on a model file: calibrate, quantize, export, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from differnet.cli import options
from differnet.cli.console import advise, bars, guarded, out, print_json, side
from differnet.cli.report import tell_known
from differnet.config.shape import in_words
from differnet.errors import counted

_STAGES = 3  # the longest of a fit
_MAKERS = ("differnet", "python", "torch", "openvino", "onnxruntime", "numpy")


def quantize(
    model: Annotated[Path, typer.Argument(help="Model file that was fitted in floats.")],
    good: options.OtherGood,
    target: options.ModelTarget,
    group_pattern: options.GroupPattern = None,
    group_table: options.GroupTable = None,
    group_column: options.GroupColumn = "group",
    weights: options.Weights = None,
    json: options.Json = False,
) -> None:
    """Change a model to 8-bit integers, its backbone twice as fast, if good images show that its scores hold."""
    with guarded():
        from dataclasses import asdict

        from differnet.data import groups
        from differnet.data.datasets import find_good
        from differnet.data.files import check_target
        from differnet.detector.detector import DifferNet

        check_target(target)
        detector, paths = DifferNet.load(model, weights), find_good(good)
        names = groups.of_paths(paths, group_pattern, group_table, group_column, good)
        with bars() as progress:
            gate = detector.quantize(paths, progress, names)
        detector.save(target)
        if json:
            print_json({"model": str(target), "threshold": detector.threshold, **asdict(gate)})
        else:
            out.print(f"Passed: {gate}.\nModel file: {target}", markup=False)
            advise(f"differnet score {target} IMAGES, or differnet export {target} --to station")


def info(
    model: options.Model,
    as_config: Annotated[
        bool, typer.Option("--as-config", help="Print its settings as TOML, for --config, and nothing else.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Say what a model file is and was made from; --json has every figure and setting."""
    if as_config and json:
        raise typer.BadParameter("--as-config prints TOML and --json prints JSON: one of them was wanted")
    with guarded():
        from differnet.config import as_toml
        from differnet.detector.model import summarise
        from differnet.detector.model_file import load

        loaded = load(model)
        if as_config:
            typer.echo(as_toml.write(loaded.config), nl=False)
            return
        if json:
            print_json(summarise(loaded))
            return
        tell_model(loaded)
        advise(
            f"differnet score {model} IMAGES; with --json info tells all settings, with --as-config as a file"
        )


def calibrate(
    model: options.Model,
    good: options.OtherGood,
    target: options.ModelTarget,
    rate: options.Rate = None,
    confidence: options.Confidence = 0.95,
    marginal: options.Marginal = False,
    review_rate: options.ReviewRate = None,
    group_pattern: options.GroupPattern = None,
    group_table: options.GroupTable = None,
    group_column: options.GroupColumn = "group",
    defects: options.Defects = None,
    all_pages: options.AllPages = False,
    weights: options.Weights = None,
    device: options.Device = "cpu",
    json: options.Json = False,
) -> None:
    """Set the threshold of a model anew from other good images, without training.

    Too few images for the confidence are refused, unless --marginal asks for a promise on average. A rate or review
    rate that is not given stays; --review-rate 0 takes that away. Known defects never move the threshold.
    """
    with guarded():
        from differnet.data import groups
        from differnet.data.datasets import find_defects, find_good
        from differnet.data.files import check_target
        from differnet.detector.detector import DifferNet

        check_target(target)
        known = [] if defects is None else find_defects(defects)
        kinds = [] if defects is None else _kinds(known, defects)
        sure = None if marginal else confidence
        detector, paths = DifferNet.load(model, weights, device), find_good(good, all_pages)
        names = groups.of_paths(paths, group_pattern, group_table, group_column, good)
        with bars() as progress:
            detector.calibrate(paths, rate, progress, confidence=sure, review_rate=review_rate, groups=names)
        detector.save(target)
        found: list[Any] = []
        try:
            with bars() as progress:
                found = [] if defects is None else _recalls(detector, known, kinds, progress)
        finally:  # the threshold does not depend on the known defects, so it is kept and told if one cannot be read
            tell_calibration(detector, target, found, json)


def _kinds(paths: list[Path], root: Path) -> list[str]:
    """Return the type of each defect: the first folder below ``root``, or else the name of the folder it lies in."""
    from differnet.data.samples import GOOD
    from differnet.errors import ConfigError

    kinds = []
    for path in paths:
        inner = path.relative_to(root).parts
        kinds.append(inner[0] if len(inner) > 1 else path.resolve().parent.name)
    if GOOD in kinds:
        raise ConfigError(
            f"--defects {root}: has images in a folder {GOOD!r}; a folder of defects alone was wanted"
        )
    return kinds


def _recalls(detector: Any, paths: list[Path], kinds: list[str], progress: Any) -> list[Any]:
    from differnet.evaluation.recall import recalls

    verdicts = []
    for prediction in detector.predict_iter(paths):
        verdicts.append(prediction.verdict)
        progress("judging known defects", len(verdicts), len(paths))
    return recalls(kinds, verdicts, [str(path) for path in paths])


def export(
    model: options.Model,
    target: options.StationTarget,
    form: options.StationFormat = "onnx",
    int8: options.Int8 = False,
    check: options.Check = None,
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
            side.print("Compared on synthetic images, which show less: --check FOLDER takes real ones.")
        out.print(f"Agrees: {found}.\nFolder: {target}", markup=False)
        if (Path(target) / "good.png").exists():
            out.print("In it: good.png, the good image of --check with the lowest score, to compare with.")
        if side.quiet:
            return
        out.print(f'Next: differnet.Inspector("{target}").predict("part.png")', markup=False)


def tell_calibration(detector: Any, model: Path, known: list[Any], json: bool) -> None:
    """Say what the new threshold promises, what it was calibrated on, and how much of known defects is found."""
    from differnet.detector.model import summarise

    promise, record = detector.promise, detector.model.calibrated_on
    if json:
        found = {"known_defects": [one.to_dict() for one in known]} if known else {}
        print_json({"model": str(model), **summarise(detector.model), **found})
        return
    out.print(f"Threshold {promise.value:.4g} from {counted(promise.count, 'good image')}: {promise}.")
    tell_review(detector.model)
    tell_condition(detector.model)
    out.print(f"Calibrated on {_in_short(record)}.")
    tell_known(known)
    out.print(f"Model file: {model}", markup=False)
    advise(f"differnet audit {model} LATER_GOOD_IMAGES, to see whether it holds")


def _in_short(record: Any) -> str:
    """Say what a model was calibrated on."""
    images, groups = counted(record.count, "image"), counted(record.groups, "group")
    return f"{images} of {groups}, {record.date}, {record.digest[:12]}"


def tell_condition(model: Any) -> None:
    """Say how far off the promise can be for a single set of images, and for which parts it holds."""
    from differnet.decision.thresholds import CONDITION
    from differnet.detector.model import threshold

    promise, effective = threshold(model), model.effective
    if promise and not promise.folds:
        out.print(promise.single_sets)
    if promise and effective is not None and effective.groups < effective.count:
        worth = effective.in_words(promise.rate, promise.confidence)
        out.print(f"The {worth}.")
    out.print(CONDITION)


def tell_review(model: Any) -> None:
    """Say from which score on a person should look, where a model has a second threshold."""
    from differnet.decision.verdict import review_promise

    review = review_promise(model)
    if review is not None:
        said = "" if review.is_kept else f", where {review.rate:.4g} was wanted"
        out.print(
            f"From {review.value:.4g} on a person should look: {review}{said}.".replace("rejected", "not OK")
        )
        out.print(
            "The two are promised apart: each may fail where the other holds, so of two promises of 95% one fails in "
            "up to 10% of cases."
            if review.confidence
            else "The two are promised apart: a set that is unlucky for one may be lucky for the other."
        )


def tell_model(model: Any) -> None:
    """Say what a model is, was made from and promises, in lines for people to read."""
    from differnet.detector.model import threshold

    config, record = model.config, model.calibrated_on
    stages = sorted(model.stage_seconds.items(), key=lambda one: -one[1])[:_STAGES]
    slow = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in stages)
    views, tiles = config.views, config.backbone.tiles
    told = {
        "fitted to": f"{counted(model.train_count, 'good image')}, seed {model.seed}",
        "sisters": model.sisters,
        "looks at": in_words(model.settings.shape, views.aspect, tiles, model.picture_shape),
        "found out": model.choice,
        "network": f"{config.backbone.backbone} ({model.backbone_digest[:12]}), {model.runtime}, {model.precision}",
        "calibrated on": record and _in_short(record),
        "fit took": f"{sum(model.stage_seconds.values()):.0f} s: {slow}" if slow else None,
        "made by": ", ".join(f"{name} {model.versions[name]}" for name in _MAKERS if name in model.versions)
        or None,
        "settings": _other_settings(config) or "those of preset default",
    }
    for name, value in told.items():
        if value is not None:
            out.print(f"{name:<14} {value}", markup=False, highlight=False)
    promise = threshold(model)
    if promise is None:
        out.print("No threshold: no good image was held out, so no verdict is given, only scores.")
        return
    out.print(f"Threshold {promise.value:.4g}: {promise}.", highlight=False)
    tell_review(model)
    tell_condition(model)


def _other_settings(config: Any) -> str:
    """Return what was asked for otherwise than preset default has it, or found out where that leaves it open."""
    from differnet.config.presets import DEFAULT

    usual = DEFAULT.to_dict()
    return ", ".join(
        f"{section}.{name} = {_short(value)}"
        for section, settings in config.to_dict().items()
        for name, value in settings.items()
        if value != usual[section][name]
    )


def _short(value: Any) -> str:
    """Shorten lists and masks to one line."""
    if isinstance(value, list) and len(value) > 4:
        return f"{value[0]} ... {value[-1]} ({len(value)} values)"
    if isinstance(value, str) and value.startswith("png:"):
        return f"a mask of {len(value)} characters"
    return "not set" if value is None else str(value)
