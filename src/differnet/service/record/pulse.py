"""Whether the record can be written to now: a row that is written, and a file beside the images."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, update

from differnet.errors import StoreError
from differnet.service.record import database
from differnet.service.record.inspection import now
from differnet.service.record.tables import pulse

_WAIT = 2.0  # seconds for which a writer may be waited for
_FRESH = 1.0  # seconds for which what was written speaks for the record
_ROOM = 32 * 2**20  # bytes that must be left on a disk


class Pulse:
    """Writes to a record as an inspection would be, in its turn among the writers of this process."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        self._own: Engine | None = None
        self._alone, self._written = threading.Lock(), -_FRESH

    def check(self) -> None:
        """Raise :class:`StoreError` where rows or images cannot be written within two seconds."""
        with self._alone:
            if time.monotonic() - self._written < _FRESH:
                return
            self._check_disk()
            turn = database.turn(self._engine)
            if not turn.acquire(timeout=_WAIT):
                raise StoreError(f"the record has been busy for {_WAIT:g} s")
            try:
                self._write()
            finally:
                turn.release()
            self._written = time.monotonic()

    def close(self) -> None:
        """Let go of its connection."""
        if self._own is not None:
            self._own.dispose()

    def _write(self) -> None:
        self._own = self._own or database.impatient(self._engine, _WAIT)
        at: dict[str, Any] = {"time": now()}
        with database.writing(self._own) as connection:
            if not connection.execute(update(pulse).values(at)).rowcount:
                connection.execute(insert(pulse).values(number=1, **at))

    def _check_disk(self) -> None:
        path = database.sqlite_file(self._engine.url.render_as_string(hide_password=False))
        for place in (self._folder, *([path.parent] if path else [])):
            folder = next(one for one in (place.absolute(), *place.absolute().parents) if one.exists())
            try:
                with tempfile.TemporaryFile(dir=folder) as file:
                    file.write(bytes(4096))
                free = shutil.disk_usage(folder).free
            except OSError as error:
                raise StoreError(f"{folder}: nothing can be written: {error.strerror}") from error
            if free < _ROOM:
                raise StoreError(f"{folder}: {free:,} bytes are left on the disk; {_ROOM:,} are wanted")
