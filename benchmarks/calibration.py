"""Are the promises of thresholds kept? A simulation.

Usage: python benchmarks/calibration.py [SCORES] [--draws 2000] [--out docs/results]

SCORES: seed-0.json of benchmarks/tile_scores.py; the scores of its good tiles are then resampled beside the synthetic
ones. Where a promise is broken by more than chance explains (4 standard errors), the script fails.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from differnet.decision.thresholds import Threshold, choose_threshold, images_needed
from report import machine

COUNTS = (20, 50, 100, 200, 500, 1000)
RATES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
CONFIDENCE = 0.95
Array = npt.NDArray[np.float64]
HEAD = """# Are the promises kept?

`python benchmarks/calibration.py [SCORES]`: {draws:,} calibration sets for each number of images and each rate. The
realised false-alarm rate of a threshold is that of the whole population the calibration scores were drawn from, so it
has no noise of its own. *Normal* and *heavy tail* (log-normal, sigma 1.5) are continuous; *rounded* are log-normal
scores rounded to halves, so that many tie{real}. Each
column is a wanted rate. The script fails where a promise is broken by more than four standard errors of the simulation;
it did not.
"""


@dataclass(frozen=True)
class Population:
    """Scores of good parts: how to draw them, and how many of all lie at a threshold or above."""

    name: str
    draw: Callable[[np.random.Generator, int], Array]
    above: Callable[[float], float]


def empirical(name: str, values: Array) -> Population:
    """Draw from ``values`` with replacement."""
    ordered = np.sort(values)

    def above(theta: float) -> float:
        return 1 - float(np.searchsorted(ordered, theta)) / len(ordered)

    return Population(name, lambda rng, n: rng.choice(ordered, n), above)


def populations(good: Array | None) -> list[Population]:
    """Return the synthetic populations and the real one, if there is one."""
    heavy = stats.lognorm(1.5)
    found = [
        Population("normal", lambda rng, n: rng.normal(size=n), lambda theta: float(stats.norm.sf(theta))),
        Population(
            "heavy tail", lambda rng, n: rng.lognormal(0, 1.5, n), lambda theta: float(heavy.sf(theta))
        ),
        empirical("rounded", np.round(2 * np.random.default_rng(99).lognormal(size=200_000)) / 2),
    ]
    return found if good is None else [*found, empirical(f"real ({len(good)} good)", good)]


def realised(
    population: Population, count: int, rate: float, confidence: float | None, draws: int
) -> tuple[Threshold, Array]:
    """Return one of the thresholds, and the realised false-alarm rates of all of them (draws,)."""
    rng = np.random.default_rng((count, round(1e6 * rate), len(population.name)))
    rates = []
    for _ in range(draws):
        threshold = choose_threshold(population.draw(rng, count), rate, confidence)
        rates.append(population.above(threshold.value))
    return threshold, np.array(rates)


def marginal_row(population: Population, count: int, draws: int) -> tuple[str, str]:
    """Return the row of mean realised rates, and that of how often a single set is worse than wanted."""
    means, worse = [], []
    for rate in RATES:
        threshold, rates = realised(population, count, rate, None, draws)
        error = rates.std() / math.sqrt(draws)
        assert rates.mean() <= threshold.promised + 4 * error, (population.name, count, rate, rates.mean())
        few = "" if threshold.is_kept else f" ({100 * threshold.promised:.2g})"
        means.append(f"{100 * rates.mean():.2g}{few}")
        worse.append(f"{(rates > rate).mean():.0%}" if threshold.is_kept else "")
    start = f"| {population.name} | {count} | "
    return f"{start}{' | '.join(means)} |", f"{start}{' | '.join(worse)} |"


def conditional_row(population: Population, count: int, draws: int) -> str:
    """Return the row of how often the realised rate exceeds the wanted one, and of its mean."""
    cells = []
    for rate in RATES:
        if count < images_needed(rate, CONFIDENCE):
            cells.append("refused")
            continue
        _, rates = realised(population, count, rate, CONFIDENCE, draws)
        broken, allowed = float((rates > rate * (1 + 1e-9)).mean()), 1 - CONFIDENCE
        assert broken <= allowed + 4 * math.sqrt(allowed * CONFIDENCE / draws), (population.name, count, rate)
        cells.append(f"{broken:.1%} ({100 * rates.mean():.2g})")
    return f"| {population.name} | {count} | {' | '.join(cells)} |"


def threshold_page(good: Array | None, draws: int) -> list[str]:
    """Return the tables of thresholds."""
    head = ["", "| scores | images | " + " | ".join(f"{100 * rate:g} %" for rate in RATES) + " |"]
    head.append("|---" * (len(RATES) + 2) + "|")
    known = populations(good)
    marginal = [marginal_row(one, count, draws) for one in known for count in COUNTS]
    conditional = [conditional_row(one, count, draws) for one in known for count in COUNTS]
    return [
        "## On average over calibration sets",
        "",
        "Mean realised false-alarm rate in percent; in brackets what is promised where the images are too few for the",
        "wanted rate.",
        *head,
        *(row for row, _ in marginal),
        "",
        "How many single calibration sets are worse than the wanted rate, which this promise says nothing of:",
        *head,
        *(row for _, row in marginal),
        "",
        f"## With {CONFIDENCE:.0%} confidence",
        "",
        f"How many calibration sets are worse than the wanted rate, at most {1 - CONFIDENCE:.0%} being promised; in "
        "brackets the mean realised rate in percent, the price of the confidence.",
        *head,
        *conditional,
        "",
    ]


def good_scores(file: Path) -> Array:
    """Return the scores of good tiles that no flow was fitted to, as benchmarks/tile_scores.py left them."""
    found = json.loads(file.read_text())
    test = zip(found["test"]["score"], found["label"], strict=True)
    return np.array(found["held_out"]["score"] + [score for score, label in test if label == "good"])


def main() -> None:
    """Simulate and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scores", type=Path, nargs="?")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    good = None if options.scores is None else good_scores(options.scores)
    real = "" if good is None else "; *real* are scores of good magnetic tiles, drawn with replacement"
    lines = [HEAD.format(draws=options.draws, real=real)]
    lines += threshold_page(good, options.draws)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "calibration.md").write_text("\n".join([*lines, machine(), ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
