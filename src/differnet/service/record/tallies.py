"""How many inspections had which verdict, by the hour or the day."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import BigInteger, Engine, func, select, type_coerce

from differnet.errors import ConfigError
from differnet.service.record import database
from differnet.service.record.inspection import JUDGEMENTS, now
from differnet.service.record.tables import MICROSECONDS, inspections

Bucket = Literal["hour", "day"]
Tally = dict[str, int]
Counts = list[tuple[datetime, Tally]]
_LENGTHS = {"hour": 3600 * MICROSECONDS, "day": 24 * 3600 * MICROSECONDS}
_KINDS: tuple[str, ...] = (*JUDGEMENTS, "none")


def tallies(
    engine: Engine, model: str, since: datetime | None, bucket: Bucket, until: datetime | None
) -> Counts:
    """Return what :meth:`differnet.service.record.store.Store.counts` does."""
    if bucket not in _LENGTHS:
        raise ConfigError(f"bucket = {bucket!r}: hour or day was wanted")
    columns, length = inspections.c, _LENGTHS[bucket]
    number = type_coerce(columns.time, BigInteger) // length
    query = select(number, columns.verdict, func.count()).where(columns.model == model)
    query = query if since is None else query.where(columns.time >= since)
    query = query if until is None else query.where(columns.time < until)
    found: dict[int, Tally] = {}
    with database.reading(engine) as connection:
        for at, verdict, count in connection.execute(query.group_by(number, columns.verdict)):
            found.setdefault(int(at), dict.fromkeys(_KINDS, 0))[verdict or "none"] = count
    start = datetime.fromtimestamp(0, now().tzinfo)
    return [(start + timedelta(microseconds=at * length), found[at]) for at in sorted(found)]
