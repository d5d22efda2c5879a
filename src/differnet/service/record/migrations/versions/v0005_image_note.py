"""What of an image was not looked at, or not as it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for it; of inspections before nothing is known."""
    op.add_column("inspections", sa.Column("image_note", sa.Text()))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("inspections", "image_note")
