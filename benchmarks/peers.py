"""What a user would pick instead: anomalib's PaDiM and PatchCore on the same images and backbone weights.

They live in the package, where ``differnet compare`` uses them too: :mod:`differnet.evaluation.baselines.peers`.
"""

from __future__ import annotations

from differnet.evaluation.baselines.peers import Padim, Patchcore

__all__ = ["Padim", "Patchcore"]
