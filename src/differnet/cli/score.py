"""The command that judges images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from differnet.cli import options
from differnet.cli.console import bars, err, guarded, out, print_json, print_json_rows, printable

if TYPE_CHECKING:
    from differnet.batch.cluster.parts import Counts
    from differnet.batch.cluster.scoring import Order

_START = "drift at the start"
_COLOURED = {
    "NG": "[red]NG    [/]",
    "review": "[yellow]review[/]",
    "OK": "[green]OK    [/]",
    None: "-     ",
}


def score(
    model: options.ModelPlace,
    inputs: options.Inputs,
    target: options.Rows = None,
    maps: Annotated[Path | None, typer.Option(help="Folder for overlays (PNG) and raw maps (NPY).")] = None,
    views: Annotated[
        str | None,
        typer.Option(help="Views an image: a number, or auto to stop as soon as the verdict is certain."),
    ] = None,
    drift: Annotated[
        Path | None,
        typer.Option(help="File of a drift monitor: made if missing, gone on from, and written back."),
    ] = None,
    on_error: options.OnError = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run to --out that was broken off.")
    ] = False,
    all_pages: Annotated[
        bool, typer.Option("--all-pages", help="Judge every page of a TIFF, not the first.")
    ] = False,
    fail_on_defect: Annotated[bool, typer.Option(help="Exit with 1 when an image was NG.")] = False,
    engine: options.Engine = "local",
    address: options.Address = None,
    actors: options.Actors = None,
    part: options.Part = 1024,
    weights: options.Weights = None,
    device: options.Device = "cpu",
    json: options.Json = False,
) -> None:
    """Judge images: OK, review or NG, score, p-value, heat maps on request; exits with 3 when images were skipped."""
    options.check_engine(engine, address)
    if engine == "ray":
        _refuse(on_error=on_error == "fail", maps=maps, drift=drift, all_pages=all_pages)
        where = inputs, target, options.count_of(views), weights, device, address, actors, part, resume
        _score_on_ray(model, json, *where, fail_on_defect)
        return
    paths, table, count = [Path(place) for place in inputs], target and Path(target), options.count_of(views)
    how = (maps, drift, on_error or "fail", resume, all_pages, fail_on_defect)
    _score_here(Path(model), paths, table or None, count, weights, device, json, *how)


def _score_here(
    model: Path,
    paths: list[Path],
    table: Path | None,
    count: Any,
    weights: str | None,
    device: str,
    json: bool,
    maps: Path | None,
    drift: Path | None,
    on_error: str,
    resume: bool,
    all_pages: bool,
    fail_on_defect: bool,
) -> None:
    with guarded():
        from differnet.batch import rows
        from differnet.detector.detector import DifferNet

        _check(on_error, resume, table)
        rows.check_target(table)
        detector = DifferNet.load(model, weights, device)
        _check_gate(detector, model, fail_on_defect)
        watch = _watch(detector, drift, count, _drift_at_start(table, resume))
        extra = (rows.MAP_COLUMNS if maps else ()) + (rows.DRIFT_COLUMNS if watch else ())
        found = rows.inputs(paths, on_error, all_pages)  # type: ignore[arg-type]
        if maps:
            rows.check_maps(maps, paths, found)
        made_with = _made_with(detector, count, maps, on_error, device, watch)
        with bars() as progress, rows.collecting(table, made_with, resume, extra) as judged:
            rows.check_done(judged, found)
            _see_again(judged, watch)
            done, see = judged.count, watch and watch.see
            for row in rows.judge_all(detector, found, maps, progress, count, on_error, done, see):  # type: ignore[arg-type]
                judged.add(row)
            if watch:  # before the rows can be gone: they tell what it has seen
                watch.save()
        _tell(detector, model, count, judged, watch, json)
    if judged.skipped:
        raise typer.Exit(3)
    if fail_on_defect and judged.flagged:
        raise typer.Exit(1)


def _tell(detector: Any, model: Path, count: Any, judged: Any, watch: Any, json: bool) -> None:
    from differnet.decision.verdict import review_threshold, threshold_for

    number = None if count == "auto" else count
    promise, review = threshold_for(detector.model, number), review_threshold(detector.model, number)
    theta = None if promise is None else promise.value
    if json:
        head = {
            "model": str(model),
            "threshold": theta,
            "review_threshold": review,
            "skipped": judged.skipped,
        }
        head |= {"drift": watch.to_dict()} if watch else {}
        print_json_rows(head, "images", judged)
    else:
        tell_rows(judged, theta)
    if watch:
        err.print(str(watch), markup=False)


def _made_with(
    detector: Any, count: Any, maps: Path | None, on_error: str, device: str, watch: Any
) -> dict[str, Any]:
    """Return what rows depend on besides the images: a run is resumed only with the same."""
    model = detector.model
    options = {
        "model": model.file_digest,
        "runtime": detector.describer.runtime.name,
        "precision": detector.describer.runtime.precision,
        "views": count,
        "maps": maps and str(maps),
        "on-error": on_error,
        "device": device,
    }
    return options | ({"drift": str(watch.file), _START: watch.start} if watch else {})


def _drift_at_start(table: Path | None, resume: bool) -> str | None:
    """Return the state of the drift monitor when the run that is resumed began, if there is one."""
    from differnet.batch.journal import head_of

    start = head_of(table).get(_START) if table and resume else None
    return start if isinstance(start, str) else None


def _see_again(judged: Any, watch: Any) -> None:
    """Show the monitor the images of a run that is resumed, as they were measured then."""
    for row in judged if watch else ():
        if row.get("drift") is not None:
            watch.see(row["score"], row["brightness"], row["sharpness"])


def _check(on_error: str, resume: bool, table: Path | None) -> None:
    from differnet.batch.rows import OnError

    if on_error not in get_args(OnError):
        raise typer.BadParameter(f"--on-error {on_error}: fail or skip was wanted")
    if resume and table is None:
        raise typer.BadParameter("--resume goes on with a table: name it with --out")


def _check_gate(detector: Any, model: Path, fail_on_defect: bool) -> None:
    from differnet.errors import NotFittedError

    if fail_on_defect and detector.threshold is None:
        raise NotFittedError(f"--fail-on-defect: {model} has no threshold (it was fitted with holdout=0)")


def _watch(detector: Any, file: Path | None, views: Any, start: str | None) -> Any:
    """Return what ``--drift`` wants, refusing what it cannot watch."""
    from differnet.batch.drift_file import Watch
    from differnet.errors import ConfigError

    if file is not None and views is not None:
        raise ConfigError(f"--drift with --views {views}: scores of other views than the calibration's drift")
    return None if file is None else Watch(detector, file, start=start)


def _score_on_ray(place: str, json: bool, *where: Any) -> None:
    inputs, target, *rest = where
    if target is None:
        raise typer.BadParameter("--engine ray writes Parquet: name a folder or URI with --out")
    with guarded():
        from differnet.batch.cluster.locations import fetched
        from differnet.batch.cluster.scoring import Order, score_on_ray

        pass  # REMOVED

        order = Order(fetched(place), inputs, target, *rest)
        counts, theta = score_on_ray(order, bars)
        tell_counts(order, counts, theta, json)
    if counts.skipped:
        raise typer.Exit(3)
    if order.fail_on_defect and counts.flagged:
        raise typer.Exit(1)


def _refuse(**asked: Any) -> None:
    """Refuse options that only the local engine knows."""
    for name, value in asked.items():
        if value:
            raise typer.BadParameter(f"--{name.replace('_', '-')} is not for --engine ray")


def tell_counts(order: Order, counts: Counts, theta: float | None, json: bool) -> None:
    """Say how many images were judged and where their rows are."""
    if json:
        document = {
            "model": str(order.model),
            "threshold": theta,
            "out": order.folder,
            "images": counts.images,
        }
        defective = {"defective": counts.flagged, "review": counts.to_review, "skipped": counts.skipped}
        print_json(document | defective)
        return
    limit = "no threshold" if theta is None else f"threshold {theta:.2f}"
    mean = f"{counts.views / max(counts.images - counts.skipped, 1):.1f} views an image"
    review = f", {counts.to_review} to review" if counts.to_review else ""
    skipped = f", {counts.skipped} skipped" if counts.skipped else ""
    err.print(f"{counts.images} images, {counts.flagged} defective{review}{skipped}, {limit}, {mean}")
    out.print(f"Rows: {order.folder}", markup=False)


def tell_rows(judged: Any, threshold: float | None) -> None:
    """List the verdicts and count them."""
    views = 0
    for row in judged:
        if row["error"] is not None:
            out.print("[yellow]skipped  [/]               ", end="")
            out.print(f"{printable(row['path'])}: {printable(row['error'])}", markup=False)
            continue
        views += row["views"]
        verdict = _COLOURED[row["verdict"]]
        p = "" if row["p_value"] is None else f"  p {row['p_value']:.4f}"
        percent = "" if row["percent"] is None else f" {int(row['percent']):>6}%"
        out.print(f"{verdict} {row['score']:>12.2f}{percent}{p}  ", end="")
        out.print(printable(row["path"]), markup=False)
    limit = "no threshold" if threshold is None else f"threshold {threshold:.2f}"
    mean = f"{views / max(judged.count - judged.skipped, 1):.1f} views an image"
    review = f", {judged.to_review} to review" if judged.to_review else ""
    skipped = f", {judged.skipped} skipped" if judged.skipped else ""
    err.print(f"{judged.count} images, {judged.flagged} defective{review}{skipped}, {limit}, {mean}")
