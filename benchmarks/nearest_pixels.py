"""How far features move when pixels are picked and not averaged: python benchmarks/nearest_pixels.py.

Photographs of scikit-image, 448 x 448 pixels, the embedded backbone, its deepest maps pooled over the image. Printed is
|y_nearest - y| / |y|: made smaller by the nearest pixel against averages, and turned by the nearest pixel against
bilinear weights.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from differnet.config import presets
from differnet.evaluation.demo import TEXTURES, _photograph
from differnet.features.backbone import network
from differnet.features.views import ViewSet, render, sampling_grid

SIDE = 448
READ = {"stages": [5], "grid": 1, "pooling": "whole", "tiles": 1, "aspect": 1.0}


def moved(nearest: Tensor, smooth: Tensor) -> float:
    """Return how far the features of one picture (1, 3, S, S) lie from those of another, over their length."""
    settings = presets.resolve("default", READ | {"sizes": [nearest.shape[-1]]}).backbone
    backbone = network.build(settings)
    with torch.no_grad():
        found, wanted = backbone(nearest), backbone(smooth)
    return float((found - wanted).norm() / wanted.norm())


def moves(picture: Tensor) -> dict[str, float]:
    """Return the moves of a picture (1, 3, SIDE, SIDE) made smaller, and turned by half a radian."""
    smaller = {
        f"at {side}": moved(F.interpolate(picture, size=side), F.avg_pool2d(picture, SIDE // side))
        for side in (224, 112)
    }
    view = ViewSet(torch.tensor([0.5]), torch.ones(1), torch.ones(1))
    grid = sampling_grid(view.angles, (SIDE, SIDE)).to(picture)
    turned = F.grid_sample(picture, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return smaller | {"turned, at 448": moved(turned, render(picture[0], view, "zeros"))}


def main() -> None:
    """Print a row for each photograph."""
    for name in TEXTURES:
        pixels = np.ascontiguousarray(_photograph(name)[:SIDE, :SIDE])
        picture = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        print(name, ", ".join(f"{what}: {value:.1%}" for what, value in moves(picture).items()))


if __name__ == "__main__":
    main()
