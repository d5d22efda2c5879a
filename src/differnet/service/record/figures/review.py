"""What a person is still to look at, and what the parts drawn by chance tell of those that passed undetected.

Waiting are parts judged "review" or "NG" that nobody confirmed, and of those judged OK the ones that were **drawn**.
An OK part is drawn by its id, which is random, when it is recorded, and the share that is drawn then stands in its row:
so nobody chooses what is looked at, and a change of the share spoils no estimate.

**Escapes**: parts judged OK that are defective. Drawn without a choice, k defective of n that were looked at estimate
their share among all parts judged OK by k / n, with the interval of Clopper and Pearson, also where defects come in
lots.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, func, select

from differnet.decision.thresholds import share_interval
from differnet.errors import counted
from differnet.service.record import database
from differnet.service.record.inspection import Inspection
from differnet.service.record.tables import inspections

CONFIDENCE = 0.95
_RANGE = 2.0**64


def lot_of(identity: str) -> float:
    """Return the lot of an inspection: a number from 0 to 1, the same for the same id, of which none is likelier."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / _RANGE


def is_drawn(identity: str, share: float) -> bool:
    """Whether an OK part is drawn where ``share`` of them are.

    >>> sum(is_drawn(f"{number:032x}", 0.1) for number in range(10_000))
    1011
    """
    return lot_of(identity) < share


@dataclass(frozen=True)
class Waiting:
    """How many parts wait for an operator's word: judged NG, judged "review", and drawn from those judged OK."""

    NG: int
    review: int
    drawn: int


def waiting(engine: Engine, model: str, since: datetime | None = None) -> Waiting:
    """Return how many parts of a model wait, of those since a time."""
    counts = []
    with database.reading(engine) as connection:
        for kind in _kinds():
            query = select(func.count()).select_from(inspections).where(*_of(model, kind, since))
            counts.append(int(connection.execute(query).scalar() or 0))
    return Waiting(*counts)


def queue(
    engine: Engine, model: str, since: datetime | None = None, after_seq: int = -1, limit: int = 1
) -> list[Inspection]:
    """Return the parts that wait, the oldest first, after number ``after_seq``."""
    found = []
    seq = inspections.c.seq
    with database.reading(engine) as connection:
        for kind in _kinds():  # one after the other, since each then is a piece of the index
            query = select(inspections).where(*_of(model, kind, since), seq > after_seq)
            rows = connection.execute(query.order_by(seq).limit(limit)).mappings()
            found += [Inspection(**row) for row in rows]
    return sorted(found, key=lambda row: row.seq)[:limit]


def _kinds() -> list[list[ColumnElement[bool]]]:
    columns = inspections.c
    is_ok = [columns.verdict == "OK", columns.is_drawn.is_(True)]
    return [[columns.verdict == "NG"], [columns.verdict == "review"], is_ok]


def _of(model: str, kind: list[ColumnElement[bool]], since: datetime | None) -> list[ColumnElement[bool]]:
    columns = inspections.c
    times = [] if since is None else [columns.time >= since]
    return [columns.model == model, columns.operator.is_(None), *kind, *times]


@dataclass(frozen=True, kw_only=True)
class Escapes:
    """How many of the parts that were judged OK are defective, as far as those that were drawn tell.

    ``passed``: parts judged OK while some were drawn; ``share``: that was drawn, the smallest where it was changed;
    ``drawn``: how many were, of which ``confirmed`` were looked at, and ``defective`` of those are. ``estimate``,
    ``low``, ``high``: the share of defective ones among ``passed``, with its interval; nothing before one is looked at.
    ``known``: parts judged OK that somebody confirmed as defective, drawn or not. ``text``, ``condition``: the same in
    words, and when it holds.
    """

    passed: int
    share: float | None
    drawn: int
    confirmed: int
    defective: int
    known: int
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float = CONFIDENCE
    text: str = ""
    condition: str = ""


def escapes(
    engine: Engine, model: str, since: datetime | None = None, until: datetime | None = None
) -> Escapes:
    """Estimate how many defective parts passed in a span of time."""
    columns = inspections.c
    span = [columns.model == model, columns.verdict == "OK"]
    span += [] if since is None else [columns.time >= since]
    span += [] if until is None else [columns.time < until]
    is_known = columns.operator == "defective"
    with database.reading(engine) as connection:
        query = select(func.count(), func.min(columns.audit_share)).where(*span, columns.audit_share > 0)
        passed, share = connection.execute(query).one()
        known = connection.execute(select(func.count()).where(*span, is_known)).scalar() or 0
        drawn = connection.execute(
            select(columns.id, columns.operator).where(
                *span, columns.audit_share > 0, columns.is_drawn.is_(True)
            )
        ).all()
    said = [operator for identity, operator in drawn if share is not None and is_drawn(identity, share)]
    return _estimated(int(passed), share, said, int(known))


def _estimated(passed: int, share: float | None, said: list[str | None], known: int) -> Escapes:
    defective = said.count("defective")
    confirmed = defective + said.count("good")
    counts: dict[str, Any] = {"passed": passed, "share": share, "drawn": len(said), "known": known}
    counts |= {"confirmed": confirmed, "defective": defective}
    if not confirmed:
        why = (
            "none is drawn to be looked at (--audit-share)"
            if share is None
            else "none that was drawn was confirmed"
        )
        return Escapes(
            **counts, text=f"How many defective parts passed is not known: of the parts judged OK {why}."
        )
    low, high = share_interval(defective, confirmed, CONFIDENCE)
    found = Escapes(**counts, estimate=defective / confirmed, low=low, high=high)
    words = {"text": _told(found), "condition": _condition(found)}
    return Escapes(**vars(found) | words)


def _told(found: Escapes) -> str:
    low, high = math.floor(found.passed * (found.low or 0)), math.ceil(found.passed * (found.high or 0))
    about = round(found.passed * (found.estimate or 0))
    return (
        f"Of {counted(found.passed, 'part')} judged OK, {found.drawn} were drawn by chance; of "
        f"{found.confirmed} that were looked at {found.defective} were defective. So about {about} defective parts "
        f"passed, and with {found.confidence:.0%} confidence between {max(low, found.defective)} and {high} "
        f"({_percent(found.low)} to {_percent(found.high)} of those judged OK)."
    )


def _condition(found: Escapes) -> str:
    left = found.drawn - found.confirmed
    others = f", and if the {left} drawn that nobody has looked at yet are like these" if left else ""
    return f"This holds if whoever looks sees the defects{others}."


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0):.3g} %"
