"""Are the promises of thresholds and of the drift monitor kept? A simulation.

Usage: python benchmarks/calibration.py [SCORES] [--draws 2000] [--streams 1000] [--out docs/results]

SCORES: a table with the columns ``score`` and ``label``, as ``differnet evaluate --out`` writes it; of several seeds
the first counts. Its good scores are then resampled beside the synthetic ones. Where a promise is broken by more than
chance explains (4 standard errors), the script fails.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from differnet.calibrate import Threshold, choose_threshold, images_needed
from differnet.drift import Bet, DriftMonitor
from report import machine

COUNTS = (20, 50, 100, 200, 500, 1000)
RATES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
CONFIDENCE = 0.95
ALPHA = 0.05
CALIBRATION, CALM, AFTER = 200, 300, 500  # images of a stream with a change
Array = npt.NDArray[np.float64]
Change = Callable[[np.random.Generator, Array], Array]
HEAD = """# Are the promises kept?

`python benchmarks/calibration.py [SCORES]`: {draws:,} calibration sets for each number of images and each rate. The
realised false-alarm rate of a threshold is that of the whole population the calibration scores were drawn from, so it
has no noise of its own. *Normal* and *heavy tail* (log-normal, sigma 1.5) are continuous; *rounded* are log-normal
scores rounded to halves, so that many tie{real}. Each column is a wanted rate.
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


def false_alarms(streams: int) -> list[str]:
    """Return how often a monitor alarms without a change, beside bets on p-values against the calibration alone."""
    online = fixed = 0
    for seed in range(streams):
        rng = np.random.default_rng((1, seed))
        values = rng.normal(size=(3, CALIBRATION + 1000))
        monitor = DriftMonitor(*values[:, :CALIBRATION], alpha=ALPHA, seed=seed)
        state = None
        for row in values[:, CALIBRATION:].T:
            state = monitor.update(*row)
        online += state is not None and state.is_alarm
        fixed += _alarms_fixed(values[0], rng)
    error = math.sqrt(ALPHA * (1 - ALPHA) / streams)
    assert online / streams <= ALPHA + 4 * error, online
    return [
        "## Drift: false alarms",
        "",
        f"{streams:,} streams of 1,000 images without a change, {CALIBRATION} calibration images, score, brightness",
        f"and sharpness together, alpha {ALPHA:.0%}: **{online / streams:.1%}** of the streams ever alarm. The same",
        "bets on p-values of the score against the calibration images alone, instead of against all images so far,",
        f"would alarm in {fixed / streams:.0%}.",
        "",
    ]


def _alarms_fixed(values: Array, rng: np.random.Generator) -> bool:
    start, bet = np.sort(values[:CALIBRATION]), Bet()
    for value in values[CALIBRATION:]:
        above = CALIBRATION - int(np.searchsorted(start, value))
        bet.take((above + 1 - rng.random()) / (CALIBRATION + 1))
        if bet.log >= math.log(1 / ALPHA):
            return True
    return False


def changes(good: Array | None, bad: Array | None) -> dict[str, Change]:
    """Return what happens to calm numbers (N, 3), in standard deviations or by a share of bad parts, by its name."""

    def moved(column: int, shift: float) -> Change:
        step = np.eye(3)[column] * shift
        return lambda rng, rows: rows + step

    def mixed(share: float, scores: Callable[[np.random.Generator, int], Array]) -> Change:
        def change(rng: np.random.Generator, rows: Array) -> Array:
            chosen = rng.random(len(rows)) < share
            rows = rows.copy()
            rows[chosen, 0] = scores(rng, int(chosen.sum()))
            return rows

        return change

    found = {
        "scores higher by 0.5": moved(0, 0.5),
        "scores higher by 1": moved(0, 1),
        "scores higher by 2": moved(0, 2),
        "pictures darker by 1": moved(1, -1),
        "pictures darker by 2": moved(1, -2),
        "less sharp by 1": moved(2, -1),
        "scores rise by 2 over 500 images": lambda rng, rows: (
            rows + np.outer(np.linspace(0, 2, len(rows)), [1, 0, 0])
        ),
        "5 % of parts bad, by 4": mixed(0.05, lambda rng, n: rng.normal(4, 1, n)),
        "20 % of parts bad, by 4": mixed(0.2, lambda rng, n: rng.normal(4, 1, n)),
    }
    if good is not None and bad is not None:
        for share in (0.05, 0.2, 0.5):
            found[f"{share:.0%} real defects among real good parts"] = mixed(
                share, lambda rng, n: rng.choice(bad, n)
            )
    return found


def delays(good: Array | None, bad: Array | None, streams: int) -> list[str]:
    """Return how long each change takes to be found, and what is said to be the cause."""
    lines = [
        "## Drift: how soon a change is found",
        "",
        f"{streams:,} streams a row: {CALIBRATION} calibration images, {CALM} calm ones, then the change, which",
        f"lasts for {AFTER}. alpha 1 % for the three numbers together. Changes in standard deviations of the number.",
        "*False*: streams that had alarmed before. *Said*: the cause told at the end, where the change was found.",
        "",
        "| change | found | median delay, images | 90 % within | false | said |",
        "|---|---|---|---|---|---|",
    ]
    for name, change in changes(good, bad).items():
        waits, said, false = [], [], 0
        for seed in range(streams):
            rng = np.random.default_rng((2, seed))
            rows = rng.normal(size=(CALIBRATION + CALM + AFTER, 3))
            if good is not None and "real" in name:
                rows[:, 0] = rng.choice(good, len(rows))
            rows[-AFTER:] = change(rng, rows[-AFTER:])
            wait, causes = _watch(rows, seed)
            false += wait is not None and wait <= 0
            if wait is None or wait > 0:
                waits.append(math.inf if wait is None else wait)
                said += [] if wait is None else [" and ".join(causes)]
        lines.append(_delay_row(name, waits, said, false / streams))
    return [*lines, ""]


def _watch(rows: Array, seed: int) -> tuple[int | None, tuple[str, ...]]:
    """Return after how many images of the change an alarm came, and what it said at the end of the stream."""
    monitor = DriftMonitor(*rows[:CALIBRATION].T, alpha=0.01, seed=seed)
    wait, causes = None, ()
    for index, row in enumerate(rows[CALIBRATION:], 1 - CALM):
        state = monitor.update(*row)
        causes = state.causes
        if wait is None and state.is_alarm:
            wait = index
    return wait, causes


def _delay_row(name: str, waits: list[float], said: list[str], false: float) -> str:
    median, most = np.quantile(waits, [0.5, 0.9], method="inverted_cdf")
    numbers = [f"{value:.0f}" if math.isfinite(value) else "not found" for value in (median, most)]
    causes = ", ".join(f"{cause} {said.count(cause) / len(said):.0%}" for cause in sorted(set(said)))
    found = np.isfinite(waits).mean()
    return f"| {name} | {found:.0%} | {numbers[0]} | {numbers[1]} | {false:.1%} | {causes} |"


def read_scores(path: Path) -> tuple[Array, Array]:
    """Return the scores of good and of defective images of the first seed in a table."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = rows[0].get("seed")
    pairs = [(row["label"] == "good", float(row["score"])) for row in rows if row.get("seed") == first]
    return (
        np.array([score for is_good, score in pairs if is_good]),
        np.array([score for is_good, score in pairs if not is_good]),
    )


def main() -> None:
    """Simulate and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scores", type=Path, nargs="?")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    good, bad = (None, None) if options.scores is None else read_scores(options.scores)
    real = "" if good is None else "; *real* are the scores of the table, drawn with replacement"
    lines = [HEAD.format(draws=options.draws, real=real)]
    lines += threshold_page(good, options.draws)
    lines += false_alarms(options.streams)
    lines += delays(good, bad, max(options.streams // 5, 1))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "calibration.md").write_text("\n".join([*lines, machine(), ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
