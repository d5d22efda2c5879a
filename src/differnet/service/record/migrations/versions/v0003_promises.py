"""Whose fault an error is, which record a folder of images belongs to, and how much was forgotten when."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the column and the tables; the record gets its name."""
    op.add_column("inspections", sa.Column("fault", sa.String(10)))
    named = op.create_table("identity", sa.Column("name", sa.String(32), primary_key=True))
    op.bulk_insert(named, [{"name": uuid.uuid4().hex}])
    counter = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "forgotten",
        sa.Column("number", counter, primary_key=True, autoincrement=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("inspections", sa.Integer(), nullable=False),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Remove the tables and the column with all that is in them."""
    for name in ("forgotten", "identity"):
        op.drop_table(name)
    op.drop_column("inspections", "fault")
