"""What others are still to be told: rows written together with the inspection, and removed when they were told.

So nothing is lost when a process is killed, and what was sent but not noted as sent is sent again: at least once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from differnet.service.record.database import reading
from differnet.service.record.inspection import Inspection, now
from differnet.service.record.store import Store
from differnet.service.record.tables import deliveries

_FAR = timedelta(hours=1)  # further ahead than any attempt is put off


@dataclass(frozen=True)
class Delivery:
    """One message to one destination; ``inspection``: the id by which a receiver knows it when it comes again."""

    number: int
    inspection: str
    body: str
    attempts: int


class Outbox:
    """The messages of one watch to its ``destinations``, which are their names without passwords."""

    def __init__(self, store: Store, watch: str, destinations: Sequence[str]) -> None:
        self.store, self.watch, self.destinations = store, watch, tuple(destinations)

    def put(self, connection: Connection, inspection: Inspection) -> None:
        """Write what is to be told of an inspection, in the transaction that records it."""
        if not self.destinations:
            return
        body = json.dumps({"event": "inspection", **document(inspection)}, allow_nan=False)
        same = {"watch": self.watch, "inspection": inspection.id, "body": body, "next_time": now()}
        same |= {"attempts": 0, "given_up": False}
        rows = [{**same, "destination": destination} for destination in self.destinations]
        connection.execute(insert(deliveries), rows)

    def next(self, destination: str) -> Delivery | None:
        """Return the oldest message whose time has come, or lies so far ahead that a clock was wrong."""
        columns, at = deliveries.c, now()
        is_due = (columns.next_time <= at) | (columns.next_time > at + _FAR)
        query = select(columns.number, columns.inspection, columns.body, columns.attempts)
        query = query.where(*self._of(destination), columns.given_up.is_(False), is_due)
        with reading(self.store.engine) as connection:
            row = connection.execute(query.order_by(columns.number).limit(1)).first()
        return None if row is None else Delivery(*row)

    def done(self, delivery: Delivery) -> None:
        """Note that a message was received."""
        with self.store.writing() as connection:
            connection.execute(delete(deliveries).where(deliveries.c.number == delivery.number))

    def failed(self, delivery: Delivery, error: str, again: datetime | None) -> None:
        """Note that a message was not received; ``again``: when to send it, nothing to give it up."""
        values: dict[str, Any] = {
            "attempts": delivery.attempts + 1,
            "error": error,
            "given_up": again is None,
        }
        if again is not None:
            values["next_time"] = again
        with self.store.writing() as connection:
            where = deliveries.c.number == delivery.number
            connection.execute(update(deliveries).where(where).values(values))

    def begin(self, destination: str, given_up_too: bool = False) -> None:
        """Let all that waits be sent now, and as often as if it was new; on request also what was given up."""
        values: dict[str, Any] = {"next_time": now(), "attempts": 0, "given_up": False}
        query = update(deliveries).where(*self._of(destination))
        if not given_up_too:
            query = query.where(deliveries.c.given_up.is_(False))
        with self.store.writing() as connection:
            connection.execute(query.values(values))

    def counts(self, destination: str) -> tuple[int, int]:
        """Return how many messages wait, and how many were given up."""
        query = select(deliveries.c.given_up, func.count()).where(*self._of(destination))
        with reading(self.store.engine) as connection:
            rows = connection.execute(query.group_by(deliveries.c.given_up)).all()
        found: Mapping[bool, int] = {bool(given_up): int(count) for given_up, count in rows}
        return found.get(False, 0), found.get(True, 0)

    def _of(self, destination: str) -> tuple[Any, ...]:
        return deliveries.c.watch == self.watch, deliveries.c.destination == destination


def document(inspection: Inspection) -> dict[str, Any]:
    """Return an inspection as JSON types, times in ISO 8601."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(inspection).items()
    }
