"""Small synthetic images, and settings of a tiny random backbone: what nearly all tests fit."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent

TINY = {
    "backbone": "test_efficientnet",
    "rotation": "full",
    "stages": [2],
    "grid": 1,
    "read_stages": "all",
    "pooling": "whole",
    "neighbours": 0,
    "start": "random",
    "noise": 0,
    "length": 1.0,
    "sizes": [64, 32],
    "precision": "f32",
    "runtime": "torch",  # converting it for another takes longer than a tiny fit
    "hidden": 32,
    "depth": 1,
    "blocks": 3,
    "fill": "reflection",
    "plain_first": False,
    "resampling": "bytes",
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
}

# The whole image and its parts, each read by a flow of its own.
COMBINED = SMALL | {
    "sizes": [64, 32],
    "stages": [2, 3],
    "grid": 3,
    "pooling": "combined",
    "neighbours": 50,
    "start": "gaussian",
    "plain_first": True,
    "resampling": "floats",
    "epochs": 1,
    "min_steps": 20,
    "batch": 16,
    "noise": 1.0,
    "holdout": 0.3,
    "rate": 0.2,
}

# SMALL as options of a command.
OPTIONS = [x for n, v in SMALL.items() for x in ("--set", f"{n}={json.dumps(v)}")] + ["--weights", "random"]

RIGHT_HALF = np.zeros((64, 64), np.uint8)  # a mask
RIGHT_HALF[:, 32:] = 255


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


def save_parts(root, fitted, judged, first):
    """Write a category of MVTec's layout: good parts to fit to, good ones from number ``first`` on and dented ones."""
    for index in range(fitted):
        save(root / f"train/good/{index}.png", good_image(index, 40))
    for index in range(judged):
        save(root / f"test/good/{index}.png", good_image(first + index, 40))
        save(root / f"test/dent/{index}.png", defective_image(index, 40)[0])
    return root


def touch(root, *names):
    """Write small black images below ``root``."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path)


def fit(images, seed=1, **options):
    """Fit a tiny detector in two epochs."""
    from differnet import DifferNet, DifferNetWarning

    settings = TINY | {"epochs": 2} | options.pop("settings", {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return DifferNet("default", seed=seed, weights="random", **settings).fit(images, **options)


def write_table(root, keys, poison=None):
    rows = []
    for number, key in enumerate(keys):
        folder = root / f"images{number}"
        for index in range(8):
            save(folder / f"good{index}.png", good_image(100 * number + index, 40))
            rows.append(
                (key, f"images{number}/good{index}.png", "train" if index < 6 else "test", "good", "")
            )
        pixels, mask = defective_image(number, 40)
        save(folder / "bad.png", pixels)
        save(folder / "mask.png", mask.astype("uint8") * 255)
        rows.append((key, f"images{number}/bad.png", "test", "defective", f"images{number}/mask.png"))
        if key == poison:
            for index in range(6):
                (folder / f"good{index}.png").write_bytes(b"no image")
    path = root / "table.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("key", "path", "split", "label", "mask"), *rows])
    return path


def write_pictures(folder: Path, count: int, first: int = 0) -> Path:
    """Write so many good images into a folder, and return it."""
    for number in range(first, first + count):
        save(folder / f"{number:03}.png", good_image(number))
    return folder
