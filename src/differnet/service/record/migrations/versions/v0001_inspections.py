"""The first tables: inspections, applied rates, states of drift monitors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _make_inspections()
    _make_settings()
    _make_monitors()


def _make_inspections() -> None:
    op.create_table(
        "inspections",
        sa.Column("seq", _COUNTER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("source", sa.String(40), nullable=False),
        sa.Column("source_key", sa.String(1000)),
        sa.Column("file_name", sa.String(1000)),
        sa.Column("image_digest", sa.String(64), nullable=False),
        sa.Column("score", sa.Double()),
        sa.Column("p_value", sa.Double()),
        sa.Column("percent", sa.Double()),
        sa.Column("verdict", sa.String(10)),
        sa.Column("error", sa.Text()),
        sa.Column("threshold", sa.Double()),
        sa.Column("review_threshold", sa.Double()),
        sa.Column("rate", sa.Double()),
        sa.Column("confidence", sa.Double()),
        sa.Column("review_rate", sa.Double()),
        sa.Column("views", sa.Integer(), nullable=False),
        sa.Column("early", sa.Boolean(), nullable=False),
        sa.Column("drift", sa.Text()),
        sa.Column("operator", sa.String(10)),
        sa.Column("operator_time", sa.BigInteger()),
        sa.Column("note", sa.Text()),
        sa.Column("image", sa.String(200)),
        sa.Column("heat_map", sa.String(200)),
        sa.Column("kept_bytes", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_inspections_model_seq", "inspections", ["model", "seq"])
    op.create_index("ix_inspections_time", "inspections", ["time"])
    op.create_index("ix_inspections_source_key", "inspections", ["model", "source_key"], unique=True)


def _make_settings() -> None:
    op.create_table(
        "settings",
        sa.Column("number", _COUNTER, primary_key=True, autoincrement=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("rate", sa.Double()),
        sa.Column("confidence", sa.Double()),
        sa.Column("review_rate", sa.Double()),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_settings_model_number", "settings", ["model", "number"])


def _make_monitors() -> None:
    op.create_table(
        "monitors",
        sa.Column("model", sa.String(200), primary_key=True),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    """Remove the tables with all that is in them."""
    for name in ("monitors", "settings", "inspections"):
        op.drop_table(name)
