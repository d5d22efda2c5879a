"""What a choice is made from: features of good images, and of defects drawn into good images."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from differnet.config import presets
from differnet.config.settled import UPRIGHT_VIEWS, Rotation, SettledViews, provisional
from differnet.data.images import Pixels
from differnet.data.square import place
from differnet.data.stream import Progress, look_ahead, name_of
from differnet.decision.early_stop import GROUP
from differnet.detector.tuning import synthetic
from differnet.features.describer import Describer
from differnet.features.look import Look
from differnet.features.seeds import generator
from differnet.features.tiles import cover
from differnet.features.views import random_views

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


def _with_defect(pixels: Pixels, kind: str, rng: np.random.Generator) -> Pixels:
    """Draw a defect of some strength; what is too thin for that is widened before and made thin again."""
    height, width = pixels.shape[:2]
    room = max(width, synthetic.LEAST_SIDE), max(height, synthetic.LEAST_SIDE)
    drawn = synthetic.draw(_resized(pixels, room), kind, rng.uniform(_LEAST_STRENGTH, 1), rng)[0]
    return _resized(drawn, (width, height))


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Return a copy that is so wide and high."""
    return np.array(Image.fromarray(pixels).resize(size))


@dataclass(frozen=True)
class Tables:
    """Features of some good images, and of defects drawn into others."""

    settings: presets.Config
    describer: Describer
    images: Sequence[Look]
    fitted: list[int]
    held: list[int]
    seed: int
    progress: Progress

    def evidence(self, rotation: Rotation) -> Evidence:
        """Describe training views and drawn defects for parts that lie like this."""
        rows = self._training(rotation)
        first = self._with_defects(0, rotation)
        tests = torch.empty(len(self.held), *first.shape)
        for index in range(len(tests)):
            tests[index] = self._with_defects(index, rotation) if index else first
        return Evidence(self.fitted, rows, tests, self._is_whole(rows, rotation))

    def _is_whole(self, rows: Tensor, rotation: Rotation) -> bool:
        return rows.shape[1] == self._views(rotation).train_views

    def _training(self, rotation: Rotation) -> Tensor:
        """Describe the first training views of every fitted image: (N, V, W)."""
        views = self._views(rotation)
        most = UPRIGHT_VIEWS if rotation == "none" else _TURNED_VIEWS
        count = min(most, views.train_views)
        describer = self.describer.with_views(views)
        table = torch.empty(
            len(self.fitted), count, describer.width
        )  # rows kept one by one would split the heap
        squares = look_ahead(describer.square, (self.images[position] for position in self.fitted))
        for row, position, (image, square) in zip(itertools.count(), self.fitted, squares, strict=False):
            table[row] = describer.training_features(square, self.seed, position, count, name_of(image))
            self.progress("looking at good images", row + 1, len(self.fitted))
        return table

    def _with_defects(self, index: int, rotation: Rotation) -> Tensor:
        """Describe an image, without and with a defect of each kind, in the first views of scoring: (1 + K, V, W)."""
        rng = np.random.default_rng([self.seed, index])
        square, shape = self._held_out[index]
        box = place(shape, self.describer.canvas, self.settings.views)
        top, left, height, width = box
        pixels = square[:, top : top + height, left : left + width].permute(1, 2, 0).numpy()
        shown = [square.float()]
        for kind in synthetic.KINDS:
            drawn = _with_defect(pixels, kind, rng)
            shown.append(square.float())
            shown[-1][:, top : top + height, left : left + width] = torch.from_numpy(drawn).permute(2, 0, 1)
        self.progress("drawing defects", index + 1, len(self.held))
        if rotation == "none":
            return self._describe(shown, shape)[:, None]
        views = random_views(GROUP, self._views(rotation), generator(self.seed, "scoring views"))
        covered = [cover(one, box, self.settings.views) for one in shown]
        return torch.stack([self.describer.features(one, views) for one in covered])

    def _describe(self, squares: list[Tensor], shape: tuple[int, ...]) -> Tensor:
        box = place(shape, self.describer.canvas, self.settings.views)
        return self.describer.plain_features(cover(torch.stack(squares), box, self.settings.views))

    @cached_property
    def _held_out(self) -> list[tuple[Tensor, tuple[int, ...]]]:
        """Squares (3, *canvas) of the held-out images in bytes, nothing covered, and the shapes of the images."""
        bare = partial(Look.bare, canvas=self.describer.canvas)
        squares = look_ahead(bare, [self.images[position] for position in self.held])
        return [
            (torch.from_numpy(np.rint(square).astype(np.uint8).transpose(2, 0, 1)), one.seen.shape)
            for one, square in squares
        ]

    def _views(self, rotation: Rotation) -> SettledViews:
        return provisional(self.settings, rotation).views
