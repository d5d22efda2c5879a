"""Judge many images into rows, and write the rows as CSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from differnet import storage
from differnet.detector import DifferNet
from differnet.errors import ConfigError
from differnet.features import Progress
from differnet.images import find, load
from differnet.pictures import save_overlay
from differnet.storage import write_whole

Row = dict[str, Any]
COLUMNS = ("path", "score", "p_value", "threshold", "is_defective", "overlay", "map")


def judge_all(detector: DifferNet, paths: Sequence[Path], maps: Path | None, progress: Progress) -> list[Row]:
    """Judge every image at or below ``paths`` in order; overlays and raw maps go to ``maps`` if given."""
    found = [image for path in paths for image in find(path)]
    names = _map_names(found) if maps else []
    judged = []
    for index, path in enumerate(found):
        prediction = detector.predict(path, heat_map=maps is not None)
        row: Row = {
            "path": str(path),
            "score": prediction.score,
            "p_value": prediction.p_value,
            "threshold": prediction.threshold,
            "is_defective": prediction.is_defective,
        }
        if maps and prediction.heat_map is not None:
            row["overlay"] = str(maps / f"{names[index]}.png")
            row["map"] = str(maps / f"{names[index]}.npy")
            save_overlay(maps / f"{names[index]}.png", load(path), prediction.heat_map)
            buffer = io.BytesIO()
            np.save(buffer, prediction.heat_map)
            write_whole(maps / f"{names[index]}.npy", buffer.getvalue())
        judged.append(row)
        progress("judging", index + 1, len(found))
    return judged


def check_target(table: Path | None) -> None:
    """Refuse a table of an unknown kind before any work is done."""
    if table is not None and table.suffix.lower() not in {".csv", ".jsonl"}:
        raise ConfigError(f"--out {table}: a name ending in .csv or .jsonl was wanted")
    if table is not None:
        storage.check_target(table)


def write(table: Path, judged: Sequence[Row]) -> None:
    """Write rows as CSV or JSON lines by the suffix, whole or not at all."""
    buffer = io.StringIO(newline="")
    if table.suffix.lower() == ".csv":
        writer = csv.DictWriter(buffer, [c for c in COLUMNS if any(c in row for row in judged)])
        writer.writeheader()
        writer.writerows(judged)
    else:
        buffer.writelines(json.dumps(row, allow_nan=False) + "\n" for row in judged)
    write_whole(table, buffer.getvalue().encode("utf-8", "surrogateescape"))


def _map_names(paths: Sequence[Path]) -> list[str]:
    """Name maps after the images, each with its number in front if any two share a stem."""
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{index:05}-{stem}" for index, stem in enumerate(stems)]
