"""The rows of a run as they come: appended one by one, so that a run that is killed can go on where it was.

A table ``rows.csv`` grows as ``rows.csv.partial``, JSON lines under a head that says what they were made with. It
becomes the table when all rows are there, which then appears as a whole.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from differnet.data.files import TakenError, open_locked
from differnet.decision.verdict import PredictionRecord
from differnet.errors import ConfigError, warn

COLUMNS = (
    "path",
    *(name for name in PredictionRecord._fields if name != "review_threshold"),
    "error",
    "note",
)
Row = dict[str, Any]
SUFFIX = ".partial"
_SYNC_EVERY = 1.0  # seconds; a killed process loses nothing, a power cut what was written since
_IN_MEMORY = 8 * 2**20


class Rows:
    """Rows put aside one by one in constant memory; counts them, by what was said of them."""

    def __init__(self, file: IO[bytes], start: int = 0) -> None:
        self._file = file
        self._start = start
        self.count = self.flagged = self.to_review = self.skipped = 0

    def add(self, row: Row) -> None:
        """Put one row aside."""
        self._file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        self.tally(row)

    def tally(self, row: Row) -> None:
        """Count a row that is there."""
        self.count += 1
        self.flagged += bool(row["is_defective"])
        self.to_review += row.get("verdict") == "review"
        self.skipped += row["error"] is not None

    def __iter__(self) -> Iterator[Row]:
        self._file.seek(self._start)
        for line in self._file:
            yield json.loads(line)


class Journal(Rows):
    """Rows in a file beside the table that they will be; see :func:`journal`."""

    def __init__(self, path: Path, file: IO[bytes], start: int) -> None:
        super().__init__(file, start)
        self.path = path
        self._synced = time.monotonic()

    def add(self, row: Row) -> None:
        """Append one row, which is safe from a kill when this returns; an error names the file."""
        try:
            _write_all(self._file, json.dumps(row, allow_nan=False).encode() + b"\n")
            if time.monotonic() - self._synced > _SYNC_EVERY:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise OSError(error.errno, f"cannot write {self.path}: {error.strerror}") from error
        self.tally(row)

    def move(self, to: IO[bytes]) -> None:
        """Copy what there is to another file, and close this one."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, to)
        self._file.close()
        self._file = to

    def close(self) -> None:
        """Close the file, and give up its lock."""
        self._file.close()

    def __iter__(self) -> Iterator[Row]:
        self._file.seek(self._start)
        with io.BufferedReader(_Borrowed(self._file)) as lines:
            for line in lines:
                yield json.loads(line)


def spool() -> Rows:
    """Return a place for rows that will not be a file; on disk when they are many."""
    return Rows(tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+b"))


def partial_of(table: Path) -> Path:
    """Return where the rows of ``table`` are while it is not complete."""
    return table.with_name(table.name + SUFFIX)


@contextmanager
def journal(table: Path, made_with: Mapping[str, Any], resume: bool) -> Iterator[Journal]:
    """Open the rows of ``table``: those of a run that was broken off if ``resume``, or none.

    When the block ends well the file is removed: the rows stand in the table, and can still be iterated. When it does
    not, a warning says where they are kept. Raises :class:`ConfigError` for rows of a run that was broken off
    when they are not asked for, for those of another model or of other options, and while another run writes them.
    """
    path = partial_of(table)
    file = _open(path)  # stays open as long as its rows are wanted
    try:
        if not resume and os.fstat(file.fileno()).st_size:
            raise ConfigError(
                f"{path}: rows of a run that was broken off; go on with --resume, or remove the file"
            )
        rows = _take_up(path, file, dict(made_with))
    except BaseException:
        file.close()
        raise
    try:
        yield rows
    except BaseException:
        if rows.count:
            message = f"{rows.count} rows are kept in {path}; --resume goes on from there"
            warn(message)
        else:
            _remove(path, rows)
        rows.close()
        raise
    _remove(path, rows)


def head_of(table: Path) -> dict[str, Any]:
    """Return what the rows of ``table`` that a run left behind were made with; nothing where there are none."""
    with suppress(OSError), partial_of(table).open("rb") as file:
        return _parsed(file.readline()) or {}
    return {}


def _remove(path: Path, rows: Journal) -> None:
    """Remove the file while it is locked; where an open file cannot be removed (Windows), its rows move first."""
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        rows.move(tempfile.TemporaryFile())  # noqa: SIM115  open as long as its rows are wanted
        path.unlink(missing_ok=True)


def _open(path: Path) -> io.FileIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file: io.FileIO = open_locked(path, lambda name: io.FileIO(name, "a+"))  # no buffer: a row is
        return file  # with the system when it is written
    except TakenError as error:
        raise ConfigError(f"{path}: another run is writing this table") from error
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error


def _take_up(path: Path, file: io.FileIO, made_with: dict[str, Any]) -> Journal:
    """Read what is there, cut off a last line that was not finished, and count the rows."""
    file.seek(0)
    with io.BufferedReader(_Borrowed(file)) as lines:
        head = lines.readline()
        if not head.endswith(b"\n"):  # nothing, or a head that was being written
            _truncate(path, file, 0)
            head = json.dumps(made_with, sort_keys=True).encode() + b"\n"
            try:
                _write_all(file, head)
            except OSError as error:
                raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
            return Journal(path, file, len(head))
        found = _parsed(head)
        if found != json.loads(json.dumps(made_with)):
            raise ConfigError(f"{path}: {_difference(found, made_with)}; remove the file to start anew")
        rows, whole = Journal(path, file, len(head)), len(head)
        for line in lines:
            row = _parsed(line) if line.endswith(b"\n") else None
            if row is None or not {"path", "is_defective", "error"} <= row.keys():
                if lines.read(1):
                    raise ConfigError(
                        f"{path}: row {rows.count + 1} is damaged; remove the file to start anew"
                    )
                break
            rows.tally(row)
            whole += len(line)
    _truncate(path, file, whole)
    return rows


class _Borrowed(io.RawIOBase):
    """A file to read from that stays open when its reader is closed."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer) or 0


def _truncate(path: Path, file: io.FileIO, size: int) -> None:
    try:
        file.truncate(size)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error


def _write_all(file: IO[bytes], content: bytes) -> None:
    """Write to a file without a buffer, which may take a part at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _parsed(line: bytes) -> dict[str, Any] | None:
    with suppress(ValueError, RecursionError):
        found = json.loads(line)
        return found if isinstance(found, dict) else None
    return None


def _difference(found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> str:
    names = [name for name in wanted if (found or {}).get(name) != wanted[name]]
    return f"rows of a run with another {', '.join(names) or 'version of differnet'}"
