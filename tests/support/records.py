"""Rows of a record, and records as versions before left them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

START = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


def judged(number, verdict="OK", **values):
    """Return an inspection of the model "tiles", one minute after the one before."""
    from differnet.service.record.inspection import Inspection

    usual = {"model": "tiles", "model_digest": "d" * 64, "source": "http", "image_digest": f"{number:064}"}
    usual |= {"score": 1.0 + number, "views": 8, "time": START + timedelta(minutes=number)}
    return Inspection(**(usual | {"verdict": verdict, "id": f"{number:032x}"} | values))


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
