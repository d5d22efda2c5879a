"""Small synthetic images and a tiny random backbone for all tests; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = {
    "backbone": "test_efficientnet",
    "rotation": "full",
    "stages": [2],
    "grid": 1,
    "read_stages": "all",
    "pooling": "whole",
    "start": "random",
    "noise": 0,
    "length": 1.0,
    "sizes": [64, 32],
    "precision": "f32",
    "hidden": 32,
    "depth": 1,
    "blocks": 3,
    "fill": "reflection",
    "epochs": 24,
    "min_steps": 0,
    "batch": 32,
    "train_views": 8,
    "score_views": 8,
    "learning_rate": 3e-3,
    "map_views": 2,
    "blur": 2.0,
}

SMALL = TINY | {
    "sizes": [32],
    "epochs": 4,
    "train_views": 2,
    "score_views": 4,
    "blocks": 2,
    "map_views": 1,
    "runtime": "torch",
}


def good_image(index: int, size: int = 64) -> np.ndarray:
    """Grey stripes of a random phase with a little noise: (size, size, 3) uint8."""
    rng = np.random.default_rng(index)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    stripes = 128 + 40 * np.sin((x + y) / 3 + rng.uniform(0, 6))
    return (
        np.clip(stripes[..., None] + rng.normal(0, 4, (size, size, 1)), 0, 255).repeat(3, 2).astype(np.uint8)
    )


def defective_image(index: int, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A good image with a bright square, and its mask."""
    image = good_image(10_000 + index, size)
    row, column = np.random.default_rng(index).integers(8, size - 24, 2)
    mask = np.zeros((size, size), dtype=bool)
    mask[row : row + 14, column : column + 14] = True
    image[mask] = 250
    return image, mask


def save(path: Path, pixels: np.ndarray) -> None:
    """Write an image, and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def touch(root, *names):
    """Write small black images below ``root``."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path)


@pytest.fixture(scope="session")
def good_images():
    return [good_image(i) for i in range(24)]


@pytest.fixture(scope="session")
def detector(good_images):
    """A tiny detector fitted once for all tests; treat it as read-only."""
    from differnet import DifferNet

    with pytest.warns(UserWarning, match="too few to promise"):
        return DifferNet("default", seed=1, weights="random", **TINY).fit(good_images)


@pytest.fixture(scope="session")
def mvtec_root(tmp_path_factory):
    """A miniature data set in the MVTec layout with one category."""
    root = tmp_path_factory.mktemp("mvtec")
    category = root / "stripes"
    for part, start, count in (("train/good", 0, 24), ("test/good", 100, 8)):
        (category / part).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(good_image(start + i)).save(category / part / f"{i:03}.png")
    for folder in ("test/square", "ground_truth/square"):
        (category / folder).mkdir(parents=True)
    for i in range(8):
        image, mask = defective_image(i)
        Image.fromarray(image).save(category / "test" / "square" / f"{i:03}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(
            category / "ground_truth" / "square" / f"{i:03}_mask.png"
        )
    return root


@pytest.fixture(scope="module")
def categories(tmp_path_factory):
    """A miniature of MVTec AD with two categories."""
    root = tmp_path_factory.mktemp("mvtec")
    for number, name in enumerate(("bottle", "screw")):
        for i in range(6):
            save(root / name / f"train/good/{i}.png", good_image(100 * number + i, 40))
        for i in range(3):
            save(root / name / f"test/good/{i}.png", good_image(100 * number + 50 + i, 40))
            pixels, mask = defective_image(10 * number + i, 40)
            save(root / name / f"test/dent/{i}.png", pixels)
            save(root / name / f"ground_truth/dent/{i}_mask.png", mask.astype(np.uint8) * 255)
    return root


@pytest.fixture(scope="session")
def tiny_station(tmp_path_factory):
    """The folder of a tiny model with one upright view, a threshold, a review band and heat maps."""
    from service_fixture import export_tiny

    return export_tiny(tmp_path_factory.mktemp("served") / "tiny")
