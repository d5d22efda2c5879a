"""What ``reproduce`` leaves behind: the table as CSV and as a page in Markdown, and the picture."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from differnet.config import presets
from differnet.data.files import write_whole
from differnet.data.spreadsheet import cell
from differnet.evaluation.paper.report import Report, Table, Value

_PAPER_BACKBONE = "alexnet"


@dataclass(frozen=True)
class Origin:
    """What a page must say of how it came about."""

    command: str
    preset: str
    settings: presets.Config


def write(folder: Path, name: str, report: Report, origin: Origin) -> list[Path]:
    """Write ``name``.csv, ``name``.md and, where the paper has one, the picture ``name``.png; return their paths."""
    paths = [folder / f"{name}.csv", folder / f"{name}.md"]
    picture = folder / f"{name}.png" if report.draw else None
    write_whole(paths[0], _csv(report.table).encode("utf-8", "surrogateescape"))
    if report.draw and picture:
        report.draw(picture)
        paths.append(picture)
    write_whole(paths[1], _page(report, origin, picture).encode("utf-8", "surrogateescape"))
    return paths


def to_dict(name: str, report: Report, origin: Origin) -> dict[str, Any]:
    """Return the table as JSON types."""
    return {
        "target": name,
        "title": report.title,
        "preset": origin.preset,
        "columns": list(report.table.columns),
        "rows": [list(row) for row in report.table.rows],
        "notes": [*report.notes, *_circumstances(report, origin)],
        "choices": _choices(report),
    }


def markdown(table: Table) -> str:
    """Return a table in Markdown, two decimals for what was measured and published figures as they were printed."""
    lines = [" | ".join(table.columns), " | ".join("---" for _ in table.columns)]
    lines += [" | ".join(_text(value) for value in row) for row in table.rows]
    return "".join(f"| {line} |\n" for line in lines)


def _csv(table: Table) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(table.columns)
    writer.writerows(
        [
            "" if value is None else round(value, 4) if isinstance(value, float) else cell(value)
            for value in row
        ]
        for row in table.rows
    )
    return buffer.getvalue()


def _text(value: Value) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _page(report: Report, origin: Origin, picture: Path | None) -> str:
    image = f"![{report.title}]({picture.name})\n\n" if picture else ""
    notes = "".join(f"- {note}\n" for note in (*report.notes, *_circumstances(report, origin)))
    choices = "".join(f"- {choice}\n" for choice in _choices(report))
    settings = json.dumps(origin.settings.to_dict(), indent=2)
    return (
        f"# {report.title}\n\n```\n{origin.command}\n```\n\n{markdown(report.table)}\n{image}{notes}\n"
        + (_folded("Found out from the good images", choices) if choices else "")
        + _folded("Settings asked for", f"```json\n{settings}\n```\n")
    )


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n</details>\n"


def _choices(report: Report) -> list[str]:
    """Say of each cell what was found out, where the settings left something open."""
    return [
        f"{cell.dataset}, seed {cell.seed}, {cell.n_train} images: {cell.choice}"
        for cell in report.cells
        if cell.choice
    ]


def _circumstances(report: Report, origin: Origin) -> list[str]:
    cells = report.cells
    seeds = ", ".join(map(str, sorted({cell.seed for cell in cells})))
    fits = [cell.fit_seconds for cell in cells]
    a_score = [1000 * cell.score_seconds_per_image for cell in cells]
    backbones = "; ".join(dict.fromkeys(f"{cell.backbone}, {cell.precision}" for cell in cells))
    made = "; ".join(dict.fromkeys(", ".join(f"{k} {v}" for k, v in cell.versions.items()) for cell in cells))
    stand_in = (
        ""
        if origin.settings.backbone.backbone == _PAPER_BACKBONE
        else ", a stand-in for the paper's AlexNet, whose ImageNet weights were not given (`--weights FILE`)"
    )
    machines = "; ".join(dict.fromkeys(cell.machine for cell in cells if cell.machine))
    return [
        f"Preset `{origin.preset}`. Backbone: {backbones}{stand_in}.",
        f"Seeds {seeds}; mean and standard deviation over them; the last epoch counts. The test images chose nothing "
        "but the epoch in the column that says so.",
        f"Fits: {len(cells)}, of {min(fits):.0f} to {max(fits):.0f} s; {min(a_score):.0f} to {max(a_score):.0f} ms an "
        f"image by the clock, maybe shared with other work, on {machines or 'a machine that is not known'}.",
        f"Versions: {made}.",
    ]
