"""How often does the drift monitor alarm where nothing changes, and how soon where something does?

Usage: python benchmarks/drift_streams.py [--repeats 100] [--processes 2] [--out docs/results]

Simulated scores: calm streams, independent and correlated, and broken ones. The calibration images are independent, of
the distribution of the calm stream. Fails where calm streams of independent images, or of lots of 25, alarm more often
than stated.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from differnet.decision.drift import DriftMonitor
from report import machine

ALPHA, CALIBRATION = 0.01, 150
CALM, AFTER = 1500, 1500  # images
FEW, MANY = 300, 1500  # images before the change
BEFORE_BURST = 3000  # images before a burst, in place of MANY
Array = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Array]
Change = Callable[[np.random.Generator, Array], Array]


def independent(rng: np.random.Generator, count: int) -> Array:
    """Return independent normal scores."""
    return rng.normal(size=count)


def heavy(rng: np.random.Generator, count: int) -> Array:
    """Return independent scores with heavy tails (Student, 3 degrees of freedom)."""
    return rng.standard_t(3, size=count)


def rounded(rng: np.random.Generator, count: int) -> Array:
    """Return independent scores with many ties."""
    return np.round(rng.normal(size=count) * 2)


def lots(rng: np.random.Generator, count: int, size: int, between: float) -> Array:
    """Return scores in lots, with a share of the variance between lots."""
    lot = np.repeat(rng.normal(size=count // size + 2), size)[rng.integers(size) :][:count]
    return math.sqrt(between) * lot + math.sqrt(1 - between) * rng.normal(size=count)


def wave(rng: np.random.Generator, count: int, period: int) -> Array:
    """Return scores half of whose variance is a sine, from a random phase on."""
    phase = 2 * np.pi * (np.arange(count) + rng.integers(period)) / period
    return np.sin(phase) + math.sqrt(0.5) * rng.normal(size=count)


def autoregressive(rng: np.random.Generator, count: int, correlation: float) -> Array:
    """Return scores each of which remembers a share of the last."""
    scores, last = np.empty(count), rng.normal()
    for index, step in enumerate(rng.normal(size=count) * math.sqrt(1 - correlation**2)):
        scores[index] = last = correlation * last + step
    return scores


def shifted(_: np.random.Generator, scores: Array, by: float) -> Array:
    """Return scores whose mean moved, in standard deviations."""
    return scores + by


def spread(_: np.random.Generator, scores: Array, by: float) -> Array:
    """Return scores that spread so many times as wide."""
    return scores * by


def burst(_: np.random.Generator, scores: Array, count: int) -> Array:
    """Return scores of which the first ones are of bad images, and all others good."""
    return np.concatenate([scores[:count] + 4, scores[count:]])


def slow(_: np.random.Generator, scores: Array, by: float, over: int) -> Array:
    """Return scores whose mean moves little by little, and stays."""
    return scores + by * np.minimum(np.arange(len(scores)) / over, 1)


def back(_: np.random.Generator, scores: Array, by: float, count: int) -> Array:
    """Return scores that step up and back."""
    return np.concatenate([scores[:count] + by, scores[count:]])


def defective(rng: np.random.Generator, scores: Array, share: float) -> Array:
    """Return scores of which a share is of bad images."""
    return scores + 4 * (rng.random(len(scores)) < share)


CALM_STREAMS: dict[str, Draw] = {
    "independent": independent,
    "independent, heavy tails": heavy,
    "independent, many ties": rounded,
    **{
        f"lots of {size}, {share:.0%} of the variance within": partial(lots, size=size, between=1 - share)
        for size, share in ((25, 0.2), (25, 0.5), (25, 0.8), (100, 0.2), (100, 0.7))
    },
    **{
        f"wave of {period} images, half of the variance": partial(wave, period=period)
        for period in (200, 500)
    },
    **{f"AR(1), {found}": partial(autoregressive, correlation=found) for found in (0.2, 0.5, 0.8, 0.95)},
}
CHANGES: dict[str, Change] = {
    **{f"mean higher by {by:g} sd": partial(shifted, by=by) for by in (0.5, 1, 2)},
    "mean lower by 1 sd": partial(shifted, by=-1),
    **{f"spread times {by:g}": partial(spread, by=by) for by in (1.5, 2, 4, 0.5)},
    **{f"burst of {count} bad images": partial(burst, count=count) for count in (5, 10, 20)},
    "mean higher by 2 sd within 500 images": partial(slow, by=2, over=500),
    "1 sd higher for 200 images, and back": partial(back, by=1, count=200),
    **{f"{share:.0%} of images bad": partial(defective, share=share) for share in (0.05, 0.2)},
}
CORRELATED: dict[str, tuple[str, str]] = {
    f"{change}, {stream}": (stream, change)
    for stream, change in (
        ("AR(1), 0.5", "mean higher by 1 sd"),
        ("AR(1), 0.8", "mean higher by 2 sd"),
        ("lots of 25, 80% of the variance within", "mean higher by 2 sd"),
        ("lots of 25, 20% of the variance within", "mean higher by 2 sd"),
        ("lots of 25, 20% of the variance within", "spread times 4"),
    )
}


@dataclass(frozen=True)
class Told:
    """What the monitor said of a stream: the image of the alarm, what it says changed, and whether images are alike.

    ``alone``: whether a monitor that takes all images to be independent would have alarmed.
    """

    alarm: int | None
    change: str | None
    alike: bool
    alone: bool


def watch(stream: str, change: str | None, before: int, seed: int) -> Told:
    """Return what the monitor says of a stream: calm for ``before`` images, then changed, or calm throughout."""
    rng, draw = np.random.default_rng((22, seed)), CALM_STREAMS[stream]
    calibration = np.array([draw(rng, 1)[0] for _ in range(CALIBRATION)])
    scores = draw(rng, before + (AFTER if change else 0))
    if change:
        scores[before:] = CHANGES[change](rng, scores[before:])
    monitor, alike, alone = DriftMonitor(calibration, alpha=ALPHA, seed=seed), False, False
    for index, score in enumerate(scores, 1):
        found = monitor.update(score).score
        alike |= found.clustering > 1
        alone |= found.one_by_one >= -math.log10(ALPHA)
        if found.alarm:
            return Told(index, found.alarm, alike, alone)
    return Told(None, None, alike, alone)


def calm_row(stream: str, told: list[Told]) -> str:
    """Return how often a calm stream alarms; fails where a promise does not hold."""
    share, count = np.mean([one.alarm is not None for one in told]), len(told)
    if stream.startswith(("independent", "lots of 25")):
        assert share <= ALPHA + 4 * math.sqrt(ALPHA / count), (stream, share)
    alike, alone = (np.mean([getattr(one, name) for one in told]) for name in ("alike", "alone"))
    return f"| {stream} | {count} | {share:.1%} | {alike:.0%} | {alone:.0%} |"


def broken_cells(told: list[Told], before: int) -> tuple[str, Counter[str]]:
    """Return how many broken streams are found and how soon, and what is said to have changed."""
    late = [one for one in told if one.alarm is None or one.alarm > before]
    waits = [math.inf if one.alarm is None else one.alarm - before for one in late]
    numbers = [np.quantile(waits, share, method="inverted_cdf") for share in (0.5, 0.9)]
    cells = [f"{np.isfinite(waits).mean():.0%}", *(f"{x:.0f}" if math.isfinite(x) else "-" for x in numbers)]
    return " | ".join(cells), Counter(one.change for one in late if one.change)


def page(repeats: int, run: Callable[[str, str | None, int], list[Told]]) -> list[str]:
    """Return the whole page."""
    lines = [
        "# Drift",
        "",
        "`python benchmarks/drift_streams.py`. Simulated scores, one number watched, alarm level "
        f"{ALPHA:.0%}, {CALIBRATION} calibration images, each stream {repeats} times.",
        "",
        "## Without a change",
        "",
        f"{CALM:,} images each. The level is proven for independent images; for others it is an estimate.",
        "*Said to be alike*: the monitor says that neighbouring images are alike, which is no alarm. *One by one*:",
        "alarms if each image counted as independent.",
        "",
        "| calm stream | streams | ever alarmed | said to be alike | one by one |",
        "|---|---|---|---|---|",
    ]
    for stream in CALM_STREAMS:
        lines.append(calm_row(stream, run(stream, None, CALM)))
        print(lines[-1], flush=True)
    lines += [
        "",
        "## With a change",
        "",
        f"Calm for {FEW} or {MANY:,} images (bursts: {BEFORE_BURST:,}), then the change, looked for over {AFTER:,}",
        "images. Delays in images, among streams that had not alarmed before, half as many as calm ones; "
        "bad images score 4 standard",
        "deviations (sd) higher. What is said is of both.",
        "",
        f"| change | found after {FEW} | median delay | 90 % within | found after {MANY:,} | median delay "
        "| 90 % within | said |",
        "|---|---|---|---|---|---|---|---|",
    ]
    pairs = {change: ("independent", change) for change in CHANGES} | CORRELATED
    for name, (stream, change) in pairs.items():
        (few, said), (many, also) = (broken_cells(run(stream, change, count), count) for count in (FEW, MANY))
        words = ", ".join(f"{word} {number}" for word, number in (said + also).most_common())
        lines.append(f"| {name} | {few} | {many} | {words} |")
        print(lines[-1], flush=True)
    return [*lines, ""]


def main() -> None:
    """Simulate and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    with ProcessPoolExecutor(options.processes) as pool:

        def run(stream: str, change: str | None, before: int) -> list[Told]:
            repeats = max(options.repeats // 2, 1) if change else options.repeats
            return list(pool.map(partial(watch, stream, change, before), range(repeats), chunksize=2))

        lines = page(options.repeats, run)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "drift.md").write_text("\n".join([*lines, machine(), ""]))


if __name__ == "__main__":
    main()
