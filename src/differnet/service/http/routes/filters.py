"""The parameters by which inspections are chosen, the same for a list, a search and an export."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from pydantic import BeforeValidator

from differnet.service.record.filters import Filter
from differnet.service.record.inspection import Judgement, Operator


def _as_text(value: Any) -> Any:
    """Refuse seconds since 1970, which a time could be read from as well."""
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        raise ValueError("a time such as 2026-01-31T12:00:00Z was wanted")
    return value


When = Annotated[datetime | None, BeforeValidator(_as_text), Query(description="ISO 8601; UTC if no zone.")]
Of = Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00]*$")]
Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
Field = Annotated[
    str | None, Query(max_length=250, pattern=r"^[^\x00]*$", description="NAME:VALUE of a free field.")
]
Search = Annotated[
    str | None,
    Query(
        max_length=200,
        pattern=r"^[^\x00]*$",
        description="A piece of serial, lot, station, file name, defect, note or a field.",
    ),
]


def _wanted(
    model: Of = None,
    verdict: Judgement | Literal["none"] | None = None,
    operator: Operator | Literal["none"] | None = None,
    since: When = None,
    until: When = None,
    serial: Text = None,
    lot: Text = None,
    station: Text = None,
    defect: Text = None,
    field: Field = None,
    search: Search = None,
) -> Filter:
    return Filter(
        model=model,
        verdict=verdict,
        operator=operator,
        since=since,
        until=until,
        serial=serial,
        lot=lot,
        station=station,
        defect=defect,
        field=field,
        search=search,
    )


Wanted = Annotated[Filter, Depends(_wanted)]
