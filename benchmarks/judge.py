"""Does the judge that has seen no defect order the ways to read features as real defects do?

Usage: python benchmarks/judge.py MTD_FOLDER SPLIT_FILE [--out docs/results] [--work benchmark-output/judge]

Magnetic tiles, solar cells (the package ``elpv-dataset``) and the demo's textures. Each way to read is one Gaussian
on the same features. The judge sees training images alone (:mod:`differnet.detector.tuning.choice`); the real AUROC
is that on the test images.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from differnet import DifferNet
from differnet.data import datasets
from differnet.data.datasets import Dataset
from differnet.data.stream import silent
from differnet.detector.tuning import choice
from differnet.evaluation import demo
from differnet.evaluation.metrics import auroc
from differnet.features.look import look_at
from differnet.features.pooling import reading_of
from differnet.flow import gaussian
from report import machine

SEEDS = 1
HEAD = """# A judge without defects

`python benchmarks/judge.py MTD_FOLDER SPLIT_FILE`

Which stages to read and how to pool is chosen by defects that are drawn into held-out good images
(`differnet/detector/tuning/synthetic.py`, nine kinds). Here its order is compared with that of the real defects, all
candidates as Gaussians on the same features of upright views. *Judge*: mean AUROC over the kinds of drawn defects, on
training images alone (at most 700, of which 60 or a fifth are held out). *Real*: AUROC on the test images of a
Gaussian on all training images. Seed 0. *Rank*: Spearman's correlation of the two orders. The demo's own defects are
drawn too, by other code.
"""


def rows_of(dataset: Dataset) -> tuple[list[tuple[str, float, float]], list[str]]:
    """Return (way to read, judge, real) for every candidate, and what was chosen by seed."""
    found: dict[str, list[tuple[float, float]]] = {}
    chosen = []
    train, test = [s.path for s in dataset.train], [s.path for s in dataset.test]
    labels = np.array([s.is_defective for s in dataset.test])
    groups = [demo.cell_of(path) for path in train] if dataset.name in demo.TEXTURES else None
    for seed in range(SEEDS):
        detector = DifferNet(
            "single",
            seed,
            precision="f32",
            rotation="none",
            aspect=1.0,
            score_rotations="even",
            train_views=4,
            length=1.0,
        )
        asked, module = detector.config, detector.module
        settled = detector.sibling(read_stages="all", pooling="whole")
        looks, known = look_at(train, asked), (module, settled.describer)
        found_out, _ = choice.choose(asked, *known, looks, groups, seed=seed, progress=silent)
        bank = torch.cat(list(settled.describer.training_views(train, seed, 0)))
        tests = torch.cat(list(settled.describer.stream(test, settled.scoring_views)))
        chosen.append(f"{found_out.read_stages} {found_out.pooling}")
        for one in found_out.candidates:
            read = reading_of(asked, module.channels, one.read_stages, one.pooling)
            norms = gaussian.norms(read.rows(tests), gaussian.fit(read.rows(bank), seed))
            real = auroc(read.of_view(norms).numpy(), labels)
            found.setdefault(f"{one.read_stages} {one.pooling}", []).append((one.auroc or 0.0, real))
    means = [(name, *(float(v) for v in np.mean(values, axis=0))) for name, values in found.items()]
    return sorted(means, key=lambda row: -row[1]), chosen


def main() -> None:
    """Judge every data set and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-output/judge"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    demo.write_demo_data(options.work, 0)
    tables = [*datasets.read(options.data, "mtd", (), options.split), *datasets.read("elpv")]
    tables += datasets.read(options.work, "mvtec", demo.TEXTURES)
    lines = [HEAD]
    for dataset in tables:
        rows, chosen = rows_of(dataset)
        rank = stats.spearmanr([row[1] for row in rows], [row[2] for row in rows]).statistic
        best, taken = max(row[2] for row in rows), rows[0][2]
        lines += [
            f"## {dataset.name}",
            "",
            f"Rank {rank:.2f}; chosen: {'; '.join(chosen)}. "
            f"The judge's first has {taken:.4f}, the best {best:.4f}.",
            "",
            "| stages, pooling | judge | real |",
            "|---|---|---|",
            *(f"| {name} | {judge:.3f} | {real:.4f} |" for name, judge, real in rows),
            "",
        ]
        print("\n".join(lines[-len(rows) - 7 :]), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "judge.md").write_text("\n".join([*lines, machine(), ""]))


if __name__ == "__main__":
    main()
