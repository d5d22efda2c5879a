"""What the record forgets: inspections that are too old, and the oldest pictures when they take too much room.

By age whole inspections go, with their files. By size files alone go, those first that no operator confirmed; the
inspections stay. A row goes before its file, so that none ever names a file that was removed; a file that was left
behind when a process was killed goes the next time, unless another record has files in the folder.

A clock that jumps ahead makes everything old at once. So by age at most a fifth of the record goes within a tenth of
the age that is allowed: a stream that flows loses half as much in that time, and a wrong clock is noticed before much
is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from differnet.errors import agreeing, counted
from differnet.service.record import shadows
from differnet.service.record.database import reading, writing
from differnet.service.record.images import MARKS, KeptImages
from differnet.service.record.inspection import now
from differnet.service.record.tables import forgotten, inspections

_STEP = 500  # rows of one transaction, so that nobody waits for long
_SHARE = 5  # one part in so many of the record goes by age within ...
_WINDOW = 10  # ... one part in so many of the age


@dataclass(frozen=True)
class Retained:
    """What was removed, and the bytes of the files that are left.

    ``held``: inspections that are too old and stay for now, since so many are; ``is_shared``: another record has files
    in the folder of images, so that those without a row stay.
    """

    inspections: int = 0
    files: int = 0
    stray: int = 0
    bytes_left: int = 0
    held: int = 0
    is_shared: bool = False

    def warnings(self, max_age_days: float | None) -> list[str]:
        """Say what stays and why, for a person to look at."""
        found = []
        if self.held and max_age_days is not None:
            stay = agreeing(self.held, "stays", "stay")
            found.append(
                f"{counted(self.held, 'inspection')} older than {max_age_days:g} days by the clock of this machine "
                f"{stay} for now: within {max_age_days / _WINDOW:g} days at most a fifth of the record is forgotten; "
                "is the clock right?"
            )
        if self.is_shared:
            found.append(
                f"the folder of images is that of another record as well: files without a row stay; where it is not, "
                f"remove {MARKS} in it"
            )
        return found


def retain(engine: Engine, kept: KeptImages, max_age_days: float | None, max_bytes: int | None) -> Retained:
    """Remove inspections older than ``max_age_days``, then files until ``max_bytes`` are left, then stray files."""
    old, held = (0, 0) if max_age_days is None else _forget_old(engine, kept, max_age_days)
    files = 0 if max_bytes is None else _forget_files(engine, kept, max_bytes)
    is_shared = kept.is_shared()
    stray = 0 if is_shared else _remove_stray(engine, kept)
    return Retained(old, files, stray, kept_bytes(engine), held, is_shared)


def kept_bytes(engine: Engine) -> int:
    """Return how many bytes the kept files have."""
    with reading(engine) as connection:
        return int(connection.execute(select(func.sum(inspections.c.kept_bytes))).scalar() or 0)


def _forget_old(engine: Engine, kept: KeptImages, days: float) -> tuple[int, int]:
    """Return how many inspections were removed, and how many more are too old."""
    at, columns = now(), inspections.c
    is_old, count = columns.time < at - timedelta(days=days), 0
    with reading(engine) as connection:
        old = int(connection.execute(select(func.count()).where(is_old)).scalar() or 0)
        total = int(connection.execute(select(func.count()).select_from(inspections)).scalar() or 0)
    query = select(columns.seq, columns.id, columns.image, columns.heat_map).where(is_old)
    query = query.order_by(columns.seq)
    while count < old:
        with writing(engine) as connection:
            lately = _forgotten_lately(connection, at, days)
            left = -(-(total - count + lately) // _SHARE) - lately
            rows = connection.execute(query.limit(max(0, min(_STEP, left)))).all()
            _in_step(connection, rows, delete(inspections))
            shadows.forget(connection, [row.id for row in rows])
            if rows:
                connection.execute(insert(forgotten).values(time=at, inspections=len(rows)))
        for row in rows:
            kept.remove(row.image, row.heat_map)
        count += len(rows)
        if not rows:
            break
    return count, old - count


def _forgotten_lately(connection: Connection, at: datetime, days: float) -> int:
    """Return how many inspections were forgotten within the last tenth of the age."""
    times = forgotten.c.time
    connection.execute(delete(forgotten).where((times < at - timedelta(days=days)) | (times > at)))
    since = at - timedelta(days=days / _WINDOW)
    query = select(func.sum(forgotten.c.inspections)).where(times > since)
    return int(connection.execute(query).scalar() or 0)


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
