"""A detector that judges squares which were decoded elsewhere, and says of each what goes into a row."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from differnet.batch.cluster.loading import Taken
from differnet.batch.journal import Row
from differnet.batch.rows import row_of
from differnet.decision import verdict
from differnet.detector import recalibrate
from differnet.detector.detector import DifferNet
from differnet.detector.scoring import Count, Scorer, scoring_views
from differnet.errors import NumericalError
from differnet.features.backbone.weights import RANDOM


@dataclass(frozen=True)
class Parcel:
    """A model as it is sent to where it works: the bytes of its file, and of backbone weights if it needs any.

    ``files``: by their names; ``weights``: the name of one of them, ``random``, or nothing.
    """

    model: str
    weights: str | None
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, model: Path, weights: str | None) -> Parcel:
        """Read the files of a model."""
        files, name = {"model.safetensors": model.read_bytes()}, weights
        if weights not in (None, RANDOM):
            name = "weights" + Path(weights).suffix
            files[name] = Path(weights).read_bytes()
        return cls(str(model), name, files)

    def load(self, device: str) -> DifferNet:
        """Unpack and load the detector; raises what :meth:`DifferNet.load` does."""
        with tempfile.TemporaryDirectory(prefix="differnet-") as folder:
            for name, content in self.files.items():
                Path(folder, name).write_bytes(content)
            known = self.weights
            if known is not None and known in self.files:
                known = str(Path(folder, known))
            return DifferNet.load(Path(folder, "model.safetensors"), known, device)


class Judge:
    """Judges squares (3, *canvas) as :meth:`DifferNet.predict` judges their images, in ``views``."""

    def __init__(self, detector: DifferNet, views: Count = None) -> None:
        self._model, self._early = detector.model, views == "auto"
        self._shown = scoring_views(
            detector.settings.views, detector.seed, None if views == "auto" else views
        )
        verdict.threshold_for(self._model, len(self._shown))  # refuse at once
        recalibrate.check_way(self._model, detector.describer)
        if self._early:
            verdict.check_early(self._model)
        detector.describer.keep_grids(self._shown)
        self._scorer = Scorer(self._model.fusion, detector.describer, detector.device)

    def row(self, taken: Taken) -> Row:
        """Return the row of an input: what is said of it, or why nothing can be."""
        if taken.square is None:
            return row_of(taken.name, taken.reason or "no reason was given")
        square = torch.from_numpy(np.asarray(taken.square, dtype=np.float32))
        try:
            said = self._scorer.judge(self._model, square, self._shown, self._early, taken.name)
        except NumericalError as error:
            return row_of(taken.name, str(error))
        return row_of(taken.name, replace(said, note=taken.note))
