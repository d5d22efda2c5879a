"""What a version on trial said of parts that another one judged: rows of their own, which count nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from differnet.service.record import database
from differnet.service.record.images import KeptImages
from differnet.service.record.inspection import Inspection, Judgement, Operator
from differnet.service.record.tables import Counter, Moment, inspections, metadata

shadows = Table(
    "shadows",
    metadata,
    Column("number", Counter, primary_key=True, autoincrement=True),
    Column("time", Moment, nullable=False),
    Column("model", String(200), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("inspection", String(32), nullable=False),
    Column("score", Double),
    Column("p_value", Double),
    Column("percent", Double),
    Column("verdict", String(10)),
    Column("threshold", Double),
    Column("review_threshold", Double),
    Column("views", Integer, nullable=False),
    Column("error", Text),
    Index("ix_shadows_inspection_digest", "inspection", "digest", unique=True),
    Index("ix_shadows_model_digest_number", "model", "digest", "number"),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """What the version ``digest`` said of the part of an ``inspection``, whose id that is; see :class:`Inspection`."""

    time: datetime
    model: str
    digest: str
    inspection: str
    number: int = 0
    score: float | None = None
    p_value: float | None = None
    percent: float | None = None
    verdict: Judgement | None = None
    threshold: float | None = None
    review_threshold: float | None = None
    views: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Pair:
    """One part, as it was judged and recorded, and as the version on trial would have judged it."""

    inspection: Inspection
    shadow: Shadow


@dataclass(frozen=True)
class Tally:
    """How many parts had these two verdicts, and this word of an operator; "none" is a verdict without a threshold."""

    active: Judgement | None
    shadow: Judgement | None
    operator: Operator | None
    parts: int


def add(
    engine: Engine,
    rows: Sequence[Shadow],
    kept: KeptImages,
    pictures: Sequence[tuple[Inspection, bytes]] = (),
) -> None:
    """Record rows in one transaction; one that is there already stays as it is.

    ``pictures``: of inspections that have none, to be kept with them; one that is forgotten meanwhile, or has its
    picture, keeps none. Raises :class:`OSError` and :class:`StoreError`.
    """
    written = [kept.write(replace(row, image=None), content) for row, content in pictures]
    with database.writing(engine) as connection:
        for row in rows:
            _add(connection, row)
        unwanted = [row.image for row in written if not _is_named(connection, row)]
    kept.remove(*unwanted)


def _add(connection: Connection, row: Shadow) -> None:
    columns, values = shadows.c, asdict(row)
    del values["number"]
    same = columns.inspection == row.inspection, columns.digest == row.digest
    if connection.execute(select(columns.number).where(*same)).first() is None:
        connection.execute(insert(shadows).values(values))


def _is_named(connection: Connection, row: Inspection) -> bool:
    """Name the picture in the inspection where it has none; return whether it is named there."""
    columns = inspections.c
    mine = columns.id == row.id
    values = {"image": row.image, "kept_bytes": columns.kept_bytes + row.kept_bytes}
    connection.execute(update(inspections).where(mine, columns.image.is_(None)).values(values))
    named: str | None = connection.execute(select(columns.image).where(mine)).scalar()
    return named == row.image


def differences(
    engine: Engine,
    model: str,
    digest: str,
    before_number: int | None = None,
    limit: int = 20,
    after_seq: int = 0,
) -> list[Pair]:
    """Return the parts on which the version ``digest`` had another verdict, the newest first.

    ``after_seq``: of inspections after this number alone.
    """
    query = _joined(select(shadows, inspections), model, digest, after_seq)
    query = query.where(inspections.c.verdict.is_distinct_from(shadows.c.verdict))
    if before_number is not None:
        query = query.where(shadows.c.number < before_number)
    with database.reading(engine) as connection:
        rows = connection.execute(query.order_by(shadows.c.number.desc()).limit(limit)).all()
    split = len(shadows.c)
    return [
        Pair(
            Inspection(**dict(zip(inspections.c.keys(), row[split:], strict=True))),
            Shadow(**dict(zip(shadows.c.keys(), row[:split], strict=True))),
        )
        for row in rows
    ]


def tallies(
    engine: Engine, model: str, digest: str, against: str | None = None, after_seq: int = 0
) -> list[Tally]:
    """Count pairs by verdicts and what operators said.

    ``against``: of parts alone that this version judged; ``after_seq``: of inspections after this number.
    """
    kinds = inspections.c.verdict, shadows.c.verdict, inspections.c.operator
    query = _joined(select(*kinds, func.count()), model, digest, after_seq).group_by(*kinds)
    if against is not None:
        query = query.where(inspections.c.model_digest == against)
    with database.reading(engine) as connection:
        found = [Tally(*row) for row in connection.execute(query).all()]
    return sorted(found, key=lambda one: (str(one.active), str(one.shadow), str(one.operator)))


def judged_since(engine: Engine, model: str, digest: str, seq: int) -> int:
    """Return how many parts the version ``digest`` judged over HTTP after number ``seq``."""
    columns = inspections.c
    mine = columns.model == model, columns.model_digest == digest, columns.source == "http"
    query = select(func.count()).where(*mine, columns.seq > seq)
    with database.reading(engine) as connection:
        return int(connection.execute(query).scalar() or 0)


def forget(connection: Connection, identities: Sequence[str]) -> None:
    """Remove what was said of inspections that are forgotten."""
    if identities:
        connection.execute(delete(shadows).where(shadows.c.inspection.in_(identities)))


def _joined(query: Any, model: str, digest: str, after_seq: int) -> Any:
    both = shadows.join(inspections, inspections.c.id == shadows.c.inspection)
    mine = shadows.c.model == model, shadows.c.digest == digest
    return query.select_from(both).where(*mine, inspections.c.seq > after_seq)
