"""Which part an inspection is of, which kind of defect it has, what was drawn to be looked at, and why rates moved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_inspections_serial": ["serial"],
    "ix_inspections_lot": ["lot"],
    "ix_inspections_model_time": ["model", "time"],
    "ix_inspections_review": ["model", "operator", "verdict", "is_drawn", "seq"],
}


def upgrade() -> None:
    """Make room for it; of inspections and changes before nothing is known."""
    for name in ("serial", "lot", "station"):
        op.add_column("inspections", sa.Column(name, sa.String(200)))
    op.add_column("inspections", sa.Column("fields", sa.Text()))
    op.add_column("inspections", sa.Column("defect", sa.String(100)))
    op.add_column("inspections", sa.Column("audit_share", sa.Double()))
    op.add_column("inspections", sa.Column("is_drawn", sa.Boolean()))
    op.add_column("changes", sa.Column("name", sa.String(200)))
    op.add_column("changes", sa.Column("reason", sa.Text()))
    for name, columns in _INDEXES.items():
        op.create_index(name, "inspections", columns)


def downgrade() -> None:
    """Remove it."""
    for name in _INDEXES:
        op.drop_index(name, "inspections")
    for name in ("reason", "name"):
        op.drop_column("changes", name)
    for name in ("is_drawn", "audit_share", "defect", "fields", "station", "lot", "serial"):
        op.drop_column("inspections", name)
