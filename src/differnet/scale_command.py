"""What ``score --engine ray`` does: judge images anywhere on a cluster, into Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from differnet.batch.cluster.scoring import Order
from differnet.console import err, out, print_json

if TYPE_CHECKING:
    from differnet.batch.cluster.parts import Counts


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
