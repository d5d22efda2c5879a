"""Kill ``score`` and ``fit`` at random moments, let them go on, and count what was lost.

    python scripts/kill_runs.py score --kills 200 [--out figures.json]
    python scripts/kill_runs.py fit --kills 30

Each run is a process of its own, forked from one that has imported everything, so that kills meet the work and not the
imports. It is killed with SIGKILL at a random moment, counted in changes of its folder so that a busy machine does not
matter, and a random time after that; then it is started again with ``--resume`` (or the same checkpoint), killed
again, and so on until it ends. Its table (or its model file) is compared with that of a run that nobody killed.
After every kill the folder is looked at: what stands there under its own name must be whole.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

TINY = {
    "backbone": "test_efficientnet", "rotation": "full", "stages": [2], "grid": 1, "read_stages": "all",
    "pooling": "whole", "start": "random", "noise": 0, "length": 1.0, "sizes": [64, 32], "precision": "f32",
    "hidden": 32, "depth": 1, "blocks": 3, "epochs": 30, "min_steps": 0, "batch": 16, "train_views": 8,
    "score_views": 4, "map_views": 2, "runtime": "torch",
}  # fmt: skip
IMAGES = 80
_PAUSE = 0.0005  # seconds between two looks


def main() -> None:
    """Run the loop that is asked for and print its figures; exits with 1 when anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("score", "fit"))
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # a process that forks must not have threads
    import differnet.batch.rows  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        figures = {"score": kill_score, "fit": kill_fit}[options.what](
            Path(folder),
            options.kills,
            random.Random(options.seed),  # noqa: S311
        )
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    sys.exit(any(figures[name] for name in figures if name.startswith("bad")))


def kill_score(folder: Path, kills: int, draws: random.Random) -> dict[str, Any]:
    """Kill ``score --resume`` again and again; every table must equal that of the run that nobody killed."""
    pictures, model = _pictures(folder / "pictures", IMAGES), folder / "model.safetensors"
    for bad in ("007-bad.png", "077-bad.png"):
        (pictures / bad).write_bytes(b"no image")
    _finish(_start(_fit_arguments(_pictures(folder / "good", 24), model)))

    def arguments(table: Path) -> list[str]:
        return ["score", str(model), str(pictures), "--out", str(table), "--on-error", "skip", "--resume"]

    (folder / "first").mkdir()
    changes, wanted = _uninterrupted(arguments, folder / "first" / "wanted.csv", {3})
    found: Counter[str] = Counter(kills=0, tables=0, bad_tables=0, bad_half_files=0, bad_exits=0)
    places: Counter[str] = Counter()
    work = folder / "work"
    while found["kills"] < kills:
        work.mkdir(exist_ok=True)
        table = work / "rows.csv"
        code = _until_killed(arguments(table), work, draws.uniform(-0.05, 1.0) * changes, draws)
        if code == -signal.SIGKILL:
            found["kills"] += 1
            print(dict(found), flush=True)
            names = {path.name for path in work.iterdir()}
            places["no file yet" if not names else " and ".join(sorted(names))] += 1
            found["bad_half_files"] += bool(names - {"rows.csv", "rows.csv.partial"})
            if table.exists() and table.read_bytes() != wanted:
                found["bad_half_files"] += 1
            continue
        found["bad_exits"] += code != 3
        found["tables"] += 1
        found["bad_tables"] += _rows_lost(table.read_bytes(), wanted)
        _empty(work)
    found["bad_exits"] += _finish(_start(arguments(work / "rows.csv"))) != 3
    found["tables"] += 1
    found["bad_tables"] += _rows_lost((work / "rows.csv").read_bytes(), wanted)
    return {
        **found,
        "images": IMAGES + 2,
        "left_after_a_kill": dict(places),
    }


def kill_fit(folder: Path, kills: int, draws: random.Random) -> dict[str, Any]:
    """Kill ``fit`` with a checkpoint; the model must have the numbers of the run that nobody killed."""
    from differnet.flow import tensor_file

    good = _pictures(folder / "good", 60)

    def arguments(model: Path) -> list[str]:
        return [*_fit_arguments(good, model), "--checkpoint", str(model.parent / "checkpoint")]

    (folder / "first").mkdir()
    changes, _ = _uninterrupted(arguments, folder / "first" / "model.safetensors", {0})
    wanted = tensor_file.read_tensors(folder / "first" / "model.safetensors")
    found: Counter[str] = Counter(kills=0, models=0, bad_models=0, bad_half_files=0, bad_exits=0)
    work = folder / "work"
    work.mkdir()
    model = work / "model.safetensors"
    while found["kills"] < kills or not model.exists():
        late = 1e9 if found["kills"] >= kills else draws.uniform(-0.1, 1.0)
        code = _until_killed(arguments(model), work, late * changes, draws)
        if code == -signal.SIGKILL:
            found["kills"] += 1
            print(dict(found), flush=True)
            for path in work.rglob(".*"):  # killed between link and rename: whole, but under another name
                found["left_names"] += 1
                found["bad_half_files"] += not _is_whole(path)
                path.unlink()
        else:
            found["bad_exits"] += code != 0
        if model.exists():
            found["models"] += 1
            found["bad_models"] += not _is_same(tensor_file.read_tensors(model), wanted)
            if found["kills"] < kills:
                _empty(work)
    return dict(found)


def _is_same(one: Any, other: Any) -> bool:
    """Whether two models have the same header, save for times, and the same bits."""
    headers = []
    for header in (dict(one[0]), dict(other[0])):
        losses = [(epoch["epoch"], epoch["loss"], epoch["held_out_loss"]) for epoch in header.pop("history")]
        record = {name: value for name, value in header.pop("calibrated_on").items() if name != "date"}
        headers.append((losses, record, header))
    same_tensors = all(bool((one[1][name] == other[1][name]).all()) for name in other[1])
    return headers[0] == headers[1] and one[1].keys() == other[1].keys() and same_tensors


def _is_whole(path: Path) -> bool:
    """Whether a file of tensors or JSON can be read to its end."""
    from differnet.errors import DifferNetError
    from differnet.flow import tensor_file

    try:
        if path.read_bytes()[:1] == b"{":
            json.loads(path.read_bytes())
        else:
            tensor_file.read_tensors(path)
    except (ValueError, DifferNetError):
        return False
    return True


def _rows_lost(table: bytes, wanted: bytes) -> int:
    """Return how many rows are missing, doubled or changed: 0 for equal tables."""
    if table == wanted:
        return 0
    found, known = Counter(table.splitlines()), Counter(wanted.splitlines())
    return max(1, sum(((found - known) + (known - found)).values()))


def _uninterrupted(
    arguments: Callable[[Path], list[str]], target: Path, codes: set[int]
) -> tuple[int, bytes]:
    """Return how often the folder of ``target`` was seen to change, and what was written there."""
    child, watch = _start(arguments(target)), Watch(target.parent)
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        watch.look()
        time.sleep(_PAUSE)
    if os.waitstatus_to_exitcode(done[1]) not in codes:
        raise SystemExit(f"the run that nobody killed ended with {os.waitstatus_to_exitcode(done[1])}")
    return watch.changes, target.read_bytes()


class Watch:
    """Counts how often a folder was seen to change."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._seen = self._look()
        self.changes = 0

    def look(self) -> int:
        """Look once more; return the count."""
        now = self._look()
        self.changes += now != self._seen
        self._seen = now
        return self.changes

    def _look(self) -> list[tuple[str, int, int]]:
        found = []
        for folder, _, names in os.walk(self._folder):
            for name in names:
                with suppress(OSError):
                    state = Path(folder, name).stat()
                    found.append((name, state.st_size, state.st_mtime_ns))
        return found


def _start(arguments: list[str]) -> int:
    """Fork a process that runs the command line and return its number."""
    child = os.fork()
    if child:
        return child
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    sys.argv = ["differnet", *arguments]
    from differnet.cli.app import main as run

    code = 1
    try:
        run()
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 0
    finally:
        os._exit(code)


def _finish(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _until_killed(arguments: list[str], folder: Path, changes: float, draws: random.Random) -> int:
    """Start, wait for so many changes and a little longer, kill; the exit code, or minus the number of the signal.

    Below zero changes it is killed at once or soon, before the first.
    """
    watch = Watch(folder)
    child = _start(arguments)
    early = time.monotonic() + draws.uniform(0, 1)
    while watch.look() <= changes if changes > 0 else time.monotonic() < early:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_PAUSE)
    time.sleep(draws.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    return _finish(child)


def _empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def _fit_arguments(good: Path, model: Path) -> list[str]:
    options = [text for name, value in TINY.items() for text in ("--set", f"{name}={json.dumps(value)}")]
    return ["fit", str(good), "--out", str(model), "--weights", "random", *options]


def _pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    for index in range(count):
        rng = np.random.default_rng(index)
        grey = 128 + 40 * np.sin((x + y) / 3 + rng.uniform(0, 6)) + rng.normal(0, 4, (64, 64))
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / f"{index:03}.png")
    return folder


if __name__ == "__main__":
    main()
