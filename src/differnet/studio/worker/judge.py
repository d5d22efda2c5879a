"""Judge known defects by a fitted model: how many would be found, by type; nothing here moves a threshold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from differnet.data.files import write_whole
from differnet.data.stream import Progress
from differnet.detector.detector import DifferNet
from differnet.evaluation.recall import recalls
from differnet.studio.worker.fit import RESULT, SHOWN, draw


def judge(folder: Path, wanted: dict[str, Any], tell: Progress) -> None:
    """Write scores, verdicts, recall, and the heat maps of the defects with the lowest scores into ``folder``.

    ``wanted``: ``model`` (its file), ``pictures`` (id, path, name and defect of each), ``weights``.
    """
    detector, rows = DifferNet.load(wanted["model"], wanted["weights"]), wanted["pictures"]
    tell("starting", 1, 1)
    found = []
    for row, prediction in zip(rows, detector.predict_iter([Path(one["path"]) for one in rows]), strict=True):
        said = {"score": prediction.score, "verdict": prediction.verdict, "percent": prediction.percent}
        found.append({"id": row["id"], "defect": row["defect"], **said})
        tell("judging known defects", len(found), len(rows))
    told = recalls(
        [row["defect"] for row in rows], [one["verdict"] for one in found], [row["name"] for row in rows]
    )
    found.sort(key=lambda one: one["score"])
    places = {row["id"]: Path(row["path"]) for row in rows}
    draw(detector, folder, [(one["id"], places[one["id"]]) for one in found[:SHOWN]], tell)
    document = {
        "defects": found,
        "recalls": [one.to_dict() | {"text": str(one)} for one in told] if detector.promise else [],
    }
    write_whole(folder / RESULT, json.dumps(document, allow_nan=False).encode())
