"""How often does stopping early miss what only late views show? Made-up view scores, good ones and adversarial ones.

Usage: python benchmarks/early_stop.py [--out docs/results]

Good parts have view scores that vary around a level of their own. A defect jumps: its first views are those of a good
part, and from some view on all are high, so that the mean of all views lies above the threshold. The rule was made from
good parts, which do not jump, so its error says nothing of those. Writes early_stop.md; it fails where the rule errs
on good parts by more than it states.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from differnet.data.files import write_whole
from differnet.decision.calibration import Standard
from differnet.decision.verdict import judge

Scores = npt.NDArray[np.float64]
HELD, JUDGED = 199, 2000
LEVELS = (0.3, 0.5, 0.7, 0.85, 0.95)  # the mean of the first views over the threshold
TIMES = 1.5  # the mean of all views over it


class Made:
    """A standard of made-up good parts: anything that has one can be judged by."""

    def __init__(self, scores: Scores) -> None:
        self.standard = Standard(view_scores=scores, usual_views=scores.shape[1], order="random", rate=0.01)


def good_parts(rng: np.random.Generator, count: int, views: int) -> Scores:
    """Return view scores (count, views): a level for each part, a factor for each view."""
    levels = rng.normal(0, 0.3, (count, 1))
    return np.exp(levels + rng.normal(0, 0.1, (count, views)))


def jumping(
    rng: np.random.Generator, count: int, views: int, first: int, level: float, theta: float
) -> Scores:
    """Return view scores of defects that show from view ``first`` on; those before have a mean of ``level`` theta."""
    scores = good_parts(rng, count, views)
    scores *= level * theta / scores[:, :first].mean(axis=1, keepdims=True)
    missing = TIMES * theta * views - scores.sum(axis=1, keepdims=True)
    scores[:, first:] += missing / (views - first)
    return scores


def measured(views: int) -> tuple[float, float, list[tuple[int, float, float, float]]]:
    """Return the stated error, the one seen on good parts, and for each jump the share missed and the views taken."""
    rng = np.random.default_rng(views)
    made = Made(good_parts(rng, HELD, views))
    threshold = made.standard.threshold()
    assert threshold is not None
    good = good_parts(rng, JUDGED, views)
    changed = np.mean(
        [judge(made, row, True).is_defective != judge(made, row, False).is_defective for row in good]
    )
    rows = []
    for first in (2, *range(4, views, 4)):
        for level in LEVELS:
            scores = jumping(rng, JUDGED // 4, views, first, level, threshold.value)
            early = [judge(made, row, True) for row in scores]
            missed = float(np.mean([not one.is_defective for one in early]))
            rows.append((first, level, missed, float(np.mean([one.views for one in early]))))
    return made.standard.early_stop.error, float(changed), rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure 8 and 16 views and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args(arguments)
    lines = [
        "# Stopping early, and defects that jump",
        "",
        "`python benchmarks/early_stop.py`. Made-up view scores: 199 held-out good parts, 2,000 new ones, and 500",
        "defects a row whose first views are those of a good part. By all views their mean is "
        f"{TIMES:g} times the threshold, so they are NG.",
        "",
        '| views | defect shows from view | first views, of the threshold | missed with `views="auto"` | views taken |',
        "|---|---|---|---|---|",
    ]
    has_failed, said = False, []
    for views in (8, 16):
        stated, seen, rows = measured(views)
        has_failed |= seen > 2 * stated + 3 * np.sqrt(2 * stated / JUDGED)
        said.append(
            f"With {views} views {seen:.2%} of good parts are judged otherwise than by all views; stated: "
            f"{stated:.1%} to either side."
        )
        for first, level, missed, taken in rows:
            lines.append(f"| {views} | {first + 1} | {level:.0%} | {missed:.0%} | {taken:.1f} |")
    lines += ["", *said, ""]
    lines += [
        "A defect that only late views show is missed where the first views are certain, however strong it is: the",
        "error of the rule is that of good parts, and of defects whose views vary no more than theirs. Where a defect",
        "may show in few views alone, judge by all of them.",
    ]
    write_whole(options.out / "early_stop.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
