"""Scores over time: of each of many short spans the lowest, the mean and the highest, beside the limit that held."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Engine, case, func, select, type_coerce

from differnet.service.record import database
from differnet.service.record.tables import inspections

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class ScoreSpan:
    """The scores of the inspections of a short span of time.

    ``threshold``: the limit that the last of them were judged by, and ``review_threshold``; nothing where there is
    none. ``rejected``: how many were judged NG.
    """

    start: datetime
    count: int
    low: float
    mean: float
    high: float
    threshold: float | None
    review_threshold: float | None
    rejected: int


def score_spans(
    engine: Engine, model: str, since: datetime, until: datetime, spans: int = 120
) -> list[ScoreSpan]:
    """Return the spans, of ``spans`` equal ones, that have a score, the oldest first."""
    columns = inspections.c
    length = max(1, -(-((until - since) // _TICK) // spans))
    at = type_coerce(columns.time, BigInteger)
    begin = _ticks(since)
    number, score = (at - begin) // length, columns.score
    rejected = func.sum(case((columns.verdict == "NG", 1), else_=0))
    query = select(
        number,
        func.count(),
        func.min(score),
        func.avg(score),
        func.max(score),
        rejected,
        func.max(columns.seq),
    )
    query = query.where(
        columns.model == model, score.is_not(None), columns.time >= since, columns.time < until
    )
    with database.reading(engine) as connection:
        rows = connection.execute(query.group_by(number)).all()
        last = [row[6] for row in rows]
        limits = {}
        for seq, theta, review in connection.execute(
            select(columns.seq, columns.threshold, columns.review_threshold).where(columns.seq.in_(last))
        ):
            limits[seq] = theta, review
    found = []
    for bin_number, count, low, mean, high, count_rejected, seq in sorted(rows, key=lambda row: int(row[0])):
        start = since + int(bin_number) * length * _TICK
        numbers = float(low), float(mean), float(high)
        found.append(
            ScoreSpan(start, count, *numbers, *limits.get(seq, (None, None)), rejected=int(count_rejected))
        )
    return found


def _ticks(at: datetime) -> int:
    from differnet.service.record.tables import Moment

    return int(Moment().process_bind_param(at, None))  # type: ignore[arg-type]
