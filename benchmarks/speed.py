"""Speed on magnetic tiles, as ratios to a literal implementation of the paper and to anomalib, in one run.

Usage: python benchmarks/speed.py MTD_FOLDER SPLIT_FILE [--repeats 5] [--fits 3] [--busy]
       [--parts help score turned maps fit cores memory] [--work benchmark-output/speed] [--out docs/results]

Every repeat times all candidates one after the other, and each fit in a process of its own. Measurements are added to
WORK/speed.jsonl as they are made, with their commit and how much of the machine others used just before. Those that
are there are not made again; the page is written from all of them, and names all commits. It refuses a busy machine,
unless --busy is given, and fails when answers that must be equal are not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from differnet import DifferNet
from differnet.config import presets
from differnet.config.settled import settle
from differnet.data import datasets
from differnet.data.images import load
from differnet.detector.scoring import Scorer, localizer_of
from differnet.evaluation.metrics import auroc
from differnet.features.describer import describer_of_module
from literal import LiteralDetector
from report import commit, machine
from speed_page import COMPLETE, LITERAL, write_speed

SAMPLE = 30  # test tiles of a scoring round: ten good, twenty defective, about as in the test set
LITERAL_SAMPLE = 2
LITERAL_STEPS = 4
SIZE = 448  # pixels that the default reads, and so the peers
SEEDS = 3  # accuracy is the mean of these
EQUAL = 1e-3
QUIET = 0.15  # of the machine, at most, that others may use
PARTS = ("help", "score", "turned", "maps", "fit", "cores", "memory")
SAME_MAP = 2e-3  # of its peak
# large buffers stay with the process: PyTorch's would come from the system anew for every image, or not, by what was
# freed before, and a pass of the backbone in PyTorch would take 22 or 45 ms
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(128 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
Record = dict[str, Any]
STREAM = """
import os, sys, time
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
from differnet import DifferNet
detector, paths = DifferNet.load(sys.argv[2]), sys.argv[3:]
list(detector.predict_iter(paths[:8]))
started = time.perf_counter()
scores = [one.score for one in detector.predict_iter(paths)]
print(time.perf_counter() - started, *map(repr, scores))
"""


class Records:
    """Measurements, kept in a file as they are made; ``busy``: whether others may be at work meanwhile."""

    def __init__(self, path: Path, busy: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._busy = busy
        self.all: list[Record] = (
            [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        )

    def once(self, kind: str, what: str, repeat: int, measure: Callable[[], Record]) -> None:
        """Measure unless that was done before."""
        key = {"kind": kind, "what": what, "repeat": repeat}
        if any(all(record[name] == value for name, value in key.items()) for record in self.all):
            return
        others = psutil.cpu_percent(interval=0.5) / 100
        if others > QUIET and not self._busy:
            raise SystemExit(
                f"others use {others:.0%} of the machine, where {QUIET:.0%} at most was wanted: wait until it is "
                "quiet, or give --busy, which the page will say"
            )
        record = key | {"others": others, "commit": commit()} | measure()
        self.all.append(record)
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(record, flush=True)

    @property
    def commits(self) -> list[str]:
        """The commits that were measured, in the order of their first measurements."""
        return list(dict.fromkeys(record.get("commit", "unknown") for record in self.all))


class Bench:
    """The data, and the detectors that are timed again and again."""

    def __init__(self, data: Path, split: Path, records: Records, work: Path) -> None:
        dataset = datasets.read(data, "mtd", (), split)[0]
        self.train = [sample.path for sample in dataset.train]
        self.test = [sample.path for sample in dataset.test]
        self.labels = np.array([sample.is_defective for sample in dataset.test])
        rng = np.random.default_rng(0)
        good, bad = (rng.permutation(np.flatnonzero(self.labels == label)) for label in (False, True))
        chosen = [*good[: SAMPLE // 3], *bad[: SAMPLE - SAMPLE // 3]]
        self.sample = [self.test[index] for index in rng.permutation(chosen)]
        self.inputs = data, split
        self.records = records
        self.work = work
        self.peers: dict[str, Any] = {}

    def fitted(self, name: str, **settings: Any) -> DifferNet:
        """Return a detector that was fitted to all tiles, from the last run if there was one."""
        place = self.work / f"{name}.safetensors"
        if not place.exists():
            DifferNet("default", 0, **settings).fit(self.train, scale_maps=False).save(place)
        return DifferNet.load(place)

    def _kept(self, name: str) -> Path:
        return self.work / f"{name}.pt"

    def score_rounds(self, repeats: int) -> None:
        """Time one image at a time, decoding included."""
        detector, literal = self.fitted("upright"), LiteralDetector()
        _assert_equal(detector, self.sample)
        one_by_one = [detector.predict(path).score for path in self.sample]
        assert [one.score for one in detector.predict_iter(self.sample)] == one_by_one, (
            "a stream scores otherwise"
        )
        candidates: dict[str, Callable[[Path], Any]] = {"default": lambda path: detector.predict(path)}
        for name, peer in self._fitted_peers().items():
            candidates[name] = peer.score
        for repeat in range(repeats):
            self._round("score", repeat, literal, candidates)
            self.records.once("stream", "default", repeat, lambda: self._stream(detector))

    def turned_rounds(self, repeats: int) -> None:
        """Time a model whose views turn, and count on all test tiles the verdicts that stopping early changes."""
        detector, literal = self.fitted("turned", rotation="full"), LiteralDetector()

        def accuracy() -> Record:
            full, early = (list(detector.predict_iter(self.test, views=views)) for views in (None, "auto"))
            return {
                "auroc": auroc(np.array([one.score for one in early]), self.labels),
                "auroc of all views": auroc(np.array([one.score for one in full]), self.labels),
                "views": statistics.mean(one.views for one in early),
                "of": full[0].views,
                "other verdicts": sum(a.verdict != b.verdict for a, b in zip(full, early, strict=True)),
                "images": len(full),
            }

        self.records.once("accuracy", "turned, auto", 0, accuracy)
        ways: dict[str, Callable[[Path], Any]] = {
            "turned, auto": lambda path: detector.predict(path, views="auto"),
            "turned, all views": lambda path: detector.predict(path),
        }
        for repeat in range(repeats):
            self._round("turned", repeat, literal, ways)

    def maps(self, repeats: int) -> None:
        """Time heat maps of decoded pictures, whose feature maps come from the runtime, or from PyTorch."""
        detector = self.fitted("upright")
        fast = localizer_of(detector.model, detector.module, detector.describer)
        exact = replace(fast, feature_maps=None)
        for path in self.sample:
            wanted = exact.of_picture(load(path))
            np.testing.assert_allclose(
                fast.of_picture(load(path)), wanted, rtol=0, atol=SAME_MAP * wanted.max()
            )
        for repeat in range(repeats):
            self._time("maps", "PyTorch", repeat, self.sample, lambda path: exact.of_picture(load(path)))
            self._time("maps", "default", repeat, self.sample, lambda path: fast.of_picture(load(path)))

    def _round(
        self, kind: str, repeat: int, literal: LiteralDetector, candidates: dict[str, Callable[[Path], Any]]
    ) -> None:
        few = self.sample[repeat * LITERAL_SAMPLE % SAMPLE :][:LITERAL_SAMPLE]
        self._time(kind, LITERAL, repeat, few, lambda path: literal.score(path))
        for name, judge in candidates.items():
            self._time(kind, name, repeat, self.sample, judge)

    def fit_rounds(self, repeats: int, peer_repeats: int) -> None:
        """Time whole fits, from image files to a detector; the literal one by the step."""
        counts = dict.fromkeys(("literal", "PaDiM", "default", COMPLETE), repeats) | {
            "PatchCore": peer_repeats
        }
        for repeat in range(repeats):
            for name, count in counts.items():
                if repeat < count:
                    self.records.once("fit", name, repeat, lambda n=name, r=repeat: self._alone(n, r))

    def _alone(self, name: str, repeat: int) -> Record:
        """Fit in a new process: what others left in memory, and on which cores, is no part of it."""
        command = [sys.executable, __file__, *map(str, self.inputs), "--work", str(self.work)]
        run = subprocess.run([*command, "--alone", name, str(repeat)], check=True, stdout=subprocess.PIPE)
        record: Record = json.loads(run.stdout.decode().splitlines()[-1])
        return record

    def fit_here(self, name: str, repeat: int) -> Record:
        """Time a fit in this process."""
        if name == "literal":
            return self._literal_steps()
        if name in ("default", COMPLETE):
            return self._our_fit(repeat, name == COMPLETE)
        return self._peer_fit(name, repeat)

    def cores(self, repeats: int) -> None:
        """Time a stream of all test tiles, decoding included, in processes that have all cores, or one alone."""
        self.fitted("upright")

        def stream(cores: int) -> Record:
            command = [
                sys.executable,
                "-c",
                STREAM,
                str(cores),
                str(self.work / "upright.safetensors"),
                *map(str, self.test),
            ]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            seconds, *scores = run.stdout.decode().split()
            digest = hashlib.sha256(" ".join(scores).encode()).hexdigest()
            return {"seconds": float(seconds) / len(self.test), "scores": digest}

        for repeat in range(repeats):
            self.records.once("cores", "one core", repeat, lambda: stream(1))
            self.records.once("cores", "all cores", repeat, lambda: stream(os.cpu_count() or 1))
        digests = {record["scores"] for record in self.records.all if "scores" in record}
        assert len(digests) == 1, "scores on one core are not those on all"

    def _time(
        self, kind: str, what: str, repeat: int, images: Sequence[Path], judge: Callable[[Path], Any]
    ) -> None:
        def measure() -> Record:
            judge(images[0])
            views, seconds = [], []
            for path in images:
                started = time.perf_counter()
                answer = judge(path)
                seconds.append(time.perf_counter() - started)
                views.append(getattr(answer, "views", 0))
            return {"seconds": statistics.mean(seconds), "views": statistics.mean(views)}

        self.records.once(kind, what, repeat, measure)

    def _stream(self, detector: DifferNet) -> Record:
        started = time.perf_counter()
        count = sum(1 for _ in detector.predict_iter(self.sample))
        return {"seconds": (time.perf_counter() - started) / count}

    def _literal_steps(self) -> Record:
        steps = LiteralDetector().train_steps(self.train)
        next(steps)  # allocates the optimiser's state
        seconds = []
        for _ in range(LITERAL_STEPS):
            started = time.perf_counter()
            next(steps)
            seconds.append(time.perf_counter() - started)
        return {"seconds": statistics.median(seconds) * len(self.train) * 4 / 96 * 192}

    def _our_fit(self, repeat: int, is_complete: bool) -> Record:
        """Fit to all tiles, which is what others do, or ``is_complete``: with a threshold and heat maps, too."""
        seed = repeat % SEEDS
        detector = DifferNet("default", seed, **{} if is_complete else {"holdout": 0.0})
        started = time.perf_counter()
        detector.fit(self.train, scale_maps=is_complete)
        record: Record = {"seconds": time.perf_counter() - started, "seed": seed}
        if repeat >= SEEDS:
            return record
        return record | {"auroc": auroc(np.array(list(detector.score_iter(self.test))), self.labels)}

    def _peer_fit(self, name: str, repeat: int) -> Record:
        seed, peer = repeat % SEEDS, _peers()[name]
        started = time.perf_counter()
        peer.fit(self.train, seed)
        seconds = time.perf_counter() - started
        if repeat:
            return {"seconds": seconds, "seed": seed}
        torch.save(peer, self._kept(name))
        scores = np.array([peer.score(path) for path in self.test])
        return {"seconds": seconds, "seed": seed, "auroc": auroc(scores, self.labels)}

    def _fitted_peers(self) -> dict[str, Any]:
        """Return the peers, fitted where that is needed; the first fit of each counts as its first repeat.

        They are kept in the working folder, PaDiM in 0.5 GB.
        """
        for name in ("PaDiM", "PatchCore"):
            self.records.once("fit", name, 0, lambda n=name: self._alone(n, 0))
            if name not in self.peers:
                if not self._kept(name).exists():  # measured by a run that kept none
                    self._alone(name, 0)
                self.peers[name] = torch.load(self._kept(name), weights_only=False)  # of this program's own
        return self.peers | {
            f"EfficientAD (small), {size} pixels": _efficient_ad(size) for size in (256, SIZE)
        }


def _peers() -> dict[str, Any]:
    from peers import Padim, Patchcore

    return {"PaDiM": Padim(size=SIZE), "PatchCore": Patchcore(size=SIZE)}


def _efficient_ad(size: int) -> Any:
    from peers import UntrainedEfficientAd

    return UntrainedEfficientAd(size)


def _assert_equal(detector: DifferNet, paths: Sequence[Path]) -> None:
    """Scores in floats are the same wherever the backbone runs."""
    tables = {}
    for name in ("torch", "openvino", "onnxruntime"):
        settings = settle(presets.resolve(detector.config, {"runtime": name, "precision": "f32"}))
        scorer = Scorer(detector.model.fusion, describer_of_module(detector.module, settings, "cpu"), "cpu")
        tables[name] = np.stack(list(scorer.rows(paths, detector.scoring_views)))
    for name, table in tables.items():
        np.testing.assert_allclose(table, tables["torch"], rtol=EQUAL, err_msg=name)


def _help() -> Record:
    started = time.perf_counter()
    subprocess.run(
        [str(Path(sys.executable).with_name("differnet")), "--help"], check=True, capture_output=True
    )
    return {"seconds": time.perf_counter() - started}


def _memory(work: Path) -> Record:
    out = work / "memory.json"
    usual = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("memory.py")), "--out", str(out)], check=True, env=usual
    )
    found: Record = json.loads(out.read_text())
    return found


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--fits", type=int, default=3, help="repeats of fits; accuracy is the mean of three")
    parser.add_argument("--patchcore-fits", type=int, default=2, help="its fit takes minutes")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)  # what to fit, and the repeat
    parser.add_argument("--busy", action="store_true", help="measure beside other work, and say so")
    parser.add_argument("--work", type=Path, default=Path("benchmark-output/speed"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    if not os.environ.keys() >= ALLOCATOR.keys():  # they are read when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ALLOCATOR)  # noqa: S606
    os.environ["TQDM_DISABLE"] = "1"
    records, repeats = Records(options.work / "speed.jsonl", options.busy), options.repeats
    bench = Bench(options.data, options.split, records, options.work)
    if options.alone:
        name, repeat = options.alone
        print(json.dumps(bench.fit_here(name, int(repeat))))
        return
    for part in options.parts:
        if part == "help":
            for repeat in range(repeats):
                records.once("help", "differnet --help", repeat, _help)
        elif part == "score":
            bench.score_rounds(repeats)
        elif part == "turned":
            bench.turned_rounds(repeats)
        elif part == "maps":
            bench.maps(repeats)
        elif part == "fit":
            bench.fit_rounds(options.fits, options.patchcore_fits)
        elif part == "cores":
            bench.cores(repeats)
        else:
            records.once("memory", "fit", 0, lambda: _memory(options.work))
        write_speed(options.out / "speed.md", records.all, machine(records.commits))


if __name__ == "__main__":
    main()
