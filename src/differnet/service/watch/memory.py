"""What a watch remembers in the record: what it has judged, and its drift monitor."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

from sqlalchemy import Connection, delete, insert, select

from differnet.service.record.database import reading
from differnet.service.record.store import Store
from differnet.service.record.tables import stamps as table
from differnet.service.watch.sources import Stamp


class StoreMemory:
    """What a watch of one model and one source has seen, in the record;
    :class:`differnet.service.watch.sources.Memory`.
    """

    def __init__(self, store: Store, model: str, label: str) -> None:
        self.store, self.model = store, model
        self.watch = hashlib.sha256(f"{model}\0{label}".encode("utf-8", "surrogateescape")).hexdigest()

    def seen(self, key: str) -> bool:
        """Whether the image with this key has its row."""
        return self.store.seen(self.model, key)

    def stamps(self) -> list[Stamp]:
        """Return what is known of the files of the folder."""
        columns = table.c
        query = select(
            columns.path, columns.size, columns.mtime_ns, columns.ctime_ns, columns.inode, columns.digest
        ).where(columns.watch == self.watch)
        with reading(self.store.engine) as connection:
            rows = connection.execute(query).all()
        return [Stamp(_decoded(row[0]), row[1], row[2], row[3], int(row[4]), row[5]) for row in rows]

    def remember(self, stamps: Sequence[Stamp], forget: Sequence[str] = ()) -> None:
        """Keep stamps of files that have their row, and forget those of other paths."""
        for start in range(0, max(len(stamps), len(forget)), 200):
            step = slice(start, start + 200)
            with self.store.writing() as connection:
                self.write(connection, stamps[step], forget[step])

    def write(self, connection: Connection, stamps: Sequence[Stamp], forget: Sequence[str] = ()) -> None:
        """As :meth:`remember`, in a transaction that has begun."""
        rows = [
            {
                "place": self._place(stamp.path),
                "watch": self.watch,
                "path": _encoded(stamp.path),
                "size": stamp.size,
                "mtime_ns": stamp.mtime_ns,
                "ctime_ns": stamp.ctime_ns,
                "inode": str(stamp.inode),
                "digest": stamp.digest,
            }
            for stamp in stamps
        ]
        old = [self._place(path) for path in forget] + [row["place"] for row in rows]
        if old:
            connection.execute(delete(table).where(table.c.place.in_(old)))
        if rows:
            connection.execute(insert(table), rows)

    def _place(self, path: str) -> str:
        return hashlib.sha256(f"{self.watch}\0{_encoded(path)}".encode()).hexdigest()


def _encoded(path: str) -> str:
    """Return a path as ASCII, whatever bytes it has."""
    return quote(os.fsencode(path))


def _decoded(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))
