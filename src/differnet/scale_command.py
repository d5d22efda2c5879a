"""What ``score --engine ray`` does: judge images anywhere on a cluster, into Parquet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from differnet import __version__
from differnet.console import err, out, print_json
from differnet.errors import NotFittedError

if TYPE_CHECKING:
    from differnet.data.stream import Progress
    from differnet.parts import Counts


@dataclass(frozen=True)
class Order:
    """What is asked for: ``address`` of a cluster, ``actors`` that judge, images in a ``part``.

    ``fail_on_defect``: a model without a threshold is refused.
    """

    model: Path
    inputs: Sequence[str]
    folder: str
    views: Any
    weights: str | None
    device: str
    address: str | None
    actors: int | None
    part: int
    resume: bool
    fail_on_defect: bool


def score_on_ray(
    order: Order, bars: Callable[[], AbstractContextManager[Progress]]
) -> tuple[Counts, float | None]:
    """Judge all inputs into parts; return what came of it, and the threshold. ``bars`` show progress."""
    from differnet import cluster, inventory
    from differnet.decision.verdict import threshold_for
    from differnet.detector import model_file
    from differnet.judging import Parcel

    model = model_file.load(order.model)
    promise = threshold_for(model, None if order.views == "auto" else order.views)
    theta = None if promise is None else promise.value
    if order.fail_on_defect and theta is None:
        raise NotFittedError(
            f"--fail-on-defect: {order.model} has no threshold (it was fitted with holdout=0)"
        )
    backbone = model.config.backbone
    weights = order.weights or (model.backbone_origin if model.backbone_origin == "random" else None)
    parcel = Parcel.of(order.model, weights)
    made_with = {"rows": 1, "version": __version__, "model": model.file_digest, "views": order.views}
    made_with["device"] = order.device
    with cluster.connected(order.address) as ray:
        crew = cluster.crew_of(ray, order.device, order.actors)
        entries = inventory.entries_of(order.inputs)
        run = cluster.begin(ray, order.folder, entries, made_with, order.part, order.resume)
        side = backbone.tiles * backbone.sizes[0]
        task = cluster.Task(ray.put(parcel), order.views, crew, side, model.config.views)
        with bars() as progress:
            cluster.score(ray, run, task, progress)
    return run.counts(), theta


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
