"""How many defective parts were of which kind, as operators named them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, select

from differnet.service.record import database
from differnet.service.record.tables import inspections


@dataclass(frozen=True)
class DefectCount:
    """A kind of defect, nothing where none was named; ``missed``: of those the parts that were judged OK.

    ``cumulative``: the share that it and all more frequent kinds have.
    """

    defect: str | None
    count: int
    missed: int
    cumulative: float


def defect_counts(
    engine: Engine, model: str, since: datetime | None = None, until: datetime | None = None
) -> list[DefectCount]:
    """Count the parts that operators confirmed as defective by their kind, the most frequent first."""
    columns = inspections.c
    query = select(columns.defect, columns.verdict, func.count())
    query = query.where(columns.model == model, columns.operator == "defective")
    query = query if since is None else query.where(columns.time >= since)
    query = query if until is None else query.where(columns.time < until)
    counts: dict[str | None, list[int]] = {}
    with database.reading(engine) as connection:
        for defect, verdict, count in connection.execute(query.group_by(columns.defect, columns.verdict)):
            both = counts.setdefault(defect, [0, 0])
            both[0] += count
            both[1] += count if verdict == "OK" else 0
    total, so_far, found = sum(count for count, _ in counts.values()), 0, []
    for defect, (count, missed) in sorted(counts.items(), key=lambda one: (-one[1][0], one[0] or "")):
        so_far += count
        found.append(DefectCount(defect, count, missed, so_far / total))
    return found


def named_defects(engine: Engine, most: int = 100) -> list[str]:
    """Return the kinds that operators named so far, the most frequent first."""
    column, count = inspections.c.defect, func.count()
    query = select(column).where(inspections.c.operator == "defective", column.is_not(None))
    with database.reading(engine) as connection:
        rows = connection.execute(query.group_by(column).order_by(count.desc(), column).limit(most))
        return [str(row.defect) for row in rows]
