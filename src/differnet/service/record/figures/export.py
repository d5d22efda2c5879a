"""Inspections for other programs: as rows of a table in CSV or Parquet, and confirmed pictures as a labelled set."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from differnet.data.files import write_whole
from differnet.data.spreadsheet import cells
from differnet.errors import MissingExtraError
from differnet.service.record.filters import Filter
from differnet.service.record.inspection import OPERATORS, Inspection
from differnet.service.record.store import Store

_STEP = 1000  # rows that are read at a time, so that nobody waits for a long list
_GROUP = 10_000  # rows that are written to Parquet at a time
COLUMNS = tuple(one.name for one in fields(Inspection) if one.name != "kept_bytes")
_WHOLE, _YES = ("seq", "views"), ("early", "is_drawn")
_REAL = ("score", "p_value", "percent", "threshold", "review_threshold", "rate", "confidence", "review_rate")
_TIMES = ("time", "operator_time")
TEST_SHARE = 0.25  # of the good pictures, those that are for testing
_PARTS = (
    "file",
    "split",
    "label",
    "defect",
    "id",
    "seq",
    "time",
    "verdict",
    "score",
    "serial",
    "lot",
    "station",
)
_SAFE = re.compile(r"[^\w.-]+")
_DEVICES = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE
)  # Windows makes no folder of that name


def rows(store: Store, wanted: Filter) -> Iterator[Inspection]:
    """Yield all inspections that a filter lets through, the newest first."""
    before = None
    while True:
        found = store.found(wanted, before, _STEP)
        yield from found
        if len(found) < _STEP:
            return
        before = found[-1].seq


def as_csv(found: Iterator[Inspection]) -> Iterator[bytes]:
    """Yield a table in CSV (UTF-8, with a mark for spreadsheets), in which no cell is a formula."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS)
    buffer.write("\ufeff")
    writer.writeheader()
    for number, row in enumerate(found, 1):
        writer.writerow(cells(_flat(row, as_text=True)))
        if number % 200 == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def as_parquet(found: Iterator[Inspection]) -> IO[bytes]:
    """Return a temporary file with a table in Parquet, from its beginning; it is gone when it is closed.

    Raises :class:`MissingExtraError` without pyarrow.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("Parquet needs pyarrow: pip install 'differnet[parquet]'") from error
    kinds = dict.fromkeys(_WHOLE, arrow.int64()) | dict.fromkeys(_YES, arrow.bool_())
    kinds |= dict.fromkeys(_REAL, arrow.float64()) | {"audit_share": arrow.float64()}
    kinds |= dict.fromkeys(_TIMES, arrow.timestamp("us", "UTC"))
    schema = arrow.schema([(name, kinds.get(name, arrow.string())) for name in COLUMNS])
    file = tempfile.TemporaryFile()  # noqa: SIM115  whoever gets it closes it
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(found):
            flat = [_flat(row, as_text=False) for row in group]
            writer.write_table(arrow.Table.from_pylist(flat, schema))
    file.seek(0)
    return file


def _groups(found: Iterator[Inspection]) -> Iterator[list[Inspection]]:
    group: list[Inspection] = []
    for row in found:
        group.append(row)
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group


def _flat(row: Inspection, as_text: bool) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in COLUMNS}
    values["fields"] = json.dumps(row.fields, ensure_ascii=False) if row.fields else None
    if as_text:
        return {name: one.isoformat() if isinstance(one, datetime) else one for name, one in values.items()}
    return values


def _taken(buffer: io.StringIO) -> bytes:
    content = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return content


def labelled(
    store: Store, wanted: Filter, test_share: float = TEST_SHARE
) -> Iterator[tuple[str, Path | bytes]]:
    """Yield names and files of the kept pictures that operators confirmed, as MVTec AD lays them out, each once.

    Good ones stand in ``train/good`` and, ``test_share`` of them, in ``test/good``; defective ones in ``test/KIND``, or
    ``test/defective`` where no kind was named. Pictures of one serial stand on one side, always the same. What was
    confirmed as both is left out. ``parts.csv`` comes last and has a line for each picture, also for those left out.
    """
    said: dict[str, set[str]] = {}
    for row, _ in _confirmed(store, wanted):
        said.setdefault(row.image_digest, set()).add(row.operator or "")
    lines, seen = [], set()
    for row, path in _confirmed(store, wanted):
        if row.image_digest in seen or row.image_digest not in said:
            continue
        seen.add(row.image_digest)
        is_both = len(said[row.image_digest]) > 1
        split, label = (
            ("", "left out: confirmed as good and as defective") if is_both else _place(row, test_share)
        )
        name = "" if is_both else f"{split}/{label}/{row.seq:08}-{row.id[:8]}{path.suffix}"
        values = {"file": name, "split": split, "label": row.operator if name else label}
        lines.append(values | {one: getattr(row, one) for one in _PARTS[3:]})
        if name:
            yield name, path
    yield "parts.csv", _table(lines)


def _confirmed(store: Store, wanted: Filter) -> Iterator[tuple[Inspection, Path]]:
    """Yield what was confirmed and is kept, one row at a time: there may be many."""
    for operator in OPERATORS:
        for row in rows(store, replace(wanted, operator=operator)):
            path = None if row.image is None or row.verdict == "error" else store.kept.path(row.image)
            if path is not None and path.is_file():
                yield row, path


def _place(row: Inspection, test_share: float) -> tuple[str, str]:
    if row.operator == "defective":
        kind = _SAFE.sub("-", row.defect or "").strip("-. ") or "defective"
        return "test", f"kind-{kind}" if _DEVICES.fullmatch(kind) else kind
    lot = int.from_bytes(sha256((row.serial or row.image_digest).encode()).digest()[:8], "big") / 2**64
    return ("test" if lot < test_share else "train"), "good"


def _table(lines: list[dict[str, Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _PARTS)
    writer.writeheader()
    writer.writerows(cells(line) for line in lines)
    return buffer.getvalue().encode()


def copy_good(store: Store, model: str, target: Path) -> int:
    """Copy the pictures that operators confirmed as good into a folder, and return how many there are.

    Those that are there already stay.
    """
    count = 0
    for name, path in store.good_images(model):
        if not (target / name).exists():
            write_whole(target / name, path.read_bytes())
        count += 1
    return count
