"""Judge images into rows, one for every input and in a stable order, and write them as CSV or JSON lines."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from differnet.batch.journal import COLUMNS, Row, Rows, journal, spool
from differnet.data import files
from differnet.data.files import write_whole
from differnet.data.images import Page, find, pages
from differnet.data.spreadsheet import cells
from differnet.data.stream import Progress
from differnet.decision.light import measure
from differnet.decision.verdict import Prediction, PredictionRecord
from differnet.detector.detector import DifferNet
from differnet.detector.scoring import Count, Lit, Mapped
from differnet.errors import ConfigError, DifferNetWarning, ImageError, NumericalError

OnError = Literal["fail", "skip"]
MAP_COLUMNS = ("overlay", "map")
DRIFT_COLUMNS = ("brightness", "sharpness", "drift")
See = Callable[[float, float, float], float]  # score, brightness, sharpness -> evidence of a change
_LONGEST_NAME = 200  # bytes of the name of a map; file systems mostly take 255


@dataclass(frozen=True)
class Input:
    """Something that gets a row: an image to judge, or a path at which there is none, and the ``reason``."""

    path: Path | Page
    reason: str | None = None


def inputs(paths: Iterable[Path], on_error: OnError = "fail", all_pages: bool = False) -> list[Input]:
    """List what is at or below ``paths``, in a stable order; ``all_pages``: every page of a TIFF.

    Raises :class:`ImageError` for a path where nothing can be found, or says so in its place, as ``on_error`` is.
    """
    found = []
    for path in paths:
        try:
            images = find(path, strict=on_error == "fail")
        except ImageError as error:
            if on_error == "fail":
                raise
            found.append(Input(path, str(error)))
            continue
        found += _pages(images, on_error) if all_pages else [Input(image) for image in images]
    return found


def _pages(images: Iterable[Path], on_error: OnError) -> list[Input]:
    found = []
    for image in images:
        try:
            found += [Input(page) for page in pages(image)]
        except ImageError as error:
            if on_error == "fail":
                raise
            found.append(Input(image, str(error)))
    return found


def judge_all(
    detector: DifferNet,
    found: Sequence[Input],
    maps: Path | None,
    progress: Progress,
    views: Count = None,
    on_error: OnError = "fail",
    done: int = 0,
    see: See | None = None,
) -> Iterator[Row]:
    """Yield the row of every input from the one at ``done`` on; nothing but the paths is held in memory.

    Overlays and raw maps go to ``maps`` if given. With ``on_error="skip"`` an image that cannot be read or
    judged has a row with the reason; else it raises. ``see`` gives the number for ``drift`` from the numbers
    of a row (:mod:`differnet.batch.drift_file`).
    """
    names = _map_names([one.path for one in found]) if maps else []
    rest = range(done, len(found))
    readable = [found[index].path for index in rest if found[index].reason is None]
    verdicts = _verdicts(detector, readable, maps is not None, see is not None, views, on_error)
    for index in rest:
        one = found[index]
        said = next(verdicts) if one.reason is None else one.reason
        verdict = said if isinstance(said, (Prediction, str)) else said.prediction
        row = row_of(one.path, verdict)
        if maps and isinstance(said, Mapped):
            _draw(maps / names[index], said)
            row |= {"overlay": f"{maps / names[index]}.png", "map": f"{maps / names[index]}.npy"}
        if see and isinstance(said, (Lit, Mapped)):
            light = said.light if isinstance(said, Lit) else measure(said.pixels)
            row |= light._asdict() | {"drift": see(said.prediction.score, *light)}
        progress("judging", index + 1, len(found))
        yield row


def check_done(rows: Rows, found: Sequence[Input]) -> None:
    """Refuse to go on when the rows that are there are not those of the first inputs."""
    for index, row in enumerate(rows):
        now = str(found[index].path) if index < len(found) else "nothing"
        if row["path"] != now:
            raise ConfigError(
                f"row {index + 1} of the run that was broken off is {row['path']}, but the inputs have {now} there; "
                "give the same inputs, or remove the file of rows to start anew"
            )


@contextmanager
def collecting(
    table: Path | None, options: dict[str, Any], resume: bool, extra: tuple[str, ...]
) -> Iterator[Rows]:
    """Collect rows that become ``table``, as a whole, when the block ends; in memory when there is none.

    ``resume`` goes on with those of a run of the same ``options``, of the same version, that was broken off.
    """
    if table is None:
        yield spool()
        return
    made_with = {"rows": 3, "version": importlib.metadata.version("differnet"), **options}
    with journal(table, made_with, resume) as rows:
        yield rows
        with files.growing(table) as file:
            _write(file, table.suffix.lower(), rows, extra)


def check_maps(maps: Path, paths: Iterable[Path], found: Iterable[Input]) -> None:
    """Refuse a folder of maps in which they could replace images, or be taken for some when the run is resumed."""
    target = os.path.realpath(maps)
    if os.path.lexists(maps) and not os.path.isdir(maps):  # noqa: PTH112
        raise ConfigError(f"--maps {maps}: no folder; a folder for overlays and maps was wanted")
    below = [path for path in paths if os.path.isdir(path) and _is_at_or_below(target, path)]  # noqa: PTH112
    beside = [one.path for one in found if os.path.realpath(os.path.dirname(one.path)) == target]  # noqa: PTH120
    for path in (*below, *beside):
        raise ConfigError(f"--maps {maps}: maps would stand among the images of {path}; give a folder apart")


def _is_at_or_below(target: str, folder: Path) -> bool:
    top = os.path.realpath(folder)
    return target == top or target.startswith(top.rstrip(os.sep) + os.sep)


def check_target(table: Path | None) -> None:
    """Refuse a table of an unknown kind before any work is done."""
    if table is not None and table.suffix.lower() not in {".csv", ".jsonl"}:
        raise ConfigError(f"--out {table}: a name ending in .csv or .jsonl was wanted")
    if table is not None:
        files.check_target(table)


def _write(file: IO[str], suffix: str, rows: Iterable[Row], extra: tuple[str, ...]) -> None:
    if suffix == ".csv":
        table = csv.DictWriter(file, COLUMNS + extra)
        table.writeheader()
        table.writerows(cells(row) for row in rows)
    else:
        file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def _verdicts(
    detector: DifferNet,
    items: Sequence[Path | Page],
    with_maps: bool,
    with_light: bool,
    views: Count,
    on_error: OnError,
) -> Iterator[Prediction | Lit | Mapped | str]:
    """Yield what is said of each image, or why nothing can be; a map is with the pixels, which tell the light."""
    done = 0
    while done < len(items):
        with warnings.catch_warnings():
            if done:  # it was said before
                warnings.simplefilter("ignore", DifferNetWarning)
            plain = detector.lit_iter if with_light else detector.predict_iter
            judge = detector.mapped_iter if with_maps else plain
            found: Iterator[Prediction | Lit | Mapped] = judge(items[done:], views=views)
        try:
            for one in found:
                done += 1
                yield one
        except (ImageError, NumericalError) as error:
            if on_error == "fail":
                raise
            done += 1
            yield str(error)


def _draw(target: Path, mapped: Mapped) -> None:
    """Write the overlay, at the size of a screen, and the heat map at its own size in 16 bits."""
    from differnet.evaluation.plots import save_overlay  # scikit-learn, which rows alone need not

    save_overlay(target.with_name(target.name + ".png"), mapped.pixels, mapped.heat)
    buffer = io.BytesIO()
    np.save(buffer, np.minimum(mapped.heat, np.finfo(np.float16).max).astype(np.float16))
    write_whole(target.with_name(target.name + ".npy"), buffer.getvalue())


def row_of(path: Path | Page | str, verdict: Prediction | str) -> Row:
    """Return the row of an input: what is said of it, or why nothing can be."""
    found = verdict.record if isinstance(verdict, Prediction) else PredictionRecord()
    row = {"path": str(path), **found._asdict(), "error": verdict if isinstance(verdict, str) else None}
    row["note"] = verdict.note if isinstance(verdict, Prediction) else None
    return {name: row[name] for name in COLUMNS}


def _map_names(paths: Sequence[Path | Page]) -> list[str]:
    """Name maps after the images, each with its number in front if any two would share a name."""
    stems = [_stem(path) for path in paths]
    if max(Counter(stems).values(), default=1) == 1:
        return stems
    return [f"{index:05}-{stem}" for index, stem in enumerate(stems)]


def _stem(path: Path | Page) -> str:
    page = f"-page{path.number}" if isinstance(path, Page) else ""
    stem = path.path.stem if isinstance(path, Page) else path.stem
    return os.fsdecode(os.fsencode(stem)[:_LONGEST_NAME]) + page
