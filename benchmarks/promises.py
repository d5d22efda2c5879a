"""Are promises kept on real parts? Realised against promised false alarms, at 1, 5 and 10 %, beside a plain split.

Usage: python benchmarks/promises.py --suite FOLDER [--mtd FOLDER --mtd-split FILE] [--only SET ...] [--seeds 3]

Each cell (a set, a seed, a way to split) is kept as JSON in --work and not measured again while the data and the code
stay what they are. The page is written after every cell to --out/promises.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

import differnet
from differnet.config import presets, sections
from differnet.data import datasets
from differnet.data.datasets import Dataset
from differnet.data.files import write_whole
from differnet.decision.effective import effective_count
from differnet.detector import model as artifact
from differnet.errors import DifferNetWarning, counted
from differnet.evaluation.audit import interval
from differnet.evaluation.metrics import auroc
from differnet.evaluation.timing import machine
from differnet.features.look import looks_of
from differnet.features.sisters import together

Way = Literal["found", "plain"]
WAYS: tuple[Way, ...] = ("plain", "found")
RATES = (0.01, 0.05, 0.1)
NOTHING_FOUND = "none found"
PACKAGE = Path(differnet.__file__).parent
OF_OURS = ("config", "data", "decision", "detector", "features", "flow", "runtime")
WORDS = {"plain": "plain", "found": "sisters on one side"}


@dataclass(frozen=True)
class AtRate:
    """What a rate came to: ``promised``, ``weakened`` to what the held-out images are worth, and ``alarms``."""

    rate: float
    promised: float
    weakened: float
    alarms: int
    recall: float | None


@dataclass(frozen=True)
class Cell:
    """One fit: what it held out, and what came of each rate on ``good`` test images, worth ``new`` independent ones."""

    name: str
    seed: int
    way: Way
    key: str
    fitted: int
    held: int
    groups: int
    worth: float
    sisters: str
    good: int
    new: float
    auroc: float
    at: tuple[AtRate, ...]
    by_defect: dict[str, list[float]]


def sets_of(options: argparse.Namespace) -> dict[str, Dataset]:
    """Read the data sets."""
    found: dict[str, Dataset] = {}
    for folder in sorted(options.suite.iterdir()) if options.suite else ():
        wanted = not options.only or folder.name in options.only
        if wanted and (folder / "train" / "good").is_dir():
            found[folder.name] = datasets.read(options.suite, "mvtec", (folder.name,))[0]
    if options.mtd and (not options.only or "magnetic_tiles" in options.only):
        found["magnetic_tiles"] = datasets.read(options.mtd, "mtd", (), options.mtd_split)[0]
    return found


def key_of(data: Dataset, settings: Sequence[str]) -> str:
    """Return a digest of the data and of the code that judges them."""
    total = hashlib.sha256(data.digest().encode())
    total.update(repr(sorted(settings)).encode())
    for folder in OF_OURS:
        for file in sorted((PACKAGE / folder).rglob("*.py")):
            total.update(file.read_bytes())
    return total.hexdigest()


def measured(name: str, data: Dataset, seed: int, way: Way, key: str, settings: Sequence[str]) -> Cell:
    """Fit once and judge the test images at every rate."""
    asked = presets.parse_assignments(list(settings))
    if way == "plain":
        asked["sisters"] = "ignore"
    detector = differnet.DifferNet("default", seed, **asked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        groups = data.groups if way == "found" else None
        detector.fit([sample.path for sample in data.train], groups, scale_maps=False)
    scores = detector.score([sample.path for sample in data.test])
    is_bad = np.array([sample.is_defective for sample in data.test])
    model = detector.model
    worth = model.effective
    good = [sample.path for sample in data.test if not sample.is_defective]
    looks = looks_of(good, detector.config)
    new = together(looks, None, sections.Decision(), seed, lambda *_: None)
    names = range(len(good)) if new.groups is None else new.groups
    at, by_defect = [], {}
    for rate in RATES:
        promise = artifact.threshold(model, rate=rate)
        assert promise is not None
        assert worth is not None
        flagged = scores >= promise.value
        weakened = max(promise.promised, worth.rate())
        recall = float(flagged[is_bad].mean()) if is_bad.any() else None
        at.append(AtRate(rate, promise.promised, weakened, int(flagged[~is_bad].sum()), recall))
        for defect in sorted({sample.defect for sample in data.test if sample.is_defective}):
            mine = np.array([sample.defect == defect for sample in data.test])
            by_defect.setdefault(defect, []).append(float(flagged[mine].mean()))
    return Cell(
        name,
        seed,
        way,
        key,
        fitted=model.train_count,
        held=len(model.view_scores),
        groups=worth.groups,
        worth=worth.value,
        sisters=NOTHING_FOUND if model.sisters is None or not model.sisters.by else str(model.sisters),
        good=len(good),
        new=effective_count(scores[~is_bad], list(names)).value,
        auroc=auroc(scores, is_bad),
        at=tuple(at),
        by_defect=by_defect,
    )


def file_of(work: Path, name: str, seed: int, way: Way) -> Path:
    """Return where a cell is kept."""
    return work / f"{name}-{seed}-{way}.json"


def kept(work: Path, name: str, seed: int, way: Way, key: str | None = None) -> Cell | None:
    """Return a cell that was measured before, by this ``key`` if one is given."""
    file = file_of(work, name, seed, way)
    if not file.is_file():
        return None
    values = json.loads(file.read_text())
    is_whole = values.keys() == {one.name for one in fields(Cell)}  # an older script noted less
    if not is_whole or key not in (None, values["key"]):
        return None
    at = tuple(AtRate(**one) for one in values.pop("at"))
    return Cell(at=at, **values)


def rows(cells: Sequence[Cell]) -> list[str]:
    """Return the rows of one set and one way to split, a rate each, from the cells of its seeds."""
    first, found = cells[0], []
    for place, rate in enumerate(RATES):
        at = [cell.at[place] for cell in cells]
        share = float(np.mean([one.alarms / cell.good for one, cell in zip(at, cells, strict=True)]))
        low, high = interval(share * first.new, first.new)
        promised, weakened = (
            float(np.mean([getattr(one, name) for one in at])) for name in ("promised", "weakened")
        )
        verdict = "within" if low <= promised else "within, as weakened" if low <= weakened else "**above**"
        worth = float(np.mean([cell.worth for cell in cells]))
        recall = [one.recall for one in at if one.recall is not None]
        found.append(
            f"| {first.name} | {WORDS[first.way]} | {first.held} in {first.groups}, {worth:.0f} | {rate:.0%} | "
            f"{promised:.1%} | {weakened:.1%} | {share:.1%} ({low:.1%} to {high:.1%}) of {first.good} | {verdict} | "
            f"{np.mean(recall):.2f} | {np.mean([cell.auroc for cell in cells]):.3f} |"
        )
    return found


def page(cells: Sequence[Cell], seeds: int) -> str:
    """Return the page."""
    names = sorted({cell.name for cell in cells})
    lines = [
        "# Promised and realised false alarms",
        "",
        f"`python benchmarks/promises.py`; {counted(seeds, 'seed')}; {machine()}. Written by the script, not by hand.",
        "",
        "*Plain*: every image by itself. *Sisters on one side*: the groups that a fit finds are held out together.",
        "*Held out*: images in groups, and how many independent ones they are worth. *Weakened*: what these",
        "can promise. The interval is that of Clopper and Pearson, 95 %, for as many independent test images as the",
        "good ones are worth; the share is the mean of the seeds. *Above*: all of the interval lies above what is",
        "promised, also as weakened. AUROC and recall: of the defective test images, means of the seeds.",
        "",
        "| set | split | held out, worth | rate | promised | weakened | realised | is it kept? | recall | AUROC |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        for way in WAYS:
            mine = [cell for cell in cells if (cell.name, cell.way) == (name, way)]
            lines += rows(mine) if mine else []
    lines += ["", "## What was found to belong together", ""]
    for name in names:
        found = [cell for cell in cells if (cell.name, cell.way) == (name, "found")]
        lines += [f"- {name}: {found[0].sisters}."] if found else []
    lines += _by_defect(cells)
    return "\n".join(lines) + "\n"


def _by_defect(cells: Sequence[Cell]) -> list[str]:
    mine = [cell for cell in cells if cell.name == "magnetic_tiles"]
    if not mine:
        return []
    lines = [
        "",
        "## Magnetic tiles: recall by defect",
        "",
        "| defect | split | 1 % | 5 % | 10 % |",
        "|---|---|---|---|---|",
    ]
    for defect in sorted(mine[0].by_defect):
        for way in WAYS:
            some = [cell.by_defect[defect] for cell in mine if cell.way == way]
            shares = np.mean(some, axis=0) if some else []
            lines += (
                [f"| {defect} | {WORDS[way]} | {' | '.join(f'{one:.2f}' for one in shares)} |"]
                if some
                else []
            )
    return lines


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", type=Path, help="folder of sets in MVTec's layout")
    parser.add_argument("--mtd", type=Path, help="folder of magnetic tiles")
    parser.add_argument("--mtd-split", type=Path, help="the file names of the tiles to fit to")
    parser.add_argument("--only", action="append", metavar="SET", help="measure this set; repeatable")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help=argparse.SUPPRESS)  # for trials
    parser.add_argument("--work", type=Path, default=Path("benchmark-output/promises"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args(arguments)
    if not (options.suite or options.mtd) or bool(options.mtd) != bool(options.mtd_split):
        parser.error("no data: name --suite, or --mtd with --mtd-split")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, the first seed of all sets first, and write the page after each cell."""
    options = read_options(arguments)
    found = sets_of(options)
    keys = {name: key_of(data, options.set) for name, data in found.items()}
    for seed in range(options.seeds):
        for name, data in found.items():
            for way in WAYS:
                if kept(options.work, name, seed, way, keys[name]):
                    continue
                cell = measured(name, data, seed, way, keys[name], options.set)
                content: dict[str, Any] = asdict(cell)
                write_whole(file_of(options.work, name, seed, way), json.dumps(content, indent=1).encode())
                print(*rows([cell]), sep="\n", file=sys.stderr, flush=True)
                write(options)
    write(options)
    return 0


def write(options: argparse.Namespace) -> None:
    """Write the page of all cells that there are, those of other runs as well."""
    cells = []
    for file in sorted(options.work.glob("*.json")):
        name, seed, way = file.stem.rsplit("-", 2)
        cell = kept(options.work, name, int(seed), "plain" if way == "plain" else "found")
        cells += [cell] if cell else []
    if cells:
        write_whole(options.out / "promises.md", page(cells, 1 + max(cell.seed for cell in cells)).encode())


if __name__ == "__main__":
    sys.exit(main())
