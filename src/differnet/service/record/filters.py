"""Which inspections are wanted: what a list, a search and an export have in common."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, Text, func, or_, select, type_coerce

from differnet.errors import ConfigError
from differnet.service.record.inspection import Judgement, Operator
from differnet.service.record.tables import inspections

_MOST = 1000  # rows that one page may have


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What inspections must have in common; nothing: any.

    ``operator="none"``: those that nobody looked at; ``verdict="none"``: those by a model without a threshold.
    ``serial``, ``lot``, ``station``, ``defect``: as they stand; ``field``: ``NAME:VALUE`` of a free field.
    ``search``: a piece of serial, lot, station, name of the file, defect, note or a free field, in any case.
    """

    model: str | None = None
    verdict: Judgement | Literal["none"] | None = None
    operator: Operator | Literal["none"] | None = None
    since: datetime | None = None
    until: datetime | None = None
    serial: str | None = None
    lot: str | None = None
    station: str | None = None
    defect: str | None = None
    field: str | None = None
    search: str | None = None

    def conditions(self, dialect: str) -> list[ColumnElement[bool]]:
        """Return what the database is asked; ``dialect``: its name. Raises :class:`ConfigError` for no field."""
        columns = inspections.c
        found: list[ColumnElement[bool]] = []
        for name in ("model", "serial", "lot", "station", "defect", "verdict", "operator"):
            value, column = getattr(self, name), columns[name]
            if value == "none" and name in ("verdict", "operator"):
                found.append(column.is_(None))
            elif value is not None:
                found.append(column == value)
        if self.since is not None:
            found.append(columns.time >= self.since)
        if self.until is not None:
            found.append(columns.time < self.until)
        if self.field is not None:
            found.append(_has_field(self.field, dialect))
        if self.search is not None and self.search.strip():
            found.append(_has(self.search.strip()))
        return found


def _has_field(text: str, dialect: str) -> ColumnElement[bool]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise ConfigError(f"field = {text!r}: NAME:VALUE was wanted")
    pair = ":".join(json.dumps(one, ensure_ascii=False) for one in (name, value))
    place = (func.instr if dialect == "sqlite" else func.strpos)(_fields(), pair)
    return place > 0  # a quote within a text is escaped, so a pair is found as such alone


def _has(text: str) -> ColumnElement[bool]:
    columns = inspections.c
    looked_at = ("serial", "lot", "station", "file_name", "defect", "note")
    inside = json.dumps(text, ensure_ascii=False)[1:-1]
    return or_(
        *(columns[name].icontains(text, autoescape=True) for name in looked_at),
        func.lower(_fields()).contains(inside.lower(), autoescape=True),
    )


def _fields() -> ColumnElement[str]:
    return type_coerce(inspections.c.fields, Text)


def page_of(wanted: Filter, dialect: str, before_seq: int | None, limit: int) -> Select[Any]:
    """Return the query for the inspections that a filter lets through, the newest first; at most 1000."""
    columns = inspections.c
    query = select(inspections).where(*wanted.conditions(dialect))
    if before_seq is not None:
        query = query.where(columns.seq < before_seq)
    return query.order_by(columns.seq.desc()).limit(max(1, min(limit, _MOST)))
