"""What a choice is made from: features of good images, of turned copies, and of defects drawn into good images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from differnet import config, gaussian, synthetic
from differnet.features import Describer, Progress, look_ahead, name_of
from differnet.frame import cover
from differnet.images import ImageLike
from differnet.metrics import auroc
from differnet.reading import Reading
from differnet.runtime import GROUP
from differnet.seeds import generator
from differnet.views import random_views

_TURNED_VIEWS = 8
_LEAST_STRENGTH = 0.3


@dataclass(frozen=True, eq=False)
class Evidence:
    """Features that a choice was made from.

    ``rows``: (N, V, W), training views of the images at ``positions``. ``tests``: (H, 1 + K, V', W), held-out images
    as they are and with a defect of each kind, in the first scoring views. ``can_train_on``: whether
    ``rows`` are what a bank has at those positions.
    """

    positions: list[int]
    rows: Tensor
    tests: Tensor
    can_train_on: bool

    def for_bank(self) -> dict[int, Tensor]:
        """Return the rows by position where a bank would have the same."""
        return dict(zip(self.positions, self.rows, strict=True)) if self.can_train_on else {}


def judge(scores: Tensor) -> float:
    """Return how well drawn defects are told: scores (H, 1 + K), good ones first, to the mean AUROC over kinds."""
    return float(wins(scores).mean())


def wins(scores: Tensor) -> Tensor:
    """Return, for each pair of a good image and one with a defect, in what share of the kinds its score is higher.

    From scores (H, 1 + K) to (H, H), the good ones in rows; equal scores count half. The mean is the AUROC.
    """
    good, drawn = scores[:, 0].view(-1, 1, 1), scores[:, 1:]
    return ((good < drawn).double() + 0.5 * (good == drawn)).mean(dim=2)


@dataclass(frozen=True)
class Tables:
    """Features of some good images, of copies of them, and of defects drawn into them."""

    settings: config.Config
    describer: Describer
    images: Sequence[ImageLike]
    fitted: list[int]
    held: list[int]
    seed: int
    progress: Progress

    def told_apart(self, read: Reading) -> dict[str, float]:
        """Return the AUROC between held-out images and their copies, by how these were turned."""
        good = gaussian.fit(read.rows(self._upright.flatten(0, 1)), self.seed)
        rows = torch.stack([self._describe(_copies(square.float())) for square in self._squares])
        norms = gaussian.norms(read.rows(rows.flatten(0, 1)), good).view(len(self.held), -1).numpy()
        return {name: _auroc(norms[:, 0], norms[:, i]) for i, name in enumerate(_COPIES, 1)}

    def evidence(self, rotation: str) -> Evidence:
        """Describe training views and drawn defects for parts that lie like this."""
        rows = self._upright if rotation == "none" else self._training(rotation)
        tests = [self._with_defects(square, i, rotation) for i, square in enumerate(self._squares)]
        is_whole = rows.shape[1] == self._views(rotation).count_to_fit
        return Evidence(self.fitted, rows, torch.stack(tests), is_whole)

    @cached_property
    def _upright(self) -> Tensor:
        return self._training("none")

    def _training(self, rotation: str) -> Tensor:
        """Describe the first training views of every fitted image: (N, V, W)."""
        views = self._views(rotation)
        most = config.UPRIGHT_VIEWS if rotation == "none" else _TURNED_VIEWS
        count = min(most, views.count_to_fit)
        rows, describer = [], self.describer.with_views(views)
        chosen = [self.images[position] for position in self.fitted]
        for position, (image, square) in zip(
            self.fitted, look_ahead(self.describer.square, chosen), strict=True
        ):
            rows.append(describer.training_features(square, self.seed, position, count, name_of(image)))
            self.progress("looking at good images", len(rows), len(chosen))
        return torch.stack(rows)

    def _with_defects(self, square: Tensor, index: int, rotation: str) -> Tensor:
        """Describe an image, without and with a defect of each kind, in the first views of scoring: (1 + K, V, W)."""
        rng = np.random.default_rng([self.seed, index])
        pixels = square.permute(1, 2, 0).numpy()
        drawn = [
            synthetic.draw(pixels, kind, rng.uniform(_LEAST_STRENGTH, 1), rng)[0] for kind in synthetic.KINDS
        ]
        shown = [square.float(), *(torch.from_numpy(one).permute(2, 0, 1).float() for one in drawn)]
        self.progress("drawing defects", index + 1, len(self.held))
        if rotation == "none":
            return self._describe(shown)[:, None]
        views = random_views(GROUP, self._views(rotation), generator(self.seed, "scoring views"))
        covered = [cover(one, self.settings.views) for one in shown]
        return torch.stack([self.describer.features(one, views) for one in covered])

    def _describe(self, pictures: list[Tensor]) -> Tensor:
        return self.describer.plain_features(cover(torch.stack(pictures), self.settings.views))

    @cached_property
    def _squares(self) -> list[Tensor]:
        """The held-out images (3, S, S) in bytes, nothing covered: decoded once for turned copies and defects."""
        chosen = [self.images[position] for position in self.held]
        bare = self.describer.with_views(replace(self.settings.views, ignore=None))
        return [square.byte() for _, square in look_ahead(bare.square, chosen)]

    def _views(self, rotation: str) -> config.Views:
        return config.follow_rotation(config.resolve(self.settings, {"rotation": rotation})).views


_COPIES = (
    "turned by 90",
    "turned by 180",
    "turned by 270",
    "mirrored left to right",
    "mirrored top to bottom",
)


def _copies(square: Tensor) -> list[Tensor]:
    """Return a picture (3, S, S) and its copies, in the order of ``_COPIES``."""
    turned = [square.rot90(quarter, (1, 2)) for quarter in (1, 2, 3)]
    return [square, *turned, square.flip(2), square.flip(1)]


def _auroc(good: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    labels = np.repeat([False, True], [len(good), len(other)])
    return auroc(np.concatenate((good, other)), labels)
