"""What the record forgets: inspections that are too old, and the oldest pictures when they take too much room.

By age whole inspections go, with their files. By size files alone go, those first that no operator confirmed; the
inspections stay. A row goes before its file, so that none ever names a file that was removed; a file that was left
behind when a process was killed goes the next time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, select, update

from differnet.service.record.database import reading, writing
from differnet.service.record.images import KeptImages
from differnet.service.record.inspection import now
from differnet.service.record.tables import inspections

_STEP = 500  # rows of one transaction, so that nobody waits for long


@dataclass(frozen=True)
class Retained:
    """What was removed, and the bytes of the files that are left."""

    inspections: int = 0
    files: int = 0
    stray: int = 0
    bytes_left: int = 0


def retain(engine: Engine, kept: KeptImages, max_age_days: float | None, max_bytes: int | None) -> Retained:
    """Remove inspections older than ``max_age_days``, then files until ``max_bytes`` are left, then stray files."""
    old = 0 if max_age_days is None else _forget_old(engine, kept, max_age_days)
    files = 0 if max_bytes is None else _forget_files(engine, kept, max_bytes)
    stray = _remove_stray(engine, kept)
    return Retained(old, files, stray, kept_bytes(engine))


def kept_bytes(engine: Engine) -> int:
    """Return how many bytes the kept files have."""
    with reading(engine) as connection:
        return int(connection.execute(select(func.sum(inspections.c.kept_bytes))).scalar() or 0)


def _forget_old(engine: Engine, kept: KeptImages, days: float) -> int:
    limit, count = now() - timedelta(days=days), 0
    columns = inspections.c
    query = select(columns.seq, columns.image, columns.heat_map).where(columns.time < limit)
    while True:
        with writing(engine) as connection:
            rows = connection.execute(query.order_by(columns.seq).limit(_STEP)).all()
            _in_step(connection, rows, delete(inspections))
        for row in rows:
            kept.remove(row.image, row.heat_map)
        count += len(rows)
        if len(rows) < _STEP:
            return count


def _forget_files(engine: Engine, kept: KeptImages, most: int) -> int:
    """Return how many files were removed; what goes is looked for while others may write."""
    columns, count, excess = inspections.c, 0, kept_bytes(engine) - most
    query = select(columns.seq, columns.image, columns.heat_map, columns.kept_bytes)
    query = query.where(columns.kept_bytes > 0).order_by(columns.seq).limit(_STEP)
    for of_whom in (columns.operator.is_(None), columns.operator.is_not(None)):
        last = -1
        while excess > 0:
            with reading(engine) as connection:
                found = connection.execute(query.where(of_whom, columns.seq > last)).all()
            rows = []
            for row in found:
                if excess <= 0:
                    break
                rows.append(row)
                excess -= row.kept_bytes
            if not rows:
                break
            with writing(engine) as connection:
                gone = {"image": None, "heat_map": None, "kept_bytes": 0}
                _in_step(connection, rows, update(inspections).values(gone))
            for row in rows:
                kept.remove(row.image, row.heat_map)
            count += sum(name is not None for row in rows for name in (row.image, row.heat_map))
            last = rows[-1].seq
    return count


def _in_step(connection: Connection, rows: Sequence[Any], statement: Any) -> None:
    if rows:
        connection.execute(statement.where(inspections.c.seq.in_([row.seq for row in rows])))


def _remove_stray(engine: Engine, kept: KeptImages) -> int:
    columns, count = inspections.c, 0
    names = list(kept.old_files())
    for start in range(0, len(names), _STEP):
        step = names[start : start + _STEP]
        with reading(engine) as connection:
            rows = connection.execute(
                select(columns.image, columns.heat_map).where(
                    columns.image.in_(step) | columns.heat_map.in_(step)
                )
            ).all()
        known = {name for row in rows for name in row}
        stray = [name for name in step if name not in known]
        kept.remove(*stray)
        count += len(stray)
    return count
