"""Which versions of a model there are, which one judges, and what one beside it said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _make_versions()
    _make_lineup()
    _make_shadows()


def _make_versions() -> None:
    op.create_table(
        "versions",
        sa.Column("number", _COUNTER, primary_key=True, autoincrement=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("origin", sa.String(10), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("who", sa.String(1000)),
        sa.Column("client", sa.String(200)),
        sa.Column("about", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_versions_model_digest", "versions", ["model", "digest"], unique=True)


def _make_lineup() -> None:
    op.create_table(
        "lineup",
        sa.Column("number", _COUNTER, primary_key=True, autoincrement=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("digest", sa.String(64)),
        sa.Column("own_rates", sa.Boolean(), nullable=False),
        sa.Column("since_seq", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_lineup_model_number", "lineup", ["model", "number"])


def _make_shadows() -> None:
    op.create_table(
        "shadows",
        sa.Column("number", _COUNTER, primary_key=True, autoincrement=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("inspection", sa.String(32), nullable=False),
        sa.Column("score", sa.Double()),
        sa.Column("p_value", sa.Double()),
        sa.Column("percent", sa.Double()),
        sa.Column("verdict", sa.String(10)),
        sa.Column("threshold", sa.Double()),
        sa.Column("review_threshold", sa.Double()),
        sa.Column("views", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_shadows_inspection_digest", "shadows", ["inspection", "digest"], unique=True)
    op.create_index("ix_shadows_model_digest_number", "shadows", ["model", "digest", "number"])


def downgrade() -> None:
    """Remove the tables with all that is in them."""
    for name in ("shadows", "lineup", "versions"):
        op.drop_table(name)
