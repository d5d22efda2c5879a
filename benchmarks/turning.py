"""Whether parts lie any way, asked of data sets of which that is known; development data.

    python benchmarks/turning.py MVTEC_FOLDER... [--mtd FOLDER SPLIT_FILE]

The folders hold categories in MVTec's layout; ELPV and the demo's textures are asked beside them. Of each set 40 good
training images are described (one of each cell of a texture), and 20 of them drawn six times: mean, lowest and highest
of what :func:`differnet.detector.tuning.turning.compare` says, and the seconds that 20 images take.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from differnet.config import presets
from differnet.data import datasets
from differnet.data.samples import Dataset
from differnet.data.stream import silent
from differnet.detector.tuning.turning import IMAGES, compare, describe_turned, one_of_each
from differnet.evaluation import demo
from differnet.features.backbone import network
from differnet.features.look import look_at

DESCRIBED, DRAWS = 40, 6


def tables(options: argparse.Namespace, work: Path) -> Iterator[Dataset]:
    """Yield one data set after the other."""
    for folder in options.folders:
        yield from datasets.read(folder, "mvtec")
    if options.mtd:
        yield from datasets.read(options.mtd[0], "mtd", (), options.mtd[1])
    yield from datasets.read("elpv")
    demo.write_demo_data(work, 0)
    yield from datasets.read(work, "mvtec", demo.TEXTURES)


def main() -> None:
    """Print a row for each data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--mtd", nargs=2, type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    settings = presets.resolve("default")
    module = network.build(settings.backbone)
    print("| set | good images | share | ratio | agreement | seconds |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        for dataset in tables(options, Path(work)):
            paths = [sample.path for sample in dataset.train]
            groups = [demo.cell_of(path) for path in paths] if dataset.name in demo.TEXTURES else None
            order = one_of_each(len(paths), groups, seed=0)[:DESCRIBED]
            start = time.perf_counter()
            looks = look_at([paths[index] for index in order], settings)
            stages = describe_turned(module, settings, looks, silent)
            seconds = (time.perf_counter() - start) * IMAGES / len(order)
            found = []
            for draw in range(DRAWS):
                chosen = torch.from_numpy(np.random.default_rng(draw).permutation(len(order))[:IMAGES])
                found.append(compare(*(stage[chosen] for stage in stages))[:3])
            told = (
                f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
                for values in zip(*found, strict=True)
            )
            print(f"| {dataset.name} | {len(paths)} | {' | '.join(told)} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
