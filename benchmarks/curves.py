"""Time-to-accuracy curves of the flow's training on magnetic tiles, one setting changed at a time.

Usage: python benchmarks/curves.py MTD_FOLDER SPLIT_FILE [--out docs/results] [--work benchmark-output/curves]

The features are described once, by the default preset. A fifth of the training tiles is held out; after every epoch
the loss on those, and for the record only the AUROC on the test tiles, are written down with the seconds
of training so far. Runs that are in WORK already are not made again.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from differnet import DifferNet, config, datasets, train
from differnet.bank import describe_all
from differnet.calibrate import hold_out
from differnet.features import silent
from differnet.flow import Flow
from differnet.metrics import auroc, recall_without_false_alarms
from differnet.reading import reading
from differnet.scorer import view_scores
from report import machine, write_curves

MOST_VIEWS = 32
BASE: dict[str, Any] = {"hidden": 256, "depth": 3, "batch": 192, "epochs": 10, "learning_rate": 1e-3}
SEED = 0
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "number of cached views": [{"train_views": n} for n in (4, 8, 16, 32)],
    "epochs": [{"epochs": n} for n in (3, 5, 10)],
    "few views and epochs": [{"train_views": 8, "epochs": 5}, {"train_views": 16, "epochs": 5}],
    "batch": [{"batch": n} for n in (96, 192, 384)],
    "hidden width": [{"hidden": n} for n in (128, 256)],
    "hidden layers": [{"depth": n} for n in (2, 3)],
    "blocks": [{"blocks": n} for n in (4, 8)],
    "peak learning rate": [{"learning_rate": rate} for rate in (1e-3, 2e-3)],
    "hidden layers and peak learning rate": [
        {"depth": 2, "learning_rate": 2e-3},
        {"depth": 1, "learning_rate": 2e-3},
        {"depth": 2, "learning_rate": 4e-3},
    ],
    "8 views": [{"train_views": 8}, {"train_views": 8, "depth": 2, "learning_rate": 2e-3}],
}


def main() -> None:
    """Make all runs that are missing, then the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-output/curves"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    dataset = datasets.read(options.data, "mtd", (), options.split)[0]
    labels = np.array([sample.is_defective for sample in dataset.test])
    bank, test = described(dataset, options.work)
    done: dict[str, Any] = {}
    for changes in [{}, *(change for group in VARIANTS.values() for change in group)]:
        settings = config.resolve("default", BASE | changes)
        name = json.dumps(config_key(settings))
        file = options.work / f"{zlib.crc32(name.encode())}.json"
        if not file.exists():
            file.write_text(json.dumps(one_run(settings, bank, test, labels)))
        done[name] = json.loads(file.read_text())
        print(changes, done[name]["epochs"][-1], flush=True)
    groups = {
        title: [
            (change, done[json.dumps(config_key(config.resolve("default", BASE | change)))])
            for change in changes
        ]
        for title, changes in VARIANTS.items()
    }
    write_curves(options.out, groups, machine())


def config_key(settings: config.Config) -> dict[str, Any]:
    """Return what a run depends on."""
    plain = settings.to_dict()
    return {"flow": plain["flow"], "training": plain["training"], "views": plain["views"]["train_views"]}


def described(dataset: datasets.Dataset, work: Path) -> tuple[Tensor, Tensor]:
    """Return training features (N, 32, D) and test features (T, 16, D) of the default preset."""
    files = [work / "train.npy", work / "test.npy"]
    if not all(file.exists() for file in files):
        detector = DifferNet("default", SEED, train_views=MOST_VIEWS)
        paths = [sample.path for sample in dataset.train]
        detector.prepare(paths)
        bank = describe_all(detector.describer, paths, SEED, silent)
        describer, views = detector.describer, detector.scoring_views
        test = torch.stack(list(describer.stream([sample.path for sample in dataset.test], views)))
        for file, rows in zip(files, (bank, test), strict=True):
            np.save(file, rows.numpy())
    bank, test = (torch.from_numpy(np.load(file)) for file in files)
    return bank, test


def one_run(settings: config.Config, bank: Tensor, test: Tensor, labels: np.ndarray) -> dict[str, Any]:
    """Fit one flow; the time of looking at it between epochs does not count."""
    fitted, held = hold_out(range(len(bank)), 0.2, SEED)
    shape, count = settings.flow, settings.views.train_views
    flow = Flow(bank.shape[2], shape.blocks, shape.hidden, shape.depth, shape.clamp, SEED)
    read = reading((bank.shape[2],), 1, 1, (0,), "whole")
    rows = bank[fitted, :count].flatten(0, 1)
    epochs: list[dict[str, Any]] = []
    clock = {"spent": 0.0, "since": time.perf_counter()}

    def look(epoch: train.Epoch, _: int) -> None:
        clock["spent"] += time.perf_counter() - clock["since"]
        scores = np.array([view_scores(flow, read, part, "cpu").mean() for part in test])
        epochs.append(
            {
                "seconds": clock["spent"],
                "held_out_loss": epoch.held_out_loss,
                "auroc": auroc(scores, labels),
                "recall": recall_without_false_alarms(scores, labels),
            }
        )
        clock["since"] = time.perf_counter()

    source = train.Bank(rows, settings.training.batch, SEED)
    train.fit(flow, source, settings.training, bank[held, :16].flatten(0, 1), on_epoch=look)
    return {"epochs": epochs, "steps": len(epochs) * source.steps}


if __name__ == "__main__":
    main()
