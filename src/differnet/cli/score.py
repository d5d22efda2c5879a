"""The command that judges images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

from differnet.cli import options
from differnet.cli.console import (
    advise,
    bars,
    err,
    guarded,
    out,
    print_json,
    print_json_rows,
    printable,
    side,
)
from differnet.errors import counted

if TYPE_CHECKING:
    from differnet.batch.cluster.parts import Counts
    from differnet.batch.cluster.scoring import ScoringOrder
    from differnet.batch.rows import OnError

_START = "drift at the start"
_COLOURED = {
    "NG": "[red]NG    [/]",
    "review": "[yellow]review[/]",
    "OK": "[green]OK    [/]",
    None: "-     ",
}


@dataclass(frozen=True)
class _Asked:
    """What images are to be judged by which model, whatever the engine, and how it is told."""

    model: str
    inputs: list[str]
    target: str | None
    views: Any
    weights: str | None
    device: str
    resume: bool
    fail_on_defect: bool
    json: bool

    @property
    def model_file(self) -> Path:
        """The model, for this machine alone."""
        return Path(self.model)

    @property
    def table(self) -> Path | None:
        """Where this machine alone writes the rows."""
        return Path(self.target) if self.target else None


@dataclass(frozen=True)
class _Local:
    """What only this machine alone does: maps, a monitor of drift, a stop at bad images, every page of a TIFF."""

    maps: Path | None
    drift: Path | None
    on_error: str
    all_pages: bool


def score(
    model: options.ModelPlace,
    inputs: options.Inputs,
    target: options.Rows = None,
    maps: options.MapsFolder = None,
    views: options.Views = None,
    drift: options.DriftFile = None,
    on_error: options.OnError = None,
    resume: options.Resume = False,
    all_pages: options.AllPages = False,
    fail_on_defect: options.FailOnDefect = False,
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
    asked = _Asked(
        model=model,
        inputs=inputs,
        target=target,
        views=options.count_of(views),
        weights=weights,
        device=device,
        resume=resume,
        fail_on_defect=fail_on_defect,
        json=json,
    )
    if engine == "ray":
        _score_on_ray(asked, address, actors, part)
    else:
        _score_here(asked, _Local(maps, drift, on_error or "fail", all_pages))


def _score_here(asked: _Asked, local: _Local) -> None:
    with guarded():
        from differnet.batch import rows
        from differnet.detector.detector import DifferNet

        on_error, paths = _known(local.on_error), [Path(place) for place in asked.inputs]
        if asked.resume and asked.table is None:
            raise typer.BadParameter("--resume goes on with a table: name it with --out")
        rows.check_target(asked.table)
        detector = DifferNet.load(asked.model_file, asked.weights, asked.device)
        _check_gate(detector, asked)
        watch = _watch(detector, local.drift, asked)
        extra = (rows.MAP_COLUMNS if local.maps else ()) + (rows.DRIFT_COLUMNS if watch else ())
        found = rows.inputs(paths, on_error, local.all_pages)
        if local.maps:
            rows.check_maps(local.maps, paths, found)
        made_with = _made_with(detector, asked, local, watch)
        with bars() as progress, rows.collecting(asked.table, made_with, asked.resume, extra) as judged:
            rows.check_done(judged, found)
            _see_again(judged, watch)
            for row in rows.judge_all(
                detector,
                found,
                local.maps,
                progress,
                views=asked.views,
                on_error=on_error,
                done=judged.count,
                see=watch and watch.see,
            ):
                judged.add(row)
            if watch:  # before the rows can be gone: they tell what it has seen
                watch.save()
        _tell(detector, asked, judged, watch)
    _end(asked, judged)


def _end(asked: _Asked, counts: Any) -> None:
    """Exit as what came of the images says."""
    if counts.skipped:
        raise typer.Exit(3)
    if asked.fail_on_defect and counts.flagged:
        raise typer.Exit(1)


def _tell(detector: Any, asked: _Asked, judged: Any, watch: Any) -> None:
    from differnet.decision.verdict import review_threshold, threshold_for

    number = None if asked.views == "auto" else asked.views
    promise, review = threshold_for(detector.model, number), review_threshold(detector.model, number)
    theta = None if promise is None else promise.value
    if asked.json:
        head = {
            "model": str(asked.model_file),
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
    if not asked.json:
        some = printable(f"{asked.model_file} {asked.inputs[0]}")
        advise(f"differnet report {some} --out report.html, to see them beside each other")


def _made_with(detector: Any, asked: _Asked, local: _Local, watch: Any) -> dict[str, Any]:
    """Return what rows depend on besides the images: a run is resumed only with the same."""
    model = detector.model
    found = {
        "model": model.file_digest,
        "runtime": detector.describer.runtime.name,
        "precision": detector.describer.runtime.precision,
        "views": asked.views,
        "maps": local.maps and str(local.maps),
        "on-error": local.on_error,
        "device": asked.device,
    }
    return found | ({"drift": str(watch.file), _START: watch.start} if watch else {})


def _see_again(judged: Any, watch: Any) -> None:
    """Show the monitor the images of a run that is resumed, as they were measured then."""
    for row in judged if watch else ():
        if row.get("drift") is not None:
            watch.see(row["score"], row["brightness"], row["sharpness"])


def _known(on_error: str) -> OnError:
    from differnet.batch.rows import OnError

    for way in get_args(OnError):
        if way == on_error:
            found: OnError = way
            return found
    raise typer.BadParameter(f"--on-error {on_error}: fail or skip was wanted")


def _check_gate(detector: Any, asked: _Asked) -> None:
    from differnet.errors import NotFittedError

    if asked.fail_on_defect and detector.threshold is None:
        raise NotFittedError(
            f"--fail-on-defect: {asked.model_file} has no threshold (it was fitted with holdout=0)"
        )


def _watch(detector: Any, file: Path | None, asked: _Asked) -> Any:
    """Return what ``--drift`` wants, as it was when the run that is resumed began; refuses what it cannot watch."""
    from differnet.batch.drift_file import DriftFile
    from differnet.batch.journal import head_of
    from differnet.errors import ConfigError

    if file is None:
        return None
    if asked.views is not None:
        raise ConfigError(
            f"--drift with --views {asked.views}: scores of other views than the calibration's drift"
        )
    start = head_of(asked.table).get(_START) if asked.table and asked.resume else None
    return DriftFile(detector, file, start=start if isinstance(start, str) else None)


def _score_on_ray(asked: _Asked, address: str | None, actors: int | None, part: int) -> None:
    if asked.target is None:
        raise typer.BadParameter("--engine ray writes Parquet: name a folder or URI with --out")
    with guarded():
        from differnet.batch.cluster.locations import fetched
        from differnet.batch.cluster.scoring import ScoringOrder, score_on_ray

        order = ScoringOrder(
            model=fetched(asked.model),
            inputs=asked.inputs,
            folder=asked.target,
            views=asked.views,
            weights=asked.weights,
            device=asked.device,
            address=address,
            actors=actors,
            part=part,
            resume=asked.resume,
            fail_on_defect=asked.fail_on_defect,
        )
        counts, theta = score_on_ray(order, bars)
        tell_counts(order, counts, theta, asked.json)
    _end(asked, counts)


def _refuse(**asked: Any) -> None:
    """Refuse options that only the local engine knows."""
    for name, value in asked.items():
        if value:
            raise typer.BadParameter(f"--{name.replace('_', '-')} is not for --engine ray")


def tell_counts(order: ScoringOrder, counts: Counts, theta: float | None, json: bool) -> None:
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
    tell_all(counts.images, counts.flagged, counts.to_review, counts.skipped, counts.views, theta)
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
    tell_all(judged.count, judged.flagged, judged.to_review, judged.skipped, views, threshold)


def tell_all(
    images: int, flagged: int, to_review: int, skipped: int, views: int, limit: float | None
) -> None:
    """Say how many images were judged, and by which threshold and in how many views."""
    said = [counted(images, "image"), f"{flagged} defective"]
    said += [f"{to_review} to review"] if to_review else []
    said += [f"{skipped} skipped"] if skipped else []
    said += ["no threshold" if limit is None else f"threshold {limit:.2f}, which is 100%"]
    judged = images - skipped
    said += [f"{views / judged:.1f} views an image"] if views > judged > 0 else []
    side.print(", ".join(said))
