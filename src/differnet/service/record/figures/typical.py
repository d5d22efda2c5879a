"""The part of the record that looks most like the good ones, to compare others with."""

from __future__ import annotations

from sqlalchemy import select

from differnet.service.record.database import reading
from differnet.service.record.inspection import Inspection
from differnet.service.record.store import Store
from differnet.service.record.tables import inspections


def typical_part(store: Store, model: str, digest: str) -> Inspection | None:
    """Return the "OK" part of the lowest score that this folder judged and whose image is kept; nothing without one.

    One that an operator called defective is left out.
    """
    columns = inspections.c
    query = select(inspections).where(
        columns.model == model,
        columns.model_digest == digest,
        columns.verdict == "OK",
        columns.image.is_not(None),
        columns.operator.is_(None) | (columns.operator == "good"),
    )
    with reading(store.engine) as connection:
        row = connection.execute(query.order_by(columns.score, columns.seq).limit(1)).mappings().first()
    return None if row is None else Inspection(**row)
