"""Scores of magnetic tiles for the page on decisions: fit once a seed, then score what no flow was fitted to.

Usage: python benchmarks/tile_scores.py MTD SPLIT CACHE [--seeds 3]

CACHE: a folder; for each seed it gets the model file and a JSON file with scores, brightness and sharpness of the
held-out and the test tiles. A seed that is there is not computed again. For seed 0 all good tiles are also scored
darker, in steps of 2 % down to 20 %.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from differnet import DifferNet, DifferNetWarning
from differnet.data import datasets
from differnet.data.images import load
from differnet.decision.light import measure
from differnet.detector import fitting

DIM = tuple(round(1 - 0.02 * step, 2) for step in range(11))


def looked_at(detector: DifferNet, paths: list[Path], factor: float = 1.0) -> dict[str, list[float]]:
    """Return score, brightness and sharpness of each image, darkened by a factor."""
    pictures = [np.rint(load(path) * factor).astype(np.uint8) for path in paths]
    light = [measure(picture) for picture in pictures]
    return {
        "score": [float(value) for value in detector.score_iter(iter(pictures))],
        "brightness": [one.brightness for one in light],
        "sharpness": [one.sharpness for one in light],
    }


def fitted(data: datasets.Dataset, seed: int, file: Path) -> DifferNet:
    """Load the detector of a seed, or fit and save it."""
    if file.exists():
        return DifferNet.load(file)
    detector = DifferNet("default", seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        detector.fit([sample.path for sample in data.train])
    detector.save(file)
    return detector


def of_seed(data: datasets.Dataset, seed: int, cache: Path, say: Callable[[str], None]) -> None:
    """Write the figures of one seed, if they are not there."""
    file = cache / f"seed-{seed}.json"
    if file.exists():
        return
    detector = fitted(data, seed, cache / f"seed-{seed}.safetensors")
    say(f"seed {seed}: fitted")
    train, test = [sample.path for sample in data.train], data.test
    held = [train[index] for index in fitting.split(train, None, detector.config.decision, seed)[1]]
    document: dict[str, Any] = {
        "seed": seed,
        "held_out": looked_at(detector, held),
        "test": looked_at(detector, [sample.path for sample in test]),
        "label": [sample.defect for sample in test],
        "threshold": detector.threshold,
    }
    assert np.allclose(np.sort(detector.model.calibration()), np.sort(document["held_out"]["score"]))
    if seed == 0:
        good = held + [sample.path for sample in test if not sample.is_defective]
        document["dimmed"] = {}
        for factor in DIM:
            document["dimmed"][str(factor)] = looked_at(detector, good, factor)
            say(f"seed {seed}: light at {factor:.0%}")
    file.write_text(json.dumps(document))
    say(f"seed {seed}: {file}")


def main() -> None:
    """Fill the cache."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    data = datasets.read_mtd(options.data, options.split)
    for seed in range(options.seeds):
        of_seed(data, seed, options.cache, lambda text: print(text, flush=True))


if __name__ == "__main__":
    main()
