"""Speed on magnetic tiles, as ratios to a literal implementation of the paper and to anomalib, in one run.

Usage: python benchmarks/speed.py MTD_FOLDER SPLIT_FILE [--repeats 5] [--parts score turned fit memory help]
       [--work benchmark-output/speed] [--out docs/results]

Every repeat times all candidates one after the other. Measurements are added to WORK/speed.jsonl as they are
made, and those that are there are not made again; the page is written from all of them. It fails when answers
that must be equal are not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from differnet import DifferNet
from differnet.config import presets
from differnet.config.settled import settle
from differnet.data import datasets
from differnet.detector.scoring import Scorer, scoring_views
from differnet.evaluation.metrics import auroc
from differnet.features.describer import describer_of_module
from literal import LiteralDetector
from report import machine
from speed_page import LITERAL, write_speed

SAMPLE = 30  # test tiles of a scoring round: ten good, twenty defective, about as in the test set
LITERAL_SAMPLE = 2
LITERAL_STEPS = 4
TURNED = (1, 4, 16)  # views of a model whose views turn
MANY = 64
PRESETS = ("default", "fast", "turned")
SLOW = "turned"  # fitted once for each seed
SEEDS = 3  # accuracy is the mean of these
EQUAL = 1e-3
Record = dict[str, Any]


class Records:
    """Measurements, kept in a file as they are made."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self.all: list[Record] = (
            [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        )

    def once(self, kind: str, what: str, repeat: int, measure: Callable[[], Record]) -> None:
        """Measure unless that was done before."""
        key = {"kind": kind, "what": what, "repeat": repeat}
        if any(all(record[name] == value for name, value in key.items()) for record in self.all):
            return
        record = key | measure()
        self.all.append(record)
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(record, flush=True)


class Bench:
    """The data, and the detectors that are timed again and again."""

    def __init__(self, data: Path, split: Path, records: Records) -> None:
        dataset = datasets.read(data, "mtd", (), split)[0]
        self.train = [sample.path for sample in dataset.train]
        self.test = [sample.path for sample in dataset.test]
        self.labels = np.array([sample.is_defective for sample in dataset.test])
        rng = np.random.default_rng(0)
        good, bad = (rng.permutation(np.flatnonzero(self.labels == label)) for label in (False, True))
        chosen = [*good[: SAMPLE // 3], *bad[: SAMPLE - SAMPLE // 3]]
        self.sample = [self.test[index] for index in rng.permutation(chosen)]
        self.records = records
        self.peers: dict[str, Any] = {}

    def score_rounds(self, repeats: int) -> None:
        """Time one image at a time, decoding included."""
        detector = DifferNet("default", 0).fit(self.train, scale_maps=False)
        quick = DifferNet("fast", 0).fit(self.train, scale_maps=False)
        literal = LiteralDetector()
        floats = {name: self._scorer(detector, name) for name in ("torch", "openvino", "onnxruntime")}
        _assert_equal(floats, self.sample, detector.scoring_views)
        peers = {name: self._fitted_peer(name) for name in ("PaDiM", "PatchCore")}
        candidates: dict[str, Callable[[Path], Any]] = {
            "default, auto": lambda path: detector.predict(path, views="auto"),
            "default": lambda path: detector.predict(path),
            "fast": lambda path: quick.predict(path),
        }
        candidates |= {
            f"default, f32 in {name}": lambda path, s=scorer: next(s.rows([path], detector.scoring_views))
            for name, scorer in floats.items()
        }
        candidates |= {name: peer.score for name, peer in peers.items()}
        for repeat in range(repeats):
            self._round("score", repeat, literal, candidates)
            self.records.once("stream", "default", repeat, lambda: self._stream(detector))

    def _round(
        self, kind: str, repeat: int, literal: LiteralDetector, candidates: dict[str, Callable[[Path], Any]]
    ) -> None:
        few = self.sample[repeat * LITERAL_SAMPLE % SAMPLE :][:LITERAL_SAMPLE]
        self._time(kind, LITERAL, repeat, few, lambda path: literal.score(path))
        for name, judge in candidates.items():
            self._time(kind, name, repeat, self.sample, judge)

    def turned_rounds(self, repeats: int) -> None:
        """Time a model whose views turn, and note how good it is by the number of views."""
        detector = DifferNet("turned", 0).fit(self.train, scale_maps=False)
        self._assert_early_verdicts_hold(detector)

        def accuracy() -> Record:
            rows = np.stack([detector.view_scores(part) for part in self._described(detector, MANY)])
            by_views = {str(n): auroc(rows[:, :n].mean(axis=1), self.labels) for n in (*TURNED, MANY)}
            early = list(detector.predict_iter(self.test, views="auto"))
            by_views["auto"] = auroc(np.array([one.score for one in early]), self.labels)
            return {"auroc": by_views, "views": statistics.mean(one.views for one in early)}

        self.records.once("accuracy", "turned", 0, accuracy)
        counts: tuple[Any, ...] = (*TURNED, "auto")
        ways = {str(n): lambda path, n=n: detector.predict(path, views=n) for n in counts}
        literal = LiteralDetector()
        for repeat in range(repeats):
            self._round("turned", repeat, literal, ways)

    def _described(self, detector: DifferNet, count: int) -> Iterator[Tensor]:
        views = settle(presets.resolve(detector.config, {"score_rotations": "random"})).views
        return detector.describer.stream(self.test, scoring_views(views, detector.seed, count))

    def fit_rounds(self, repeats: int, peer_repeats: int) -> None:
        """Time whole fits, from image files to a detector; the literal one by the step."""
        for repeat in range(repeats):
            self.records.once("fit", "literal", repeat, self._literal_steps)
            for name in PRESETS if repeat < SEEDS else [name for name in PRESETS if name != SLOW]:
                self.records.once("fit", name, repeat, lambda n=name, r=repeat: self._our_fit(n, r))
            for name, limit in (("PaDiM", repeats), ("PatchCore", peer_repeats)):
                if repeat < limit:
                    self.records.once("fit", name, repeat, lambda n=name, r=repeat: self._peer_fit(n, r))

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

    def _scorer(self, detector: DifferNet, runtime: str) -> Scorer:
        settings = settle(presets.resolve(detector.config, {"runtime": runtime, "precision": "f32"}))
        return Scorer(
            detector.model.fusion,
            describer_of_module(detector.module, settings, "cpu"),
            "cpu",
        )

    def _assert_early_verdicts_hold(self, detector: DifferNet) -> None:
        """On the sample; the page counts the verdicts that differ on all test tiles."""
        pairs = [(detector.predict(path), detector.predict(path, views="auto")) for path in self.sample]
        differ = sum(full.is_defective != early.is_defective for full, early in pairs)
        assert differ <= 1, f"{differ} of {len(pairs)} early verdicts differ from those of all views"

    def _literal_steps(self) -> Record:
        detector = LiteralDetector()
        steps = detector.train_steps(self.train)
        next(steps)  # allocates the optimiser's state
        seconds = []
        for _ in range(LITERAL_STEPS):
            started = time.perf_counter()
            next(steps)
            seconds.append(time.perf_counter() - started)
        return {"seconds": statistics.median(seconds) * len(self.train) * 4 / 96 * 192}

    def _our_fit(self, name: str, repeat: int) -> Record:
        seed = repeat % SEEDS
        detector = DifferNet(name, seed, holdout=0.0)
        started = time.perf_counter()
        detector.fit(self.train, scale_maps=False)
        record: Record = {"seconds": time.perf_counter() - started, "seed": seed}
        if repeat >= SEEDS:
            return record
        scores = {"all": auroc(np.array(list(detector.score_iter(self.test))), self.labels)}
        if (name, repeat) == ("default", 0):  # takes minutes
            many = [detector.view_scores(part).mean() for part in self._described(detector, MANY)]
            scores["64 jittered"] = auroc(np.array(many), self.labels)
        return record | {"auroc": scores, "choice": str(detector.model.choice)}

    def _peer_fit(self, name: str, repeat: int) -> Record:
        seed = repeat % SEEDS
        peer = _peers()[name]
        started = time.perf_counter()
        peer.fit(self.train, seed)
        seconds = time.perf_counter() - started
        self.peers[name] = peer
        record = {"seconds": seconds, "seed": seed}
        if repeat >= SEEDS:
            return record
        scores = np.array([peer.score(path) for path in self.test])
        return record | {"auroc": auroc(scores, self.labels)}

    def _fitted_peer(self, name: str) -> Any:
        """Return a peer fitted to all tiles; its fit counts as the first repeat."""
        self.records.once("fit", name, 0, lambda: self._peer_fit(name, 0))
        if name not in self.peers:  # the run goes on in a new process
            self._peer_fit(name, SEEDS)
        return self.peers[name]


def _peers() -> dict[str, Any]:
    from peers import Padim, Patchcore

    return {"PaDiM": Padim(), "PatchCore": Patchcore()}


def _assert_equal(scorers: dict[str, Scorer], paths: Sequence[Path], views: Any) -> None:
    """Scores in floats are the same wherever the backbone runs."""
    tables = {name: np.stack(list(scorer.rows(paths, views))) for name, scorer in scorers.items()}
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
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("memory.py")), "--out", str(out)], check=True
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
    parser.add_argument("--patchcore-repeats", type=int, default=5, help="its fit takes minutes")
    parser.add_argument("--parts", nargs="*", default=["help", "score", "turned", "fit", "memory"])
    parser.add_argument("--work", type=Path, default=Path("benchmark-output/speed"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    records = Records(options.work / "speed.jsonl")
    if "help" in options.parts:
        for repeat in range(max(options.repeats, 5)):
            records.once("help", "differnet --help", repeat, _help)
    if {"score", "turned", "fit"} & set(options.parts):
        bench = Bench(options.data, options.split, records)
        if "score" in options.parts:
            bench.score_rounds(options.repeats)
        if "turned" in options.parts:
            bench.turned_rounds(options.repeats)
        if "fit" in options.parts:
            bench.fit_rounds(options.repeats, options.patchcore_repeats)
    if "memory" in options.parts:
        records.once("memory", "fit", 0, lambda: _memory(options.work))
    write_speed(options.out / "speed.md", records.all, machine())


if __name__ == "__main__":
    main()
