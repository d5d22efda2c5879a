"""docs/results/speed.md from the measurements of ``speed.py``."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

Record = dict[str, Any]
LITERAL = "literal, 64 views"
AUTO = "default, auto"
NOTE = """
Every figure is the median of the repeats, with the least and the largest; a ratio is taken within a repeat, in which all candidates
ran one after the other. The literal baseline (`benchmarks/literal.py`) is the paper's procedure as anyone would
write it in PyTorch, on **random** AlexNet weights, which serve for timing: it has no AUROC here, and the paper's own for it
is 0.977. Its fit is timed by the step (median of 4 after a first one) and multiplied: 32 steps an epoch, 192 epochs.
anomalib's PaDiM and PatchCore (`benchmarks/peers.py`: the same EfficientNet-Lite0 weights, 256 pixels, a coreset of 0.1 %)
run in PyTorch; what they would gain from an export to OpenVINO is not measured. AUROC is the mean of seeds 0 to 2, last epoch,
on the paper's split of Magnetic Tile Defects (761 / 191 good, 392 defective).
"""


def write_speed(path: Path, records: list[Record], where: str) -> None:
    """Write the page from all records there are; a row without records says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Speed",
        "",
        "`make bench MTD=FOLDER SPLIT=FILE`",
        *NOTE.splitlines(),
        "",
        "## What was aimed at",
        "",
    ]
    lines += [
        "| figure | wanted | measured | AUROC, ours | AUROC, other |",
        "|---|---|---|---|---|",
        *_aims(records),
    ]
    lines += ["", "## Scoring one image, decoding included", ""]
    lines += ["| what | milliseconds | views | against the literal one |", "|---|---|---|---|"]
    for what in _names(records, "score"):
        seconds, ratios = _values(records, "score", what), _ratios(records, "score", LITERAL, what)
        lines.append(f"| {what} | {_spread(seconds, 1000)} | {_views(records, what)} | {_spread(ratios)} x |")
    stream = _values(records, "stream", "default")
    if stream:
        lines += ["", f"`predict_iter` over the same images, `default`: {_spread(stream, 1000)} ms an image."]
    lines += [
        "",
        "## Fitting, from image files to a detector",
        "",
        "| what | seconds | AUROC |",
        "|---|---|---|",
    ]
    for what in _names(records, "fit"):
        lines.append(f"| {what} | {_spread(_values(records, 'fit', what))} | {_auroc_text(records, what)} |")
    lines += ["", *_choices(records), *_turned(records), "", where, ""]
    path.write_text("\n".join(lines))


def _aims(records: list[Record]) -> list[str]:
    ours, quick = _accuracy(records, "default", "all"), _accuracy(records, "fast", "all")
    many = f"{_number(_accuracy(records, 'default', '64 jittered'))} (64 jittered views, seed 0)"
    rows = [
        _aim(records, 'scoring, `views="auto"`, against the literal 64 views', 60, "score", LITERAL, AUTO, ours, "0.977 (paper)"),
        _aim(records, "the same with a fixed number of views: all there are, one", 20, "score", LITERAL, "default", ours, many),
        _aim(records, "fitting, `fast`, against the literal schedule", 150, "fit", "literal", "fast", quick, "0.977 (paper)"),
        _aim(records, "fitting, `default`, against the literal schedule", 150, "fit", "literal", "default", ours, "0.977 (paper)"),
        _aim(records, "fitting, `turned`, against the literal schedule", 150, "fit", "literal", "turned", _accuracy(records, "turned", "all"), "0.977 (paper)"),
    ]  # fmt: skip
    for peer, wanted in (("PaDiM", 1), ("PatchCore", 10)):
        other = _number(_accuracy(records, peer))
        for preset, figure in (("default", ours), ("fast", quick)):
            rows += [
                _aim(records, f"scoring, `{preset}`, against {peer}", 2, "score", peer, preset, figure, other),
                _aim(records, f"fitting, `{preset}`, against {peer}", wanted, "fit", peer, preset, figure, other),
            ]  # fmt: skip
    memory = [r for r in records if r["kind"] == "memory"]
    if memory:
        peak, count = memory[-1]["peak_bytes"] / 1e9, memory[-1]["images"]
        rows.append(
            f"| peak memory of a fit on {count:,} images of 4000 x 3000 | under 1.5 GB | **{peak:.2f} GB** | | |"
        )
    started = _values(records, "help", "differnet --help")
    rows.append(f"| `differnet --help` | under 0.4 s | **{_spread(started)} s** | | |")
    return rows


def _aim(
    records: list[Record],
    title: str,
    wanted: int,
    kind: str,
    base: str,
    ours: str,
    auroc: float | None,
    other: str,
) -> str:
    ratios = _ratios(records, kind, base, ours)
    measured = f"**{_spread(ratios)} x**" if ratios else "not measured"
    return f"| {title} | {wanted} x | {measured} | {_number(auroc)} | {other} |"


def _choices(records: list[Record]) -> list[str]:
    """Say what the presets found out, by seed."""
    lines = ["## What the fits found out from good tiles", ""]
    lines += [
        f"- `{r['what']}`, seed {r['seed']}: {r['choice']}; AUROC {_number(r['auroc']['all'])}"
        for r in records
        if r["kind"] == "fit" and r.get("choice") not in (None, "None")
    ]
    return lines


def _turned(records: list[Record]) -> list[str]:
    """Say what views that turn cost and bring."""
    found = [r for r in records if (r["kind"], r["what"]) == ("accuracy", "turned")]
    if not found:
        return []
    figures = found[0]["auroc"]
    lines = [
        "",
        "## Parts that lie any way",
        "",
        '`DifferNet("turned")`, in 8-bit integers, seed 0, fitted with a fifth of the tiles held out for its',
        'threshold. `views="auto"` stops as soon as the verdict is certain.',
        "",
        "| views | milliseconds | views looked at | against the literal one | AUROC |",
        "|---|---|---|---|---|",
    ]
    for what in figures:
        seconds = _values(records, "turned", what)
        time = _spread(seconds, 1000) if seconds else ""
        ratio = f"{_spread(_ratios(records, 'turned', LITERAL, what))} x" if seconds else ""
        seen = f"{found[0]['views']:.1f} on average over all test tiles" if what == "auto" else what
        lines.append(f"| {what} | {time} | {seen} | {ratio} | {_number(figures[what])} |")
    return lines


def _views(records: list[Record], what: str) -> str:
    """Return how many views were looked at, on average; nothing for who has none."""
    seen = statistics.mean(r.get("views", 0) for r in records if (r["kind"], r["what"]) == ("score", what))
    return "64" if what == LITERAL else f"{seen:.3g}" if seen else ""


def _names(records: list[Record], kind: str) -> list[str]:
    return list(dict.fromkeys(r["what"] for r in records if r["kind"] == kind))


def _values(records: list[Record], kind: str, what: str) -> list[float]:
    return [r["seconds"] for r in records if (r["kind"], r["what"]) == (kind, what)]


def _ratios(records: list[Record], kind: str, base: str, ours: str) -> list[float]:
    by_repeat = {r["repeat"]: r["seconds"] for r in records if (r["kind"], r["what"]) == (kind, base)}
    mine = {r["repeat"]: r["seconds"] for r in records if (r["kind"], r["what"]) == (kind, ours)}
    return [by_repeat[repeat] / mine[repeat] for repeat in sorted(by_repeat.keys() & mine.keys())]


def _accuracy(records: list[Record], what: str, views: str | None = None) -> float | None:
    found = [r["auroc"] for r in records if (r["kind"], r["what"]) == ("fit", what) and "auroc" in r][:3]
    values = [value.get(views) if isinstance(value, dict) else value for value in found]
    values = [value for value in values if value is not None]
    return statistics.mean(values) if values else None


def _auroc_text(records: list[Record], what: str) -> str:
    return _number(_accuracy(records, what, "all"))


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
