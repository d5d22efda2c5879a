"""docs/results/speed.md from the measurements of ``speed.py``."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

Record = dict[str, Any]
LITERAL = "literal, 64 views"
COMPLETE = "default, with threshold and heat maps"
BY_HAND = "<!-- What follows is written by hand, and kept when the page is written anew. -->"
PAPER = "0.977 (paper)"
NOTE = """
Every figure is the median of the repeats, with the least and the largest; a ratio is taken within a repeat, in which
all candidates ran one after the other, each fit in a process of its own. The literal baseline (`benchmarks/literal.py`)
is the paper's procedure as anyone would write it in PyTorch, on **random** AlexNet weights, which serve for timing: it
has no AUROC here, and the paper's own for it is 0.977. Its fit is timed by the step (median of 4 after a first one) and
multiplied: 32 steps an epoch, 192 epochs. anomalib's PaDiM and PatchCore (`benchmarks/peers.py`: the same
EfficientNet-Lite0 weights, 448 pixels as the default reads, as many patches in a coreset as `differnet compare` allows)
run in PyTorch, as does its EfficientAD (small), whose weights are random here: it has a time and no AUROC. What they
would gain from an export to OpenVINO is not measured. Data: the paper's split of Magnetic Tile Defects (761 / 191 good,
392 defective). AUROC is that of the last epoch; of `default` the mean of the seeds that were fitted (0, 1, 2), of the
others of seed 0; on these tiles 0.990 was aimed at. `default` is fitted to all good tiles, as the others are, and
scores; what `differnet fit` makes, with a fifth held out for the threshold and with heat maps, has a row of its own.
Of all candidates glibc keeps large buffers (`MALLOC_MMAP_THRESHOLD_` and others): else those of PyTorch come from the
system anew for each image, or not, by what the process freed before, and a pass of this backbone in PyTorch takes 45 ms
or 22. The host's speed moves by a third within minutes, so look at the ratios.
"""


def write_speed(path: Path, records: list[Record], where: str) -> None:
    """Write the page from all records there are; a row without records says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text() if path.exists() else ""
    by_hand = f"\n{BY_HAND}{before.partition(BY_HAND)[2]}" if BY_HAND in before else ""
    others = max((r.get("others", 0.0) for r in records), default=0.0)
    lines = [
        "# Speed",
        "",
        "`make bench MTD=FOLDER SPLIT=FILE`",
        *NOTE.splitlines(),
        "",
        f"Just before each measurement others used {others:.0%} of the machine at most.",
        "",
        "## What was aimed at",
        "",
        "| figure | wanted | measured | AUROC, ours | AUROC, other |",
        "|---|---|---|---|---|",
        *_aims(records),
        "",
        "## Judging one image, decoding included",
    ]
    for kind, title in (("score", "one upright view"), ("turned", "turned views")):
        lines += ["", f"| {title} | milliseconds | views | against the literal one |", "|---|---|---|---|"]
        for what in _names(records, kind):
            seconds, ratios = _values(records, kind, what), _ratios(records, kind, LITERAL, what)
            seen = _views(records, kind, what)
            lines.append(f"| {what} | {_spread(seconds, 1000)} | {seen} | {_spread(ratios)} x |")
    stream = _values(records, "stream", "default")
    if stream:
        lines += ["", f"`predict_iter` over the same images, `default`: {_spread(stream, 1000)} ms an image."]
    lines += ["", *_turned(records), "## Fitting, from image files to a detector", ""]
    lines += ["| what | seconds | AUROC |", "|---|---|---|"]
    for what in _names(records, "fit"):
        seconds = _spread(_values(records, "fit", what))
        lines.append(f"| {what} | {seconds} | {_number(_accuracy(records, what))} |")
    lines += [
        "",
        "What the memory and the time of more pictures are: [cost as work grows](growth.md).",
        "",
        where,
        "",
    ]
    path.write_text("\n".join(lines) + by_hand)


def _aims(records: list[Record]) -> list[str]:
    ours, turned = _accuracy(records, "default"), _accuracy(records, "turned, auto", "accuracy")
    rows = [
        _aim(records, "scoring, upright, against the literal 64 views", 90, "score", LITERAL, "default", ours, PAPER),
        _aim(records, "scoring, turned, `auto`, against the same", 25, "turned", LITERAL, "turned, auto", turned, PAPER),
        _aim(records, "fitting against the literal schedule", 150, "fit", "literal", "default", ours, PAPER),
    ]  # fmt: skip
    for peer, wanted in (("PatchCore", 10), ("PaDiM", 1)):
        other = _number(_accuracy(records, peer))
        rows += [
            _aim(records, f"scoring against {peer} at the same input size", 2, "score", peer, "default", ours, other),
            _aim(records, f"fitting against {peer} likewise", wanted, "fit", peer, "default", ours, other),
        ]  # fmt: skip
    for what in _names(records, "score"):
        if what.startswith("EfficientAD"):
            rows.append(_aim(records, f"scoring against {what}", None, "score", what, "default", ours, ""))
    maps = _ratios(records, "maps", "PyTorch", "default")
    rows.append(f"| a heat map, against one with feature maps from PyTorch | | **{_spread(maps)} x** | | |")
    both = _ratios(records, "cores", "one core", "all cores")
    rows.append(f"| local engine, images a second on 2 cores against 1 | 1.8 x | **{_spread(both)} x** | | |")
    memory = [r for r in records if r["kind"] == "memory"]
    peak = f"**{memory[-1]['peak_bytes'] / 1e9:.2f} GB**" if memory else "not measured"
    count = f"{memory[-1]['images'] if memory else 1000:,}"
    rows.append(f"| peak memory of a fit on {count} pictures of 4000 x 3000 | 1.6 GB | {peak} | | |")
    started = _values(records, "help", "differnet --help")
    shown = f"**{_spread(started)} s**" if started else "not measured"
    rows.append(f"| `differnet --help` | under 0.4 s | {shown} | | |")
    return rows


def _aim(
    records: list[Record],
    title: str,
    wanted: int | None,
    kind: str,
    base: str,
    ours: str,
    auroc: float | None,
    other: str,
) -> str:
    ratios = _ratios(records, kind, base, ours)
    measured = f"**{_spread(ratios)} x**" if ratios else "not measured"
    least = "" if wanted is None else f"{wanted} x"
    return f"| {title} | {least} | {measured} | {_number(auroc)} | {other} |"


def _turned(records: list[Record]) -> list[str]:
    """Say what stopping early changes."""
    found = [r for r in records if (r["kind"], r["what"]) == ("accuracy", "turned, auto")]
    if not found:
        return []
    one = found[0]
    return [
        f"*Turned* is the default with `rotation = 'full'`, seed 0, a fifth of the tiles held out. `views=\"auto\"` looked at "
        f"{one['views']:.1f} of {one['of']} views on average over all {one['images']} test tiles, and "
        f"{one['other verdicts']} verdicts are not those of all views. AUROC is {one['auroc']:.4f} by the scores of "
        f"`auto`, and {one['auroc of all views']:.4f} by those of all views. Tiles lie one way, so that their turns tell "
        "something which such a model is told to ignore: it is here for its time.",
        "",
    ]


def _views(records: list[Record], kind: str, what: str) -> str:
    """Return how many views were looked at, on average; nothing for who has none."""
    seen = statistics.mean(r.get("views", 0) for r in records if (r["kind"], r["what"]) == (kind, what))
    return "64" if what == LITERAL else f"{seen:.3g}" if seen else ""


def _names(records: list[Record], kind: str) -> list[str]:
    return list(dict.fromkeys(r["what"] for r in records if r["kind"] == kind))


def _values(records: list[Record], kind: str, what: str) -> list[float]:
    return [r["seconds"] for r in records if (r["kind"], r["what"]) == (kind, what)]


def _ratios(records: list[Record], kind: str, base: str, ours: str) -> list[float]:
    by_repeat = {r["repeat"]: r["seconds"] for r in records if (r["kind"], r["what"]) == (kind, base)}
    mine = {r["repeat"]: r["seconds"] for r in records if (r["kind"], r["what"]) == (kind, ours)}
    return [by_repeat[repeat] / mine[repeat] for repeat in sorted(by_repeat.keys() & mine.keys())]


def _accuracy(records: list[Record], what: str, kind: str = "fit") -> float | None:
    """Return the mean AUROC of the seeds there are."""
    found = [r["auroc"] for r in records if (r["kind"], r["what"]) == (kind, what) and "auroc" in r]
    return statistics.mean(found) if found else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _spread(values: list[float], scale: float = 1) -> str:
    """Return median, least and largest, and how many there are."""
    if not values:
        return "not measured"
    scaled = [scale * value for value in values]
    digits = 0 if statistics.median(scaled) >= 100 else 1 if statistics.median(scaled) >= 10 else 2
    low, middle, high = (
        f"{value:.{digits}f}" for value in (min(scaled), statistics.median(scaled), max(scaled))
    )
    return f"{middle} ({low} to {high}; n = {len(values)})" if len(values) > 1 else f"{middle} (n = 1)"
