"""Fit to the good pictures, then judge them all: which are the most unusual, and where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from differnet.config import presets
from differnet.data.files import write_whole
from differnet.data.stream import Progress
from differnet.decision.thresholds import CONDITION
from differnet.decision.verdict import Prediction, review_promise
from differnet.detector.detector import DifferNet
from differnet.detector.model import Model
from differnet.features.look import Look, looks_of
from differnet.flow.train import by_epoch
from differnet.runtime.heatmap import heat_png

SHOWN = 12  # of the most unusual pictures, with their heat maps
MODEL, RESULT, MAPS = "model.safetensors", "result.json", "maps"


def fit(folder: Path, wanted: dict[str, Any], tell: Progress) -> None:
    """Write the model, what is known of it and the heat maps of the most unusual good pictures into ``folder``.

    ``wanted``: ``pictures`` (id and path of each), ``preset``, ``settings``, ``seed``, ``weights``.
    """
    ids = [one["id"] for one in wanted["pictures"]]
    paths = [Path(one["path"]) for one in wanted["pictures"]]
    config = presets.resolve(wanted["preset"], wanted["settings"])
    detector = DifferNet(config, wanted["seed"], wanted["weights"])
    looks = looks_of(paths, detector.config)
    detector.fit(looks, progress=tell, on_epoch=by_epoch(tell))
    detector.save(folder / MODEL)
    predictions = []
    for prediction in detector.predict_iter(paths):
        predictions.append(prediction)
        tell("judging good pictures", len(predictions), len(paths))
    held = held_out(detector.model, looks)
    good = [
        {"id": identity, "held_out": is_held, **_said(prediction)}
        for identity, is_held, prediction in zip(ids, held, predictions, strict=True)
    ]
    good.sort(key=lambda one: -one["score"])
    places = dict(zip(ids, paths, strict=True))
    draw(detector, folder, [(one["id"], places[one["id"]]) for one in good[:SHOWN]], tell)
    write_whole(folder / RESULT, json.dumps({**summary(detector), "good": good}, allow_nan=False).encode())


def held_out(model: Model, looks: Sequence[Look]) -> list[bool]:
    """Return which pictures set the threshold and were not fitted to; of copies all are where one is."""
    record = model.calibrated_on
    known = frozenset(record.sources.images) if record is not None and not record.folds else frozenset()
    return [look.seen.digest in known for look in looks]


def summary(detector: DifferNet) -> dict[str, Any]:
    """Return in words and figures what was found out, and what can be promised."""
    model, promise = detector.model, detector.promise
    decision = model.config.decision
    effective, review = model.effective, review_promise(model)
    said = effective.in_words(decision.rate, decision.confidence) if effective and effective.is_less else None
    return {
        "train_count": model.train_count,
        "calibration_count": len(model.view_scores),
        "threshold": None if promise is None else promise.value,
        "review_threshold": None if review is None else review.value,
        "rate": decision.rate,
        "promised": None if promise is None else promise.promised,
        "is_kept": promise is not None and promise.is_kept,
        "missing": None if promise is None else promise.missing,
        "promise": None if promise is None else str(promise),
        "single_sets": None if promise is None or promise.folds else promise.single_sets,
        "condition": None if promise is None else CONDITION,
        "effective": said,
        "effective_count": None if effective is None else effective.value,
        "choice": None if model.choice is None else str(model.choice),
        "sisters": None if model.sisters is None else str(model.sisters),
        "precision": model.precision,
        "stage_seconds": {name: round(one, 2) for name, one in model.stage_seconds.items()},
    }


def draw(detector: DifferNet, folder: Path, chosen: Sequence[tuple[str, Path]], tell: Progress) -> None:
    """Write the heat map of each picture, by its id, as PNG to lay over it."""
    mapped = detector.mapped_iter([path for _, path in chosen])
    for number, ((identity, _), one) in enumerate(zip(chosen, mapped, strict=True), 1):
        write_whole(folder / MAPS / f"{identity}.png", heat_png(one.heat))
        tell("drawing heat maps", number, len(chosen))


def _said(prediction: Prediction) -> dict[str, Any]:
    return {"score": prediction.score, "verdict": prediction.verdict, "percent": prediction.percent}
