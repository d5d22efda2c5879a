"""Shifts: when they begin by the clock on the wall, and how many inspections each had."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, func, select

from differnet.errors import ConfigError
from differnet.service.record import database
from differnet.service.record.inspection import JUDGEMENTS, OPERATORS
from differnet.service.record.tables import inspections

MOST_SHIFTS, MOST_DAYS = 12, 366
_TEXT = re.compile(r"(?P<name>[^=]{1,40})=(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)")


@dataclass(frozen=True)
class Shifts:
    """Shifts of a day by name and beginning, in the order of the day; ``zone``: that of this machine if nothing."""

    starts: tuple[tuple[str, time], ...]
    zone: tzinfo | None = None

    @classmethod
    def read(cls, texts: Sequence[str], zone: str | None = None) -> Shifts:
        """Read ``NAME=HH:MM`` and the name of a time zone; without any shift it is one a day.

        Raises :class:`ConfigError` for what is none, and for two that begin at the same time.

        >>> Shifts.read(["late=14:00", "early=06:00"]).starts[0]
        ('early', datetime.time(6, 0))
        """
        found: dict[time, str] = {}
        for text in texts:
            match = _TEXT.fullmatch(text.strip())
            if match is None:
                raise ConfigError(f"--shift {text!r}: NAME=HH:MM was wanted, as in early=06:00")
            at = time(int(match["hour"]), int(match["minute"]))
            if at in found:
                raise ConfigError(f"--shift {text!r}: {found[at]!r} begins at the same time")
            found[at] = match["name"].strip()
        if len(found) > MOST_SHIFTS:
            raise ConfigError(f"--shift: {len(found)} shifts a day; at most {MOST_SHIFTS} were wanted")
        starts = tuple((found[at], at) for at in sorted(found)) or DAYS.starts
        return cls(starts, _zone(zone))

    def between(self, since: datetime, until: datetime) -> list[Shift]:
        """Return the shifts that lie at least in part between two times, the oldest first.

        Raises :class:`ConfigError` for more than a year of them.
        """
        if until - since > timedelta(days=MOST_DAYS):
            raise ConfigError(
                f"shifts from {since:%Y-%m-%d} to {until:%Y-%m-%d}: at most {MOST_DAYS} days were wanted"
            )
        first, last = (self._local(at).date() for at in (since, until))
        days = [first + timedelta(days=n) for n in range(-1, (last - first).days + 2)]
        at = [(name, self._begin(day, start)) for day in days for name, start in self.starts]
        pairs = pairwise(at)
        return [Shift(name, start, end) for (name, start), (_, end) in pairs if start < until and end > since]

    def _local(self, at: datetime) -> datetime:
        return at.astimezone(self.zone)

    def _begin(self, day: date, at: time) -> datetime:
        """Return a time of the wall's clock in UTC; where clocks were changed the shift is longer or shorter."""
        there = datetime.combine(day, at, self.zone)
        return there.astimezone(timezone.utc)


@dataclass(frozen=True)
class Shift:
    """A shift of a certain day."""

    name: str
    start: datetime
    end: datetime


DAYS = Shifts((("day", time(0)),))


@dataclass(frozen=True)
class ShiftCount:
    """How many inspections a shift had, by verdict, and how many an operator confirmed as good and as defective."""

    name: str
    start: datetime
    end: datetime
    OK: int = 0
    review: int = 0
    NG: int = 0
    error: int = 0
    none: int = 0
    good: int = 0
    defective: int = 0


def shift_counts(engine: Engine, model: str, shifts: Sequence[Shift]) -> list[ShiftCount]:
    """Count the inspections of each shift."""
    columns, found = inspections.c, []
    query = select(columns.verdict, columns.operator, func.count()).where(columns.model == model)
    with database.reading(engine) as connection:
        for shift in shifts:
            tally = dict.fromkeys((*JUDGEMENTS, "none", *OPERATORS), 0)
            of_it = query.where(columns.time >= shift.start, columns.time < shift.end)
            for verdict, operator, count in connection.execute(
                of_it.group_by(columns.verdict, columns.operator)
            ):
                tally[verdict or "none"] += count
                if operator is not None:
                    tally[operator] += count
            found.append(ShiftCount(shift.name, shift.start, shift.end, **tally))
    return found


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise ConfigError(
            f"--time-zone {name!r}: no such zone; one such as Europe/Berlin was wanted"
        ) from error
