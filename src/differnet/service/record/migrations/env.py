"""How Alembic reaches the database: by the connection that :mod:`differnet.service.record.database` hands over."""

from __future__ import annotations

from alembic import context

from differnet.service.record.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite's as well: the connection has begun its transaction by itself
)
with context.begin_transaction():
    context.run_migrations()
