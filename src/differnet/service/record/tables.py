"""The tables of the record, as the newest migration leaves them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TICK = timedelta(microseconds=1)
MICROSECONDS = 1_000_000

# SQLite counts up by itself in INTEGER columns alone, whose numbers have 64 bits as well.
Counter = BigInteger().with_variant(Integer(), "sqlite")


class Moment(TypeDecorator[datetime]):
    """A time as microseconds since 1970 in UTC: exact, and the same in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return microseconds; a time without a zone is taken for UTC."""
        if value is None:
            return None
        return ((value if value.tzinfo else value.replace(tzinfo=timezone.utc)) - _EPOCH) // _TICK

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return a time in UTC."""
        return None if value is None else _EPOCH + int(value) * _TICK


class Texts(TypeDecorator[dict[str, str]]):
    """Texts by their names as JSON, nothing where there are none."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, str] | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return JSON without spaces, so that a pair can be looked for in it."""
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, str]:  # noqa: ARG002
        """Return the texts."""
        return json.loads(value) if value else {}


metadata = MetaData()

inspections = Table(
    "inspections",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("time", Moment, nullable=False),
    Column("model", String(200), nullable=False),
    Column("model_digest", String(64), nullable=False),
    Column("source", String(40), nullable=False),
    Column("source_key", String(1000)),
    Column("file_name", String(1000)),
    Column("image_digest", String(64), nullable=False),
    Column("score", Double),
    Column("p_value", Double),
    Column("percent", Double),
    Column("verdict", String(10)),
    Column("error", Text),
    Column("fault", String(10)),
    Column("threshold", Double),
    Column("review_threshold", Double),
    Column("rate", Double),
    Column("confidence", Double),
    Column("review_rate", Double),
    Column("views", Integer, nullable=False),
    Column("early", Boolean, nullable=False),
    Column("drift", Text),
    Column("operator", String(10)),
    Column("operator_time", Moment),
    Column("note", Text),
    Column("image", String(200)),
    Column("heat_map", String(200)),
    Column("kept_bytes", BigInteger, nullable=False),
    Column("image_note", Text),
    Column("serial", String(200)),
    Column("lot", String(200)),
    Column("station", String(200)),
    Column("fields", Texts),
    Column("defect", String(100)),
    Column("audit_share", Double),
    Column("is_drawn", Boolean),
    Index("ix_inspections_model_seq", "model", "seq"),
    Index("ix_inspections_serial", "serial"),
    Index("ix_inspections_lot", "lot"),
    Index("ix_inspections_model_time", "model", "time"),
    Index("ix_inspections_review", "model", "operator", "verdict", "is_drawn", "seq"),
    Index("ix_inspections_time", "time"),
    Index("ix_inspections_source_key", "model", "source_key", unique=True),
    Index("ix_inspections_image", "image"),
    Index("ix_inspections_heat_map", "heat_map"),
    sqlite_autoincrement=True,  # a number is never given twice, not even after rows were removed
)

settings = Table(
    "settings",
    metadata,
    Column("number", Counter, primary_key=True, autoincrement=True),
    Column("time", Moment, nullable=False),
    Column("model", String(200), nullable=False),
    Column("rate", Double),
    Column("confidence", Double),
    Column("review_rate", Double),
    Index("ix_settings_model_number", "model", "number"),
    sqlite_autoincrement=True,
)

monitors = Table(
    "monitors",
    metadata,
    Column("model", String(200), primary_key=True),
    Column("model_digest", String(64), nullable=False),
    Column("time", Moment, nullable=False),
    Column("state", Text, nullable=False),
)

# Files of a watched folder that have their row; :class:`differnet.service.watch.sources.Stamp`.
stamps = Table(
    "stamps",
    metadata,
    Column(
        "place", String(64), primary_key=True
    ),  # SHA-256 of watch and path, which may be longer than keys can be
    Column("watch", String(64), nullable=False),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),
    Column("inode", String(20), nullable=False),  # up to 64 bits without a sign
    Column("digest", String(64), nullable=False),
    Index("ix_stamps_watch", "watch"),
)

# What somebody else is still to be told; a row goes when it was told.
deliveries = Table(
    "deliveries",
    metadata,
    Column("number", Counter, primary_key=True, autoincrement=True),
    Column("watch", String(64), nullable=False),
    Column("destination", String(500), nullable=False),
    Column("inspection", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_time", Moment, nullable=False),
    Column("given_up", Boolean, nullable=False),
    Column("error", Text),
    Index("ix_deliveries_waiting", "watch", "destination", "given_up", "next_time", "number"),
    sqlite_autoincrement=True,
)

# The name of this record, in one row: folders of images are marked with it.
identity = Table("identity", metadata, Column("name", String(32), primary_key=True))

# How many inspections were forgotten because of their age, and when.
forgotten = Table(
    "forgotten",
    metadata,
    Column("number", Counter, primary_key=True, autoincrement=True),
    Column("time", Moment, nullable=False),
    Column("inspections", Integer, nullable=False),
    sqlite_autoincrement=True,
)

# Written again and again, so that it is known whether the record can be written to; one row.
pulse = Table(
    "pulse",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("time", Moment, nullable=False),
)

# Folders that judge, or did, or might.
versions = Table(
    "versions",
    metadata,
    Column("number", Counter, primary_key=True, autoincrement=True),
    Column("time", Moment, nullable=False),
    Column("model", String(200), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("origin", String(10), nullable=False),
    Column("folder", Text, nullable=False),
    Column("who", String(1000)),
    Column("client", String(200)),
    Column("about", Text, nullable=False),
    Index("ix_versions_model_digest", "model", "digest", unique=True),
    sqlite_autoincrement=True,
)

# Which of them does: a stack of its own for each model; see :mod:`differnet.service.record.versions`.
lineup = Table(
    "lineup",
    metadata,
    Column("number", Counter, primary_key=True, autoincrement=True),
    Column("time", Moment, nullable=False),
    Column("model", String(200), nullable=False),
    Column("role", String(10), nullable=False),
    Column("digest", String(64)),
    Column("own_rates", Boolean, nullable=False),
    Column("since_seq", BigInteger, nullable=False),
    Index("ix_lineup_model_number", "model", "number"),
    sqlite_autoincrement=True,
)
