"""Records as versions before left them."""

from __future__ import annotations

from pathlib import Path


def go_back(engine, revision):
    """Undo the migrations after ``revision``, as a record of then has it."""
    from alembic import command
    from alembic.config import Config

    from differnet.service.record import database

    with database.writing(engine) as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        command.downgrade(config, revision)
