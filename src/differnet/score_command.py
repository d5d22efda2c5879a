"""The command that judges images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from differnet import options
from differnet.console import bars, err, guarded, print_json_rows
from differnet.telling import tell_rows


def score(
    model: options.Model,
    paths: Annotated[list[Path], typer.Argument(help="Images or folders.")],
    table: Annotated[Path | None, typer.Option("--out", "-o", help="Write rows to .csv or .jsonl.")] = None,
    maps: Annotated[Path | None, typer.Option(help="Folder for overlays (PNG) and raw maps (NPY).")] = None,
    views: Annotated[
        str | None,
        typer.Option(help="Views an image: a number, or auto to stop as soon as the verdict is certain."),
    ] = None,
    drift: Annotated[
        Path | None,
        typer.Option(help="File of a drift monitor: made if missing, gone on from, and written back."),
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="An image that cannot be judged: fail, or skip with a row that says why.")
    ] = "fail",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run to --out that was broken off.")
    ] = False,
    all_pages: Annotated[
        bool, typer.Option("--all-pages", help="Judge every page of a TIFF, not the first.")
    ] = False,
    fail_on_defect: Annotated[bool, typer.Option(help="Exit with 1 when an image was NG.")] = False,
    weights: options.Weights = None,
    device: options.Device = "cpu",
    json: options.Json = False,
) -> None:
    """Judge images: OK, review or NG, score, p-value, heat maps on request; exits with 3 when images were skipped."""
    with guarded():
        from differnet import rows
        from differnet.detector import DifferNet

        _check(on_error, resume, table, drift)
        rows.check_target(table)
        detector, count = DifferNet.load(model, weights, device), _count(views)
        _check_gate(detector, model, fail_on_defect)
        watch = _watch(detector, drift, count)
        extra = (rows.MAP_COLUMNS if maps else ()) + (rows.DRIFT_COLUMNS if watch else ())
        found = rows.inputs(paths, on_error, all_pages)  # type: ignore[arg-type]
        made_with = {"views": count, "maps": maps and str(maps), "on-error": on_error, "device": device}
        with bars() as progress, rows.collecting(table, model, made_with, resume, extra) as judged:
            rows.check_done(judged, found)
            done, see = judged.count, watch and watch.see
            for row in rows.judge_all(detector, found, maps, progress, count, on_error, done, see):  # type: ignore[arg-type]
                judged.add(row)
        if watch:
            watch.save()  # before anything is told: a reader of the output may be gone
        _tell(detector, model, count, judged, watch, json)
    if judged.skipped:
        raise typer.Exit(3)
    if fail_on_defect and judged.flagged:
        raise typer.Exit(1)


def _tell(detector: Any, model: Path, count: Any, judged: Any, watch: Any, json: bool) -> None:
    from differnet.verdict import review_threshold, threshold_for

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


def _check(on_error: str, resume: bool, table: Path | None, drift: Path | None) -> None:
    from differnet.rows import OnError

    if on_error not in get_args(OnError):
        raise typer.BadParameter(f"--on-error {on_error}: fail or skip was wanted")
    if resume and table is None:
        raise typer.BadParameter("--resume goes on with a table: name it with --out")
    if resume and drift is not None:
        raise typer.BadParameter(
            "--drift sees every image of a run, and --resume leaves out those it has judged"
        )


def _check_gate(detector: Any, model: Path, fail_on_defect: bool) -> None:
    from differnet.errors import NotFittedError

    if fail_on_defect and detector.threshold is None:
        raise NotFittedError(f"--fail-on-defect: {model} has no threshold (it was fitted with holdout=0)")


def _watch(detector: Any, file: Path | None, views: Any) -> Any:
    """Return what ``--drift`` wants, refusing what it cannot watch."""
    from differnet.errors import ConfigError
    from differnet.watch import Watch

    if file is not None and views is not None:
        raise ConfigError(f"--drift with --views {views}: scores of other views than the calibration's drift")
    return None if file is None else Watch(detector, file)


def _count(views: str | None) -> Any:
    """Read ``--views``: nothing, a number, or auto."""
    if views is None or views == "auto":
        return views
    if not views.isdecimal() or int(views) < 1:
        raise typer.BadParameter(f"--views {views}: a number from 1, or auto, was wanted")
    return int(views)
