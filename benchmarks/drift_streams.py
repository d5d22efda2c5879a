"""How often does the drift monitor alarm where nothing changes, and how soon where something does?

Usage: python benchmarks/drift_streams.py SCORES [--streams 1000] [--out docs/results]

SCORES: seed-0.json of benchmarks/tile_scores.py. Streams are drawn from all good magnetic tiles that no flow was fitted
to, with replacement, calibration images too: score, brightness and sharpness of each as they are, or with the picture
darkened by a factor that falls from 1 to 0.8. Fails where streams without a change alarm more often than stated.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from differnet.decision.drift import DriftMonitor
from differnet.decision.martingale import Bet
from report import machine

ALPHA, UNCHANGED = 0.01, 500
CALIBRATION, CALM, FALL, AFTER = 152, 100, 200, 300  # images
NAMES = ("score", "brightness", "sharpness")
Array = npt.NDArray[np.float64]
Change = Callable[[np.random.Generator, Array], Array]


def tables(file: Path) -> tuple[Array, Array, Array]:
    """Return the factors (F,), the good tiles under each (F, N, 3), and the scores of defective tiles (D,)."""
    found = json.loads(file.read_text())
    factors = sorted(found["dimmed"], key=float, reverse=True)
    good = np.array([[found["dimmed"][factor][name] for name in NAMES] for factor in factors])
    pairs = zip(found["test"]["score"], found["label"], strict=True)
    bad = np.array([score for score, label in pairs if label != "good"])
    return np.array([float(factor) for factor in factors]), good.transpose(0, 2, 1), bad


def false_alarms(good: Array, streams: int) -> list[str]:
    """Return how often a monitor alarms without a change, beside bets on p-values against the calibration alone."""
    found = []
    for seed in range(streams):
        rng = np.random.default_rng((1, seed))
        rows = good[rng.integers(len(good), size=CALIBRATION + UNCHANGED)]
        monitor = DriftMonitor(*rows[:CALIBRATION].T, alpha=0.01, seed=seed)
        most = max(monitor.update(*row).strength for row in rows[CALIBRATION:])
        found.append((most, most_fixed(rows[:, 0], rng)))
    online, fixed = np.array(found).T
    lines = []
    for alpha in (0.01, 0.05, 0.1):
        share, error = float((online >= -math.log10(alpha)).mean()), math.sqrt(alpha * (1 - alpha) / streams)
        assert share <= alpha + 4 * error, (alpha, share)
        simpler = float((fixed >= -math.log10(alpha)).mean())
        lines.append(f"| {alpha:.0%} | {streams:,} | {share:.1%} | {simpler:.1%} |")
    return lines


def most_fixed(values: Array, rng: np.random.Generator) -> float:
    """Return the largest evidence (log10) of bets on p-values of the score against the calibration images alone."""
    start, bet, most = np.sort(values[:CALIBRATION]), Bet(), 0.0
    for value in values[CALIBRATION:]:
        first, last = np.searchsorted(start, value), np.searchsorted(start, value, "right")
        bet.take(float(CALIBRATION - last + (1 - rng.random()) * (last - first + 1)) / (CALIBRATION + 1))
        most = max(most, bet.log / math.log(10))
    return most


def dimmed(factors: Array, good: Array, rng: np.random.Generator) -> Array:
    """Return a stream (N, 3): calibration, calm images, brightness falling to 0.8 over 200 images, and staying."""
    falling = np.linspace(1, factors[-1], FALL + 1)[1:]
    wanted = np.concatenate([np.ones(CALIBRATION + CALM), falling, np.full(AFTER, factors[-1])])
    level = np.abs(wanted[:, None] - factors[None, :]).argmin(axis=1)
    return good[level, rng.integers(good.shape[1], size=len(wanted))]


def changes(good: Array, bad: Array) -> dict[str, Change]:
    """Return what happens to the good tiles (N, 3) of a stream from one image on, by its name."""
    spread = good[0].std(axis=0)

    def moved(column: int, shift: float) -> Change:
        step = np.eye(3)[column] * shift * spread
        return lambda rng, rows: rows + step

    def mixed(share: float) -> Change:
        def change(rng: np.random.Generator, rows: Array) -> Array:
            chosen, rows = rng.random(len(rows)) < share, rows.copy()
            rows[chosen, 0] = rng.choice(bad, int(chosen.sum()))
            return rows

        return change

    return {
        "at once to 90 % of the light": lambda rng, rows: good[5][
            rng.integers(good.shape[1], size=len(rows))
        ],
        "scores higher by 0.5 sd": moved(0, 0.5),
        "scores higher by 1 sd": moved(0, 1),
        "less sharp by 1 sd": moved(2, -1),
        "5 % of parts defective": mixed(0.05),
        "20 % of parts defective": mixed(0.2),
        "50 % of parts defective": mixed(0.5),
    }


def watched(rows: Array, seed: int) -> tuple[int | None, str, str]:
    """Return after how many images of the change an alarm came, and the causes told then and 100 images later."""
    monitor = DriftMonitor(*rows[:CALIBRATION].T, alpha=ALPHA, seed=seed)
    wait, first, causes = None, "", ""
    for index, row in enumerate(rows[CALIBRATION:], 1 - CALM):
        state = monitor.update(*row)
        causes = " and ".join(state.causes)
        if wait is None and state.is_alarm:
            wait, first = index, causes
        if wait is not None and index >= max(wait, 0) + 100:
            break
    return wait, first, causes


def delay_row(name: str, streams: int, draw: Callable[[np.random.Generator], Array]) -> str:
    """Return the row of one change: how many streams, how often found, how soon, and what is said."""
    waits, at_once, later, false = [], [], [], 0
    for seed in range(streams):
        wait, first, causes = watched(draw(np.random.default_rng((2, seed))), seed)
        if wait is not None and wait <= 0:
            false += 1
            continue
        waits.append(math.inf if wait is None else wait)
        if wait is not None:
            at_once.append(first)
            later.append(causes)
    quantiles = np.quantile(waits, [0.5, 0.9], method="inverted_cdf")
    numbers = [f"{value:.0f}" if math.isfinite(value) else "not found" for value in quantiles]
    told = " | ".join(
        ", ".join(f"{cause} {said.count(cause) / len(said):.1%}" for cause in sorted(set(said)))
        for said in (at_once, later)
    )
    found = float(np.isfinite(waits).mean())
    return f"| {name} | {streams:,} | {found:.0%} | {numbers[0]} | {numbers[1]} | {false} | {told} |"


def page(file: Path, streams: int) -> list[str]:
    """Return the whole page."""
    factors, good, bad = tables(file)
    lines = [
        "# Drift",
        "",
        "`python benchmarks/drift_streams.py SCORES`. Streams of good magnetic tiles that no flow was fitted to, drawn",
        f"with replacement from {good.shape[1]} of them (preset `default`, seed 0), {CALIBRATION} calibration images.",
        "Score, brightness and sharpness are watched together.",
        "",
        "## Without a change",
        "",
        f"{UNCHANGED} images each. *Fixed*: the same bets on p-values of the score against the calibration images",
        "alone, as a simpler monitor would have them: all of them share one set, whose luck looks like a change in a",
        "long stream.",
        "",
        "| stated, at most | streams | ever alarmed | fixed |",
        "|---|---|---|---|",
        *false_alarms(good[0], streams),
        "",
        "## With a change",
        "",
        f"{CALM} calm images, then the change; alarm level {ALPHA:.0%}. Delays are counted in images from where it",
        "begins, among streams that had not alarmed before (*false*). The cause is what is told with the alarm, and",
        "what is told 100 images later.",
        "",
        "| change | streams | found | median delay | 90 % within | false | cause at the alarm | 100 images later |",
        "|---|---|---|---|---|---|---|---|",
        delay_row(
            "brightness falls by 20 % over 200 images", streams, lambda rng: dimmed(factors, good, rng)
        ),
    ]
    for name, change in changes(good, bad).items():

        def draw(rng: np.random.Generator, change: Change = change) -> Array:
            rows = good[0][rng.integers(good.shape[1], size=CALIBRATION + CALM + 500)]
            rows[-500:] = change(rng, rows[-500:])
            return rows

        lines.append(delay_row(name, max(streams // 10, 1), draw))
        print(lines[-1], flush=True)
    return [
        *lines,
        "",
        "sd: standard deviation among good tiles. A change is looked for over 500 images.",
        "",
    ]


def main() -> None:
    """Simulate and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scores", type=Path)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    lines = page(options.scores, options.streams)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "drift.md").write_text("\n".join([*lines, machine(), ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
