"""The default preset on every data set at hand, without an option for any of them, beside PaDiM and PatchCore.

Usage: python benchmarks/suite.py [--suite FOLDER] [--mtd FOLDER --mtd-split FILE] [--elpv] [--demo] [--no-maps]
       [--seeds 3] [--methods differnet padim patchcore] [--only SET ...] [--limit MINUTES]
       [--work benchmark-output/suite] [--out docs/results]

Every category of a folder in MVTec's layout, magnetic tiles with the paper's split, the solar cells of the package
``elpv-dataset``, and the textures of the demo. Each cell (set, method, seed) runs in a process of its own and is kept
in WORK with a digest of data, settings, versions and sources, so that a run that was broken off goes on; the page is
written after each. ``--only``, ``--methods`` and ``--seeds`` say what is measured now; the page has all that is kept
and still holds of the sets that were named. Other methods than ``differnet`` get 15 minutes a cell: what does not
end in them is not tried with further seeds. ``--no-maps`` leaves pixels out, and gives the same AUROC. A cell that
failed is tried again by the next run. Exits with 1 when one failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import suite_page
from differnet.config import presets
from differnet.data import datasets
from differnet.data.files import write_whole
from differnet.errors import ConfigError, DifferNetError, DifferNetWarning, in_a_line
from differnet.evaluation import demo
from differnet.evaluation.baselines.catalogue import METHODS
from differnet.evaluation.timing import Stopwatch
from suite_cell import OURS, Cell, Job, Place, failed, kept_in, size_for
from suite_page import Shown

ELPV = ("mono", "poly")
MOST_SEEDS = 10  # that the page looks for
LAST_LINES = 3  # of what a process said before it ended without a cell


def places(options: argparse.Namespace, demo_folder: Path) -> list[Place]:
    """Return the data sets that were asked for, by their names."""
    found = []
    for folder in sorted(options.suite.iterdir()) if options.suite else ():
        if (folder / "train" / "good").is_dir():
            found.append(Place(folder.name, str(options.suite), "mvtec", folder.name))
        elif folder.is_dir():
            print(f"{folder.name}: no train/good in it, so it is no set", file=sys.stderr)
    if options.mtd:
        found.append(Place("magnetic_tiles", str(options.mtd), "mtd", split_file=str(options.mtd_split)))
    if options.elpv:
        found += [Place(f"elpv_{name}", "elpv", "elpv", name) for name in ELPV]
    if options.demo:
        names = demo.write_demo_data(demo_folder)
        found += [Place(f"demo_{name}", str(demo_folder), "mvtec", name, is_demo=True) for name in names]
    return found


def launch(command: Sequence[str], log: Path, seconds: float | None) -> int:
    """Run a command with what it says in ``log``; raises ``TimeoutExpired``, the process ended, after ``seconds``."""
    with log.open("w") as said:
        done = subprocess.run(command, stdout=said, stderr=subprocess.STDOUT, timeout=seconds, check=False)
    return done.returncode


class Suite:
    """All cells of the sets: which there are, which are kept, and what measures those that are missing."""

    def __init__(self, options: argparse.Namespace, found: Sequence[Place]) -> None:
        self.options = options
        self.found = found
        self.kept = kept_in(options.work)
        self.unread: dict[str, str] = {}
        self._tables = {place.name: self._read(place) for place in found}
        self._digests = {name: data.digest() for name, data in self._tables.items() if data}
        self._keys: dict[str, str] = {}

    def _read(self, place: Place) -> datasets.Dataset | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DifferNetWarning)  # the page says how many masks there are
                return place.read()
        except (DifferNetError, OSError) as error:
            self.unread[place.name] = in_a_line(error).replace(f"{Path(place.root)}/", "")
            return None

    def job(self, place: Place, method: str, seed: int, maps: bool) -> Job:
        """Return what a cell is measured by."""
        options = self.options
        settings = presets.parse_assignments(options.set)
        limit = None if method == OURS else options.limit
        data = self._tables[place.name]
        size = size_for(method, len(data.train) if data else 0)
        return Job(place, method, seed, maps, settings, options.weights, str(options.work), limit, size)

    def cell(self, job: Job) -> Cell | None:
        """Return the cell of a job, by this run or another; one with maps has all that one without has."""
        whole = None if job.maps else self._find(replace(job, maps=True))
        return whole if whole and whole.figures else self._find(job)

    def finish(self, job: Job) -> Cell:
        """Measure a cell unless there is one that stands."""
        before, first = self.cell(job), self.cell(replace(job, seed=0))
        if before and before.figures:
            return before
        for cell in (before, first):  # another seed would not be faster
            if cell and cell.limit is not None and job.limit is not None and cell.limit >= job.limit:
                return cell
        cell = self._measured(job)
        self.kept.add(job.name, self._key(job), cell)
        return cell

    def _measured(self, job: Job) -> Cell:
        key = self._key(job)
        file = self.options.work / "jobs" / f"{job.name}.json"
        log = file.with_suffix(".log")
        write_whole(file, json.dumps(asdict(job) | {"key": key}).encode())
        self.kept.file(job.name).unlink(missing_ok=True)
        command = [sys.executable, str(Path(__file__).with_name("suite_cell.py")), str(file)]
        seconds = None if job.limit is None else 60 * job.limit
        watch = Stopwatch()
        try:
            code = launch(command, log, seconds)
        except subprocess.TimeoutExpired:
            taken = (watch.others() or 0.0) * (os.cpu_count() or 1)
            reason = f"did not end in {job.limit:g} minutes, in which others took {taken:.1f} processors"
            return failed(job, reason, job.limit)
        lines = log.read_text(errors="replace").splitlines()
        reason = f"the process ended with {code}: {' / '.join(lines[-LAST_LINES:])}"
        return self._find(job) or failed(job, reason)

    def _find(self, job: Job) -> Cell | None:
        there = self.kept.file(job.name).is_file()
        return self.kept.find_whole(job.name, self._key(job)) if there else None

    def _key(self, job: Job) -> str:
        if job.name not in self._keys:
            self._keys[job.name] = job.key(self._digests[job.place.name])
        return self._keys[job.name]

    def plan(self) -> Iterator[Job]:
        """Yield what this run measures: a first seed of all sets before the next, method after method."""
        options = self.options
        chosen = [place for place in self.found if not options.only or place.name in options.only]
        for method in options.methods:
            for seed in range(options.seeds):
                for place in chosen:
                    if place.name not in self.unread:
                        yield self.job(place, method, seed, not options.no_maps)

    def shown(self) -> list[Shown]:
        """Return what is known of every set, for the page."""
        return [self._shown(place) for place in self.found]

    def _shown(self, place: Place) -> Shown:
        data = self._tables[place.name]
        if data is None:
            return Shown(place.name, place.is_demo, (), {}, self.unread[place.name])
        defective = [sample for sample in data.test if sample.is_defective]
        masks = sum(sample.mask is not None for sample in defective)
        counts = (len(data.train), len(data.test) - len(defective), len(defective), masks)
        cells = {}
        for method in dict.fromkeys((*suite_page.METHODS, *self.options.methods)):
            jobs = [
                self.job(place, method, seed, False) for seed in range(max(MOST_SEEDS, self.options.seeds))
            ]
            found = [self.cell(job) or self._find(replace(job, maps=True)) for job in jobs]
            cells[method] = tuple(cell for cell in found if cell)
        return Shown(place.name, place.is_demo, counts, cells)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, and refuse what cannot be measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", type=Path, help="folder of sets in MVTec's layout")
    parser.add_argument("--mtd", type=Path, help="folder of magnetic tiles")
    parser.add_argument("--mtd-split", type=Path, help="the file names of the tiles to fit to")
    parser.add_argument("--elpv", action="store_true", help="solar cells, if the package is installed")
    parser.add_argument("--demo", action="store_true", help="textures of the demo")
    parser.add_argument("--only", action="append", metavar="SET", help="measure this set now; repeatable")
    parser.add_argument("--methods", nargs="+", default=list(suite_page.METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-maps", action="store_true", help="no figures of pixels")
    parser.add_argument(
        "--limit", type=float, default=15.0, help="minutes a cell of the other methods may take"
    )
    parser.add_argument("--set", action="append", default=[], help=argparse.SUPPRESS)  # for trials
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, default=Path("benchmark-output/suite"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args(arguments)
    if not (options.suite or options.mtd or options.elpv or options.demo):
        parser.error("no data: name at least one of --suite, --mtd, --elpv and --demo")
    if bool(options.mtd) != bool(options.mtd_split):
        parser.error("--mtd and --mtd-split belong together")
    if options.seeds < 1:
        parser.error("--seeds: at least 1 was wanted")
    return options


def run(options: argparse.Namespace, demo_folder: Path) -> int:
    """Measure what is missing, write the page after each cell, and return 1 if one failed."""
    found = places(options, demo_folder)
    names = [place.name for place in found]
    unknown = sorted(set(options.only or ()) - set(names))
    if unknown:
        raise ConfigError(f"--only {', '.join(unknown)}: no such set; there are: {', '.join(names)}")
    suite = Suite(options, found)
    suite.kept.check("cell")
    for name, reason in suite.unread.items():
        print(f"{name}: {reason}", file=sys.stderr)
    has_failed = bool(suite.unread)
    for job in suite.plan():
        cell = suite.finish(job)
        has_failed |= cell.figures is None and cell.limit is None
        print(f"{job.name}: {suite_page.in_short(cell)}", file=sys.stderr, flush=True)
        suite_page.write(options, suite.shown())
    suite_page.write(options, suite.shown())
    return int(has_failed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with the demo's textures in a folder that goes away again."""
    options = read_options(arguments)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return run(options, Path(folder))
        except DifferNetError as error:
            print(in_a_line(error), file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
