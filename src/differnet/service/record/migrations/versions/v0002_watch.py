"""What a watch remembers of files, and what others are still to be told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "stamps",
        sa.Column("place", sa.String(64), primary_key=True),
        sa.Column("watch", sa.String(64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("ctime_ns", sa.BigInteger(), nullable=False),
        sa.Column("inode", sa.String(20), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
    )
    op.create_index("ix_stamps_watch", "stamps", ["watch"])
    counter = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "deliveries",
        sa.Column("number", counter, primary_key=True, autoincrement=True),
        sa.Column("watch", sa.String(64), nullable=False),
        sa.Column("destination", sa.String(500), nullable=False),
        sa.Column("inspection", sa.String(32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_time", sa.BigInteger(), nullable=False),
        sa.Column("given_up", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text()),
        sqlite_autoincrement=True,
    )
    columns = ["watch", "destination", "given_up", "next_time", "number"]
    op.create_index("ix_deliveries_waiting", "deliveries", columns)


def downgrade() -> None:
    """Remove the tables with all that is in them."""
    for name in ("deliveries", "stamps"):
        op.drop_table(name)
