"""What a cell of the paper's tables is computed from, and the key under which it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from differnet import __version__
from differnet.config import presets
from differnet.data.datasets import Dataset
from differnet.detector.model import versions
from differnet.evaluation.kept import FORMAT
from differnet.features.backbone import select


@dataclass(frozen=True)
class Plan:
    """What a cell is computed from.

    ``shots``: how many training images, drawn by the seed; nothing for all. ``maps``: whether heat maps are measured
    and drawn. ``view_counts``: fewer scoring views, the first ones, that images are scored in as well.
    """

    dataset: Dataset
    settings: presets.Config
    seed: int
    shots: int | None = None
    maps: bool = False
    view_counts: tuple[int, ...] = ()

    def key(self, content: str, surroundings: Mapping[str, str]) -> str:
        """Return a digest of all that the cell depends on.

        ``content``: the digest of the files (:meth:`~differnet.data.samples.Dataset.digest`); ``surroundings``: see
        :func:`surroundings`.
        """
        asked = (
            FORMAT,
            self.dataset.name,
            self.settings.to_dict(),
            self.seed,
            self.shots,
            self.maps,
            self.view_counts,
        )
        text = json.dumps([content, dict(surroundings), *asked], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def surroundings(settings: presets.Config, weights: str, device: str) -> dict[str, str]:
    """Say what a cell depends on besides data and settings: weights, versions, and where ``"auto"`` runs here.

    ``weights``: see :func:`digest_of_weights`. Raises as :func:`differnet.features.backbone.select.choose_precision`
    does for what cannot run here.
    """
    return {
        "weights": weights,
        "device": device,
        "runtime": select.choose_name(settings.backbone, device),
        "precision": select.choose_precision(settings.backbone, device),
        **versions(),
        "differnet": __version__,
    }
