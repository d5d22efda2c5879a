"""Time-to-accuracy curves of the flow's training on magnetic tiles, one setting changed at a time.

Usage: python benchmarks/curves.py MTD_FOLDER SPLIT_FILE [--out docs/results] [--work benchmark-output/curves]

The features are described once, by the default preset as it settles on tiles. A fifth of the training tiles is held
out; after every epoch the loss on those, how well defects drawn into 60 of them are told, and for the record only the
AUROC on the test tiles, are written down with the seconds of training so far. Runs that are in WORK already are not
made again.
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

from differnet import DifferNet
from differnet.config import presets
from differnet.config.settled import settle
from differnet.data import datasets
from differnet.data.groups import hold_out
from differnet.data.stream import silent
from differnet.detector.scoring import view_scores
from differnet.detector.tuning.choice import MOST_HELD
from differnet.detector.tuning.evidence import Tables, judge
from differnet.evaluation.metrics import auroc, recall_without_false_alarms
from differnet.features.cache import describe_all
from differnet.features.look import look_at
from differnet.features.pooling import settled_reading
from differnet.flow import gaussian, sources, train
from differnet.flow.flow import Flow
from differnet.flow.fusion import Fusion
from report import machine, write_curves

MOST_VIEWS = 8
SEED = 0
CHANNELS = (80, 112, 192)  # of stages 3 to 5
BASE: dict[str, Any] = {
    "rotation": "none",
    "aspect": 1.0,
    "score_rotations": "even",
    "train_views": 4,
    "read_stages": "all",
    "pooling": "largest",
    "length": 1.0,
    "blocks": 4,
    "hidden": 128,
}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "number of cached views": [{"train_views": n} for n in (1, 2, 4, 8)],
    "epochs": [{"epochs": n} for n in (5, 10, 20)],
    "batch": [{"batch": n} for n in (96, 192, 384)],
    "hidden width": [{"hidden": n} for n in (64, 128, 256)],
    "hidden layers": [{"depth": n} for n in (1, 2, 3)],
    "blocks": [{"blocks": n} for n in (2, 4, 8)],
    "peak learning rate": [{"learning_rate": rate} for rate in (5e-4, 1e-3, 2e-3)],
    "schedule": [{"schedule": "one-cycle"}, {"schedule": "constant", "learning_rate": 2e-4}],
    "noise": [{"noise": n} for n in (0.0, 0.25, 0.5, 1.0)],
    "weight decay": [{"weight_decay": n} for n in (1e-5, 1e-3)],
    "start": [{"start": "gaussian"}, {"start": "random", "noise": 0.0}],
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
    features = described(dataset, options.work)
    done: dict[str, Any] = {}
    for changes in [{}, *(change for group in VARIANTS.values() for change in group)]:
        settings = presets.resolve("single", BASE | changes)
        name = json.dumps(config_key(settings))
        file = options.work / f"{zlib.crc32(name.encode())}.json"
        if not file.exists():
            file.write_text(json.dumps(one_run(settings, *features, labels)))
        done[name] = json.loads(file.read_text())
        print(changes, done[name]["epochs"][-1], flush=True)
    groups = {
        title: [
            (change, done[json.dumps(config_key(presets.resolve("single", BASE | change)))])
            for change in changes
        ]
        for title, changes in VARIANTS.items()
    }
    write_curves(options.out, groups, machine())


def config_key(settings: presets.Config) -> dict[str, Any]:
    """Return what a run depends on."""
    plain = settings.to_dict()
    return {"flow": plain["flow"], "training": plain["training"], "views": plain["views"]["train_views"]}


def described(dataset: datasets.Dataset, work: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Return features of training views (N, 8, W), of test tiles (T, 1, W) and of drawn defects (H, 1 + K, 1, W)."""
    files = [work / f"{name}.npy" for name in ("train", "test", "drawn")]
    if not all(file.exists() for file in files):
        detector = DifferNet("single", SEED, **BASE | {"train_views": MOST_VIEWS})
        settings, describer = detector.config, detector.describer
        paths = [sample.path for sample in dataset.train]
        bank = describe_all(describer, paths, SEED, silent)
        test = torch.stack(list(describer.stream([s.path for s in dataset.test], detector.scoring_views)))
        held = hold_out(range(len(paths)), 0.2, SEED)[1][:MOST_HELD]
        looks = look_at(paths, settings)
        drawn = Tables(settings, describer, looks, held[:1], held, SEED, silent).evidence("none").tests
        for file, rows in zip(files, (bank, test, drawn), strict=True):
            np.save(file, rows.numpy())
    bank, test, drawn = (torch.from_numpy(np.load(file)) for file in files)
    return bank, test, drawn


def one_run(
    asked: presets.Config, bank: Tensor, test: Tensor, drawn: Tensor, labels: np.ndarray
) -> dict[str, Any]:
    """Fit one flow; the time of looking at it between epochs does not count."""
    fitted, held = hold_out(range(len(bank)), 0.2, SEED)
    settings = settle(asked)
    count = settings.views.train_views
    read = settled_reading(settings, CHANNELS)
    flow = Flow(read.features, seed=SEED, **settings.flow.arguments)
    source = sources.Bank(bank[fitted, :count].flatten(0, 1), settings.training.batch, SEED, read.rows)
    epochs: list[dict[str, Any]] = []
    clock = {"spent": 0.0, "since": time.perf_counter()}

    def norms(rows: Tensor) -> Tensor:
        parts = rows.flatten(0, -2).split(settings.training.batch)
        views = np.concatenate([view_scores(Fusion([flow], [read]), part, "cpu") for part in parts])
        return torch.from_numpy(views).view(rows.shape[:-1]).mean(dim=-1)

    def look(epoch: train.Epoch | None, _: int) -> None:
        clock["spent"] += time.perf_counter() - clock["since"]
        scores = norms(test).numpy()
        epochs.append(
            {
                "seconds": clock["spent"],
                "held_out_loss": epoch.held_out_loss if epoch else None,
                "drawn": judge(norms(drawn)),
                "auroc": auroc(scores, labels),
                "recall": recall_without_false_alarms(scores, labels),
            }
        )
        clock["since"] = time.perf_counter()

    if flow.whitening is not None:
        flow.whitening.set(*gaussian.fit(source.sample(gaussian.MOST_ROWS), SEED))
    look(None, 0)
    held_out = read.rows(bank[held, 0])
    train.fit(flow, source, settings.training, held_out, on_epoch=look, noise_seed=SEED)
    return {"epochs": epochs, "steps": (len(epochs) - 1) * source.steps}


if __name__ == "__main__":
    main()
