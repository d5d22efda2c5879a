"""Who changed what, and when: confirmations, rates, resets and models, in a table to which rows are only added.

A change is written in the transaction of what it changes, so that neither is there without the other; triggers of the
database refuse to alter or remove one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Column, Connection, Engine, Index, String, Table, Text, insert, select

from differnet.service.record import database
from differnet.service.record.inspection import Rates, now
from differnet.service.record.tables import Counter, Moment, metadata

What = Literal[
    "confirm",
    "rates",
    "drift reset",
    "model put",
    "model rolled back",
    "model retired",
    "model forgotten",
    "shadow put",
    "shadow ended",
]

changes = Table(
    "changes",
    metadata,
    Column("number", Counter, primary_key=True, autoincrement=True),
    Column("time", Moment, nullable=False),
    Column("what", String(20), nullable=False),
    Column("model", String(200), nullable=False),
    Column("inspection", String(32)),
    Column("who", String(1000)),
    Column("client", String(200)),
    Column("request_id", String(64)),
    Column("before", Text),
    Column("after", Text),
    Column("name", String(200)),
    Column("reason", Text),
    Index("ix_changes_model_number", "model", "number"),
    Index("ix_changes_inspection", "inspection"),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True)
class By:
    """Who asks: the name of the key, the address it came from, and the id of the request.

    ``name``, ``reason``: of the person, and why, as they said themselves.
    """

    who: str | None = None
    client: str | None = None
    request: str | None = None
    name: str | None = None
    reason: str | None = None


NOBODY = By()


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change as it was recorded.

    ``who``: the name of the key; nothing where no keys are asked for. ``before``, ``after``: what was said or held.
    ``name``, ``reason``: of the person who asked for it, and why, as they said.
    """

    number: int
    time: datetime
    what: What
    model: str
    inspection: str | None
    who: str | None
    client: str | None
    request_id: str | None
    before: Any
    after: Any
    name: str | None = None
    reason: str | None = None


def add(
    connection: Connection,
    by: By,
    what: What,
    model: str,
    before: Any = None,
    after: Any = None,
    inspection: str | None = None,
) -> None:
    """Record a change in the transaction of ``connection``; ``before``, ``after``: anything that JSON has."""
    values = {
        "model": model,
        "inspection": inspection,
        "before": json.dumps(before),
        "after": json.dumps(after),
    }
    whose = {
        "who": by.who,
        "client": by.client,
        "request_id": by.request,
        "name": by.name,
        "reason": by.reason,
    }
    connection.execute(insert(changes).values(time=now(), what=what, **whose, **values))


def as_said(rates: Rates | None) -> dict[str, float | None] | None:
    """Return rates as they stand in a change, nothing for those of the folder."""
    return None if rates is None else dict(vars(rates))


def newest(
    engine: Engine,
    model: str | None = None,
    before_number: int | None = None,
    limit: int = 100,
    what: What | None = None,
    inspection: str | None = None,
) -> list[Change]:
    """Return changes, the newest first."""
    query, columns = select(changes), changes.c
    given = {columns.model: model, columns.what: what, columns.inspection: inspection}
    query = query.where(*(column == value for column, value in given.items() if value is not None))
    if before_number is not None:
        query = query.where(columns.number < before_number)
    with database.reading(engine) as connection:
        rows = connection.execute(query.order_by(changes.c.number.desc()).limit(limit)).mappings().all()
    read = [dict(row) for row in rows]
    return [
        Change(**row | {name: json.loads(row[name] or "null") for name in ("before", "after")})
        for row in read
    ]
