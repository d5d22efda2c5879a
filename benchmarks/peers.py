"""What a user would pick instead: anomalib's PaDiM and PatchCore on the same images and backbone weights.

They live in the package, where ``differnet compare`` uses them too: :mod:`differnet.evaluation.baselines.peers`.
EfficientAD's teacher has weights of its own, which are not at hand: it is timed as it is built.
"""

from __future__ import annotations

from pathlib import Path

import torch

from differnet.data.formats.levels import OWN
from differnet.evaluation.baselines.peers import Padim, Patchcore, part_of, read

__all__ = ["Padim", "Patchcore", "UntrainedEfficientAd"]


class UntrainedEfficientAd:
    """anomalib's EfficientAD (small) with random weights, for its time alone; ``size``: pixels of a side."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._model = part_of("efficient_ad", "torch_model").EfficientAdModel().eval()

    @torch.inference_mode()
    def score(self, path: Path) -> float:
        """Decode an image and return what the model makes of it, which means nothing."""
        return float(self._model(read([path], self.size, OWN).contiguous()).pred_score)
