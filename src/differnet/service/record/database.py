"""The database of the record: how it is opened, and brought to the tables that this version knows."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from differnet.errors import ConfigError, MissingExtraError, StoreError

_WAIT = 30  # seconds for which a writer waits for another
_CONNECT = 10  # seconds after which a server that does not answer is away
_turns: WeakKeyDictionary[Engine, threading.Lock] = WeakKeyDictionary()
_LOCK = 0x64696666  # of PostgreSQL's advisory locks: whose turn it is to write


def connect(url: str) -> Engine:
    """Open the database at ``url``, SQLite's or PostgreSQL's, with tables of the newest form.

    Raises :class:`ConfigError` for another URL, :class:`MissingExtraError` without what talks to PostgreSQL, and
    :class:`StoreError` for a database that cannot be reached or that a newer version wrote.
    """
    engine = _engine(url)
    try:
        with writing(engine) as connection:
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            config.set_main_option("path_separator", "os")
            command.upgrade(config, "head")
    except CommandError as error:
        engine.dispose()
        raise StoreError(
            f"{shown(url)}: its tables are of a version that this one does not know ({error}); install the differnet "
            "that wrote them, or a newer one"
        ) from error
    except StoreError:
        engine.dispose()
        raise
    return engine


def shown(url: str) -> str:
    """Return the URL without its password."""
    return make_url(url).render_as_string(hide_password=True)


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite database, nothing for another; raises :class:`ConfigError` for no URL."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(
            f"{url!r}: no URL of a database; one such as sqlite:///record.sqlite3 was wanted"
        ) from error
    if parsed.get_backend_name() != "sqlite":
        return None
    if parsed.database in (None, "", ":memory:"):
        raise ConfigError("a record in memory would be lost; give a file: sqlite:///record.sqlite3")
    return Path(str(parsed.database))


def mark_of(engine: Engine) -> str:
    """Return what tells this record from all others, also from a copy of its file or database."""
    with reading(engine) as connection:
        name = connection.execute(text("SELECT name FROM identity")).scalar()
    path = sqlite_file(engine.url.render_as_string(hide_password=False))
    return f"{name}-{path.stat().st_ino if path else quote(engine.url.database or '')}"


def impatient(engine: Engine, seconds: float) -> Engine:
    """Return an engine for the same database that waits for nobody longer than some seconds."""
    return _engine(engine.url.render_as_string(hide_password=False), seconds)


def turn(engine: Engine) -> threading.Lock:
    """Return the lock that a writer of this process holds: SQLite lets writers wait by polling, which starves some."""
    return _turns.setdefault(engine, threading.Lock())


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction that alone may write, and commit it; what it wrote is then on disk.

    One after the other, also from other processes: so rows can be seen in the order of their numbers.
    """
    with _said(engine), turn(engine), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT}s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction that waits for no writer."""
    with _said(engine), engine.connect().execution_options(reads=True) as connection:
        yield connection


@contextmanager
def _said(engine: Engine) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise StoreError(
            f"{engine.url.render_as_string(hide_password=True)}: {reason}; is it there, and may it be written to?"
        ) from error


def _engine(url: str, wait: float | None = None) -> Engine:
    """Return an engine; ``wait``: seconds after which a writer, or a server, is waited for no longer."""
    path = sqlite_file(url)
    options: dict[str, Any] = {"connect_args": {"timeout": _WAIT if wait is None else wait}}
    if path is None:
        given = make_url(url).query
        bounds = {name: value for name, value in _bounds(wait).items() if name not in given}
        options = {"pool_pre_ping": True, "pool_timeout": _WAIT, "connect_args": bounds}
    if path is not None:
        _make_private(path)
    elif make_url(url).get_backend_name() != "postgresql":
        raise ConfigError(
            f"{shown(url)}: SQLite (sqlite:///FILE) or PostgreSQL (postgresql+psycopg://...) was wanted"
        )
    try:
        engine = create_engine(url, **options)
    except (ImportError, NoSuchModuleError) as error:
        raise MissingExtraError(f"{shown(url)}: {error}: pip install 'differnet[postgres]'") from error
    if path is not None:
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def _bounds(wait: float | None = None) -> dict[str, Any]:
    """Return how PostgreSQL's client is told that a server, or a lock, is not waited for without end."""
    alive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    if wait is None:
        return {"connect_timeout": _CONNECT, "tcp_user_timeout": 1000 * _WAIT, **alive}
    limits = f"-c lock_timeout={1000 * wait:.0f} -c statement_timeout={1000 * wait:.0f}"
    return {"connect_timeout": max(2, round(wait)), "options": limits, **alive}


def _make_private(path: Path) -> None:
    """Make the file of a record for its owner alone, as SQLite then makes those beside it; one that is there stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(OSError):  # it is there, or SQLite will say why it cannot be
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600))


def _prepare(connection: Any, _: Any) -> None:
    """A committed row must outlive a power cut, and readers must not wait for writers."""
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """A writer asks for its turn at once: one that read first would be refused instead of waiting."""
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
