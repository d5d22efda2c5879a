"""The versions of each model, which of them judges, and which one judges beside it for a trial.

A version is a folder of a station, known by its digest. Who judges is a stack: a version that is put there lies upon
the one before, and to roll back takes the top away. "retired" on top says that nobody judges. What was changed by whom
is recorded in the same transaction (:mod:`differnet.service.record.changes`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from differnet.service.record import changes, database
from differnet.service.record.changes import By
from differnet.service.record.inspection import now
from differnet.service.record.tables import inspections, lineup, monitors, settings, versions

Origin = Literal["start", "folder", "upload"]
Role = Literal["active", "shadow"]
_RETIRED, _JUDGING = "retired", ("active", "retired")


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of a model: its digest, where its folder lies, and when, how and by whom it came.

    ``origin``: given at the "start" of the service, from a "folder", or by "upload". ``about``: what it was made from.
    """

    number: int
    time: datetime
    model: str
    digest: str
    origin: Origin
    folder: str
    who: str | None
    client: str | None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Post:
    """A version in its place: ``since_seq`` is the number of the newest inspection when it was put there.

    ``own_rates``: it judges by the rates of its folder, whatever was applied to the model.
    """

    digest: str
    time: datetime
    own_rates: bool = False
    since_seq: int = 0


@dataclass(frozen=True)
class Lineup:
    """Who judges a model: nobody where it is retired; ``before``: who judges after a roll back."""

    active: Post | None = None
    shadow: Post | None = None
    before: Post | None = None
    is_retired: bool = False


def of_model(engine: Engine, model: str) -> list[Version]:
    """Return the versions of a model, the newest first."""
    query = select(versions).where(versions.c.model == model).order_by(versions.c.number.desc())
    with database.reading(engine) as connection:
        return [_version(row) for row in connection.execute(query).mappings()]


def get(engine: Engine, model: str, digest: str) -> Version | None:
    """Return one version."""
    query = select(versions).where(versions.c.model == model, versions.c.digest == digest)
    with database.reading(engine) as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else _version(row)


def lineups(engine: Engine) -> dict[str, Lineup]:
    """Return who judges which model, of all that the record knows."""
    with database.reading(engine) as connection:
        rows = connection.execute(select(lineup).order_by(lineup.c.number)).all()
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.model, []).append(row)
    return {model: _lineup(of_it) for model, of_it in found.items()}


def add(connection: Connection, version: Version, by: By) -> None:
    """Note a version; of one that is known already, where its folder lies now."""
    same = versions.c.model == version.model, versions.c.digest == version.digest
    if connection.execute(select(versions.c.number).where(*same)).first() is not None:
        move(connection, version.model, version.digest, version.folder)
        return
    values = {name: getattr(version, name) for name in ("model", "digest", "origin", "folder")}
    whose = {"who": by.who, "client": by.client, "about": json.dumps(version.about)}
    connection.execute(insert(versions).values(time=now(), **values, **whose))


def move(connection: Connection, model: str, digest: str, folder: str) -> None:
    """Note that the folder of a version that is known lies elsewhere now."""
    same = versions.c.model == model, versions.c.digest == digest
    connection.execute(update(versions).where(*same).values(folder=folder))


def put(connection: Connection, model: str, post: Post, role: Role, by: By, reason: str | None) -> None:
    """Have a version judge from now on, or judge beside the one that does, for a trial.

    The drift monitor of a version that judges begins anew; with ``own_rates`` the applied rates go.
    """
    before = _current(connection, model)
    _end_shadow(connection, model)
    if role == "active":
        connection.execute(delete(lineup).where(lineup.c.model == model, lineup.c.role == _RETIRED))
    _push(connection, model, role, post.digest, post.own_rates)
    if role == "active":
        if before.shadow is not None and before.shadow.digest != post.digest:
            _push(connection, model, "shadow", before.shadow.digest, before.shadow.own_rates)
        _begin_anew(connection, model, post.own_rates, by)
    _record(connection, by, "model put" if role == "active" else "shadow put", model, before, reason)


def roll_back(connection: Connection, model: str, own_rates: bool, by: By, reason: str | None) -> None:
    """Take away what lies on top of the stack."""
    before = _current(connection, model)
    top = select(func.max(lineup.c.number)).where(lineup.c.model == model, lineup.c.role.in_(_JUDGING))
    connection.execute(delete(lineup).where(lineup.c.number == top.scalar_subquery()))
    if before.before and before.shadow and before.before.digest == before.shadow.digest:
        _end_shadow(connection, model)
    _begin_anew(connection, model, own_rates, by)
    _record(connection, by, "model rolled back", model, before, reason)


def retire(connection: Connection, model: str, by: By, reason: str | None) -> None:
    """Have nobody judge a model any more; what was recorded stays."""
    before = _current(connection, model)
    _end_shadow(connection, model)
    _push(connection, model, _RETIRED, None, False)
    _record(connection, by, "model retired", model, before, reason)


def end_shadow(connection: Connection, model: str, by: By, reason: str | None) -> None:
    """End a trial; what was recorded of it stays."""
    before = _current(connection, model)
    _end_shadow(connection, model)
    _record(connection, by, "shadow ended", model, before, reason)


def forget(connection: Connection, model: str, by: By) -> None:
    """Empty the stack of a model, so that the folder given at the start judges."""
    before = _current(connection, model)
    connection.execute(delete(lineup).where(lineup.c.model == model))
    _record(connection, by, "model forgotten", model, before, None)


def _push(connection: Connection, model: str, role: str, digest: str | None, own_rates: bool) -> None:
    last = int(connection.execute(select(func.max(inspections.c.seq))).scalar() or 0)
    values = {"model": model, "role": role, "digest": digest, "own_rates": own_rates, "since_seq": last}
    connection.execute(insert(lineup).values(time=now(), **values))


def _end_shadow(connection: Connection, model: str) -> None:
    connection.execute(delete(lineup).where(lineup.c.model == model, lineup.c.role == "shadow"))


def _begin_anew(connection: Connection, model: str, own_rates: bool, by: By) -> None:
    """Forget the stream of the version before, and, where that is wanted, the rates that were applied."""
    connection.execute(delete(monitors).where(monitors.c.model == model))
    query = select(settings).where(settings.c.model == model).order_by(settings.c.number.desc()).limit(1)
    applied = connection.execute(query).first()
    if own_rates and applied is not None and applied.rate is not None:
        connection.execute(insert(settings).values(model=model, time=now()))
        was = {name: getattr(applied, name) for name in ("rate", "confidence", "review_rate")}
        changes.add(connection, by, "rates", model, was, None)


def _record(
    connection: Connection, by: By, what: changes.What, model: str, before: Lineup, reason: str | None
) -> None:
    after = _said(_current(connection, model)) | ({} if reason is None else {"reason": reason})
    changes.add(connection, by, what, model, _said(before), after)


def _said(found: Lineup) -> dict[str, Any]:
    posts = {"active": found.active, "shadow": found.shadow}
    return {name: None if post is None else post.digest for name, post in posts.items()}


def _current(connection: Connection, model: str) -> Lineup:
    query = select(lineup).where(lineup.c.model == model).order_by(lineup.c.number)
    return _lineup(list(connection.execute(query)))


def _lineup(rows: list[Any]) -> Lineup:
    """Return who judges by the rows of one model, in the order in which they came."""
    judging = [None if row.role == _RETIRED else _post(row) for row in rows if row.role in _JUDGING]
    shadow = next((_post(row) for row in rows if row.role == "shadow"), None)
    top, below = ([None, None, *judging])[:-3:-1]
    return Lineup(top, shadow, below, bool(judging) and top is None)


def _post(row: Any) -> Post:
    return Post(row.digest, row.time, bool(row.own_rates), row.since_seq)


def _version(row: Any) -> Version:
    return Version(**dict(row) | {"about": json.loads(row["about"])})
