"""What keeps a flow from overfitting, from 16 images to all, on two data sets: one thing changed at a time.

Usage: python benchmarks/overfitting.py MTD_FOLDER SPLIT_FILE [--seeds 3] [--out docs/results]
       [--work benchmark-output/overfitting]

Upright views, stages 3 to 5, the largest of 2 x 2 parts, a flow that starts as a Gaussian: what the default settles on
for these data, trained by its whole schedule. Features are described once a data set; a seed draws the images, the
flow and the order. The test images are halved at random once: settings may be chosen on the development half, and
the other half says what the choice is worth. Seconds are the processor time of training on one thread. Runs that are
in WORK already are not made again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from curves import BASE, CHANNELS
from differnet import DifferNet
from differnet.config import presets
from differnet.config.settled import settle
from differnet.data import datasets
from differnet.data.datasets import Dataset
from differnet.data.stream import silent
from differnet.detector.scoring import view_scores
from differnet.evaluation.metrics import auroc
from differnet.features.cache import describe_all
from differnet.features.pooling import settled_reading
from differnet.flow import gaussian, sources, train
from differnet.flow.flow import CouplingBlock, Flow
from differnet.flow.fusion import Fusion
from report import machine

MOST_VIEWS = 16
COUNTS = (16, 64, 256, None)
_AVERAGE = 0.97  # of the weights so far, at every step


@dataclass(frozen=True)
class Variant:
    """A setting, or something that the package does not do: dropout, averaged weights."""

    name: str
    changes: tuple[tuple[str, Any], ...] = ()
    dropout: float = 0.0
    is_averaged: bool = False
    is_trained: bool = True


VARIANTS = (
    Variant("the Gaussian that it starts from", is_trained=False),
    Variant("as it is: noise 0.5, 4 views, 4 blocks of 3 x 128"),
    Variant("no noise", (("noise", 0.0),)),
    Variant("noise 0.25", (("noise", 0.25),)),
    Variant("noise 1", (("noise", 1.0),)),
    Variant("1 view", (("train_views", 1),)),
    Variant("16 views, a new one in nearly every epoch", (("train_views", 16), ("epochs", 3))),
    Variant("weight decay 1e-3", (("weight_decay", 1e-3),)),
    Variant("dropout 0.1 in place of noise", (("noise", 0.0),), dropout=0.1),
    Variant("dropout 0.1 beside noise", dropout=0.1),
    Variant("2 blocks of 2 x 64", (("blocks", 2), ("hidden", 64), ("depth", 2))),
    Variant("averaged weights", is_averaged=True),
    Variant("3 flows in one", (("flows", 3),)),
    Variant("3 times as long", (("epochs", 30), ("min_steps", 300))),
)


@dataclass(frozen=True)
class Features:
    """Of a data set: training views (N, 16, W), test images (T, 1, W) and their labels, and the development half."""

    bank: Tensor
    tests: Tensor
    is_defective: np.ndarray[Any, Any]
    is_development: np.ndarray[Any, Any]


class Followed:
    """A source of batches that averages a flow's weights after every step."""

    def __init__(self, source: sources.Bank, average: AveragedModel, flow: Flow) -> None:
        self.source, self.average, self.flow = source, average, flow

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.source.steps

    def sample(self, most: int) -> Tensor:
        """Return what the source does."""
        return self.source.sample(most)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Yield the batches, and average when the step on one is done."""
        for batch in self.source.batches(epoch):
            yield batch
            self.average.update_parameters(self.flow)


def main() -> None:
    """Make all runs that are missing, then the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-output/overfitting"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    sets = {
        "magnetic tiles": datasets.read(options.data, "mtd", (), options.split)[0],
        "mono cells": datasets.read("elpv", "elpv", ("mono",))[0],
    }
    kept = options.work / "runs.jsonl"
    lines = kept.read_text().splitlines() if kept.exists() else []
    done = {tuple(run["key"]): run for run in map(json.loads, lines)}
    for title, dataset in sets.items():
        features = described(dataset, options.work / f"{title}.npz")
        for count in COUNTS:
            for variant in VARIANTS:
                for seed in range(options.seeds):
                    key = (title, count, variant.name, seed)
                    if key in done:
                        continue
                    done[key] = {"key": key, **one_run(features, count, variant, seed)}
                    with kept.open("a") as file:
                        file.write(json.dumps(done[key]) + "\n")
                    print(key, done[key], flush=True)
    write(options.out / "overfitting.md", {t: len(s.train) for t, s in sets.items()}, done, options.seeds)


def described(dataset: Dataset, file: Path) -> Features:
    """Describe a data set by the default preset as it settles on it."""
    if not file.exists():
        detector = DifferNet("single", 0, **BASE | {"train_views": MOST_VIEWS})
        describer = detector.describer
        bank = describe_all(describer, [sample.path for sample in dataset.train], 0, silent)
        paths = [sample.path for sample in dataset.test]
        tests = torch.stack(list(describer.stream(paths, detector.scoring_views)))
        np.savez(file, bank=bank.numpy(), tests=tests.numpy())
    found = np.load(file)
    labels = np.array([sample.is_defective for sample in dataset.test])
    half = np.random.default_rng(0).permutation(len(labels)) < len(labels) // 2
    return Features(torch.from_numpy(found["bank"]), torch.from_numpy(found["tests"]), labels, half)


def one_run(features: Features, count: int | None, variant: Variant, seed: int) -> dict[str, Any]:
    """Fit one flow to ``count`` images that ``seed`` draws, and score the test images."""
    settings = settle(presets.resolve("single", BASE | dict(variant.changes)))
    read = settled_reading(settings, CHANNELS)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(features.bank))[:count])
    rows = features.bank[chosen, : settings.views.train_views].flatten(0, 1)
    flow = Flow(read.features, seed=seed, **settings.flow.arguments)
    if variant.dropout:
        add_dropout(flow, variant.dropout)
    source: Any = sources.Bank(rows, settings.training.batch, seed, read.rows)
    assert flow.whitening is not None
    flow.whitening.set(*gaussian.fit(source.sample(gaussian.MOST_ROWS), seed))
    average = AveragedModel(flow, multi_avg_fn=get_ema_multi_avg_fn(_AVERAGE))
    if variant.is_averaged:
        source = Followed(source, average, flow)
    started = time.process_time()
    if variant.is_trained:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # of dropout
            train.fit(flow, source, settings.training, noise_seed=seed)
    seconds = time.process_time() - started
    judge = average.module if variant.is_averaged else flow
    judge.eval()
    parts = features.tests[:, 0].split(settings.training.batch)
    scores = np.concatenate([view_scores(Fusion([judge], [read]), part, "cpu") for part in parts])
    halves = {
        name: auroc(scores[which], features.is_defective[which])
        for name, which in (("development", features.is_development), ("other", ~features.is_development))
    }
    return {**halves, "all": auroc(scores, features.is_defective), "seconds": seconds}


def add_dropout(flow: Flow, share: float) -> None:
    """Drop hidden units of the coupling networks while the flow trains."""
    for chain in flow.chains:
        for block in chain:
            if isinstance(block, CouplingBlock):
                for net in (block.subnet1, block.subnet2):
                    layers: list[nn.Module] = []
                    for layer in net.layers:
                        layers += [layer, nn.Dropout(share)] if isinstance(layer, nn.ReLU) else [layer]
                    net.layers = nn.Sequential(*layers)


def write(file: Path, sizes: dict[str, int], done: dict[tuple[Any, ...], Any], seeds: int) -> None:
    """Write the page."""
    what = (__doc__ or "").split("\n\n")[2].strip()
    lines = [
        "# What keeps a flow from overfitting",
        "",
        "`python benchmarks/overfitting.py MTD_FOLDER SPLIT_FILE`",
        "",
        what,
        "",
        f"Each cell: AUROC on the development half / on the other half, the mean over {seeds} seeds, in brackets the",
        "standard deviation of the AUROC on all test images.",
    ]
    for title, size in sizes.items():
        counts = [str(count or f"all {size}") for count in COUNTS]
        lines += [
            "",
            f"## {title}",
            "",
            f"| | {' | '.join(f'{count} images' for count in counts)} | seconds, all |",
        ]
        lines += ["|---" * (len(COUNTS) + 2) + "|"]
        for variant in VARIANTS:
            cells = []
            for count in COUNTS:
                runs = [done[title, count, variant.name, seed] for seed in range(seeds)]
                development, other = (
                    statistics.mean(run[half] for run in runs) for half in ("development", "other")
                )
                spread = statistics.pstdev(run["all"] for run in runs)
                cells.append(f"{development:.4f} / {other:.4f} ({spread:.4f})")
            seconds = statistics.mean(run["seconds"] for run in runs)
            lines.append(f"| {variant.name} | {' | '.join(cells)} | {seconds:.0f} |")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*lines, "", machine(), ""]))


if __name__ == "__main__":
    main()
