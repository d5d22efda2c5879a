"""The rows of a large run, in Parquet files that are each written whole: ``part-00000000.parquet`` and so on.

Beside them stand ``_run.json``, which says what the rows were made with, and ``_inventory.parquet``, which says what
there is to score. A part that is there is finished, so a run goes on by making those that are not.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from differnet.batch.cluster import locations
from differnet.batch.cluster.inventory import Entry, digest_of, entries_in
from differnet.batch.journal import COLUMNS, Row
from differnet.decision.verdict import PredictionRecord
from differnet.errors import ConfigError

HEAD, INVENTORY = "_run.json", "_inventory.parquet"
_READERS = 16
_PART = re.compile(r"^part-(\d{8,})\.parquet$")


@dataclass
class Counts:
    """How many images there were, and what was said of them; ``views``: in how many they were looked at in all."""

    images: int = 0
    flagged: int = 0
    to_review: int = 0
    skipped: int = 0
    views: int = 0


class Parts:
    """The parts of a run in a ``folder``, a path or URI, of ``size`` images each; the inventory says of which."""

    def __init__(self, folder: str, inventory: Any, size: int) -> None:
        self.folder = folder
        self.size = size
        self._inventory = inventory

    def __len__(self) -> int:
        return -(-self.images // self.size)

    @property
    def images(self) -> int:
        """How many rows there will be."""
        return int(self._inventory.num_rows)

    def entries(self, part: int) -> list[Entry]:
        """Return what is to be scored in a part."""
        return entries_in(self._inventory.slice(part * self.size, self.size))

    def length(self, part: int) -> int:
        """Return how many rows a part has."""
        return min(self.size, self.images - part * self.size)

    def missing(self) -> list[int]:
        """Return the parts that are not there, in order."""
        found = {int(match[1]) for name in locations.names_in(self.folder) if (match := _PART.match(name))}
        return [part for part in range(len(self)) if part not in found]

    def write(self, part: int, rows: Sequence[Row]) -> None:
        """Write the rows of a part, whole; raises :class:`ConfigError` when they are not as many as there must be."""
        if len(rows) != self.length(part):
            raise ConfigError(f"part {part}: {len(rows)} rows, where {self.length(part)} were wanted")
        locations.write(locations.within(self.folder, name_of(part)), to_parquet(rows))

    def tables(self) -> Iterator[Any]:
        """Yield the rows of the parts, in the order of the inventory, as a ``pyarrow.Table`` each."""
        with ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(self), _READERS):
                yield from pool.map(self._read, range(start, min(start + _READERS, len(self))))

    def counts(self) -> Counts:
        """Count what was said of all images."""
        found = Counts()
        for table in self.tables():
            columns = table.select(["is_defective", "verdict", "error", "views"]).to_pydict()
            found.images += table.num_rows
            found.flagged += sum(map(bool, columns["is_defective"]))
            found.to_review += columns["verdict"].count("review")
            found.skipped += table.num_rows - columns["error"].count(None)
            found.views += sum(views or 0 for views in columns["views"])
        return found

    def _read(self, part: int) -> Any:
        content = locations.read(locations.within(self.folder, name_of(part)))
        return locations.pyarrow_or_advice().parquet.read_table(io.BytesIO(content))


def name_of(part: int) -> str:
    """Return the name of the file of a part."""
    return f"part-{part:08}.parquet"


def opened(
    folder: str,
    entries: Sequence[Entry],
    made_with: Mapping[str, Any],
    size: int,
    resume: bool,
    unpack: Any = None,
) -> Parts:
    """Begin a run in a folder, or go on with the one there if ``resume``.

    ``made_with``: what rows depend on; ``unpack``: see :func:`differnet.batch.cluster.inventory.table_of`. Raises
    :class:`ConfigError` for a run that is there and not asked for, or was made with something else.
    """
    from differnet.batch.cluster import inventory

    parquet = locations.pyarrow_or_advice().parquet
    head = json.loads(json.dumps({**made_with, "part": size, "inputs": digest_of(entries)}))
    names, listed = locations.names_in(folder), locations.within(folder, INVENTORY)
    if HEAD in names and INVENTORY in names:
        if not resume:
            raise ConfigError(f"{folder}: rows of another run; go on with --resume, or give another folder")
        _check_head(folder, json.loads(locations.read(locations.within(folder, HEAD))), head)
        return Parts(folder, parquet.read_table(io.BytesIO(locations.read(listed))), size)
    if any(_PART.match(name) for name in names):
        raise ConfigError(f"{folder}: parts without {HEAD} and {INVENTORY}; give another folder")
    table = inventory.table_of(entries, unpack)
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    locations.write(listed, buffer.getvalue())
    locations.write(locations.within(folder, HEAD), json.dumps(head, indent=2).encode())
    return Parts(folder, table, size)


def to_parquet(rows: Iterable[Row]) -> bytes:
    """Return rows as one Parquet file."""
    buffer = io.BytesIO()
    locations.pyarrow_or_advice().parquet.write_table(to_table(rows), buffer, compression="zstd")
    return buffer.getvalue()


def to_table(rows: Iterable[Row]) -> Any:
    """Return rows as a ``pyarrow.Table`` with the columns of :data:`differnet.batch.journal.COLUMNS`, typed.

    Also a column in which all is null has its type.

    >>> to_table([{"path": "a.png", "error": "no such file"}]).schema.field("score").type
    DataType(double)
    """
    arrow = locations.pyarrow_or_advice()
    kinds = {float: arrow.float64(), int: arrow.int64(), bool: arrow.bool_()}
    hints = get_type_hints(PredictionRecord)
    known = {name: [kinds[one] for one in get_args(hint) if one in kinds] for name, hint in hints.items()}
    schema = arrow.schema([(name, (known.get(name) or [arrow.string()])[0]) for name in COLUMNS])
    return arrow.Table.from_pylist(list(rows), schema)


def _check_head(folder: str, found: Any, wanted: Mapping[str, Any]) -> None:
    known = found if isinstance(found, dict) else {}
    differ = [name for name in wanted if known.get(name) != wanted[name]]
    if differ:
        raise ConfigError(
            f"{folder}: a run with another {', '.join(differ)}; give the same options and inputs, or another folder"
        )
