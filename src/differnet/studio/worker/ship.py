"""Export a fitted model to the folder of a station, which is kept only if it judges as the model does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from differnet.data.files import write_whole
from differnet.data.stream import Progress
from differnet.detector.detector import DifferNet
from differnet.detector.export import export, format_of
from differnet.studio.worker.fit import RESULT

STATION = "station"


def ship(folder: Path, wanted: dict[str, Any], tell: Progress) -> None:
    """Write the station, and beside it how well it agrees with the model.

    ``wanted``: ``model`` (its file), ``weights``, ``format``, ``check`` (paths of pictures that both judge), ``to`` (a
    further folder that gets the same, nothing for none), ``name`` and the number of the ``fit``, which are noted.
    """
    detector = DifferNet.load(wanted["model"], wanted["weights"])
    tell("starting", 1, 1)
    check = [Path(one) for one in wanted["check"]]
    here = detector, folder / STATION, format_of(wanted["format"]), detector.model.precision == "int8"
    agreement = export(*here, check, tell)
    if wanted["to"]:
        copy(folder / STATION, Path(wanted["to"]))
    document = {"agreement": str(agreement), "to": wanted["to"], "name": wanted["name"], "fit": wanted["fit"]}
    write_whole(folder / RESULT, json.dumps(document).encode())


def copy(station: Path, target: Path) -> None:
    """Copy a station to a folder that is not there yet, or is empty: whole or not at all."""
    import shutil

    from differnet.errors import ConfigError

    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(
            f"{target} is there already: give a folder that does not exist yet, or an empty one"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        shutil.copytree(station, beside)
        if target.exists():
            target.rmdir()
        beside.replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
