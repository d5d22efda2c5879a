"""Who changed what and when; rows are only added."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_REFUSAL = "changes are only added"


def upgrade() -> None:
    """Make the tables, and have the database refuse to alter or remove a change."""
    op.create_table(
        "changes",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.String(20), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("inspection", sa.String(32)),
        sa.Column("who", sa.String(1000)),
        sa.Column("client", sa.String(200)),
        sa.Column("request_id", sa.String(64)),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_changes_model_number", "changes", ["model", "number"])
    op.create_index("ix_changes_inspection", "changes", ["inspection"])
    op.create_index("ix_inspections_image", "inspections", ["image"])
    op.create_index("ix_inspections_heat_map", "inspections", ["heat_map"])
    op.create_table(
        "pulse",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
    )
    (_refuse_in_postgresql if op.get_bind().dialect.name == "postgresql" else _refuse_in_sqlite)()


def _refuse_in_sqlite() -> None:
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER changes_no_{event.lower()} BEFORE {event} ON changes "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        )


def _refuse_in_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION changes_are_only_added() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER changes_only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON changes "
        "FOR EACH STATEMENT EXECUTE FUNCTION changes_are_only_added()"
    )


def downgrade() -> None:
    """Remove the tables with all that is in them."""
    op.drop_table("pulse")
    op.drop_table("changes")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION changes_are_only_added()")
    for name in ("ix_inspections_image", "ix_inspections_heat_map"):
        op.drop_index(name, "inspections")
