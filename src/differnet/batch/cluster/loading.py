"""From the inventory to squares: images are read wherever they are, decoded, and brought to one size.

What cannot be read or decoded gives the reason in place of a square. A square holds the very numbers that the detector
would have made of the image itself, so scores do not depend on where it was decoded.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from differnet.batch.cluster import locations, patience
from differnet.batch.cluster.inventory import CONTENT_COLUMNS, Entry, shown
from differnet.config.sections import Views
from differnet.data.decoding import decode, decode_content
from differnet.data.formats.levels import Scale
from differnet.data.pixels import Pixels
from differnet.data.square import Shape, kind_of, to_square
from differnet.errors import ImageError, in_a_line, noting

Square = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
_AHEAD = 8 * 2**20  # bytes that are read at a time of a tar
_TOGETHER = 32  # rows of a Parquet table that are held at a time


class Taken(NamedTuple):
    """One input: a square (3, *canvas), or the reason why there is none; ``note``: see :class:`Prediction`."""

    name: str
    square: Square | None
    reason: str | None
    note: str | None = None


def squares(entries: Sequence[Entry], canvas: Shape, views: Views) -> Iterator[Taken]:
    """Yield every entry of a part in order, one in memory at a time."""
    for (kind, place), group in groupby(entries, lambda entry: (entry.kind, entry.place)):
        some = list(group)
        if kind == "tar":
            yield from _of_tar(place, some, canvas, views)
        elif kind == "parquet":
            yield from _of_table(place, some, canvas, views)
        else:
            for entry in some:
                yield _take(entry, _reader(entry, views), canvas, views)


def _reader(entry: Entry, scale: Scale) -> Callable[[], Pixels]:
    """Return what decodes an image file, or raises the reason that is known already."""

    def read() -> Pixels:
        if entry.reason is not None:
            raise ImageError(entry.reason)
        if not locations.is_remote(entry.place):
            return decode(Path(entry.place), name=entry.name, scale=scale)
        content = _patiently(lambda: locations.read(entry.place), entry.name)
        return decode_content(content, entry.name, scale)

    return read


def _of_tar(place: str, entries: Sequence[Entry], canvas: Shape, views: Views) -> Iterator[Taken]:
    with _Tar(place) as tar:
        try:
            _patiently(tar.open, place)
        except ImageError as error:
            yield from (Taken(entry.name, None, str(error)) for entry in entries)
            return
        for entry in entries:

            def read(entry: Entry = entry) -> Pixels:
                content = _patiently(lambda: tar.cut(entry.at, entry.size), entry.name)
                if len(content) < entry.size:
                    raise ImageError(f"{entry.name}: the tar breaks off in this image")
                return decode_content(content, entry.name, views)

            yield _take(entry, read, canvas, views)


class _Tar:
    """A tar that is read piece by piece; after a read that broke it is opened anew, for it may be anywhere then."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._raw: Any = None
        self._file: io.BufferedReader | None = None

    def __enter__(self) -> _Tar:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def open(self) -> io.BufferedReader:
        """Open it where it is not open; raises :class:`OSError`."""
        if self._file is None:
            self._raw = locations.opened_for_reading(self._place)
            self._file = io.BufferedReader(locations.Raw(self._raw), _AHEAD)
        return self._file

    def cut(self, at: int, size: int) -> bytes:
        """Return the bytes at a place, fewer where the tar ends before; raises :class:`OSError`."""
        file = self.open()
        try:
            file.seek(at)
            return file.read(size)
        except OSError:
            self._close()
            raise

    def _close(self) -> None:
        raw, self._file, self._raw = self._raw, None, None
        if raw is not None:
            with suppress(OSError):
                raw.close()


def _of_table(place: str, entries: Sequence[Entry], canvas: Shape, views: Views) -> Iterator[Taken]:
    """Yield rows of a table, which are in order but where it is named twice: then they begin anew."""
    start = 0
    for end in range(1, len(entries) + 1):
        if end == len(entries) or entries[end].at != entries[end - 1].at + 1:
            yield from _in_a_row(place, entries[start:end], canvas, views)
            start = end


def _in_a_row(place: str, entries: Sequence[Entry], canvas: Shape, views: Views) -> Iterator[Taken]:
    """Yield rows that follow each other; whatever the table is, each has its own answer."""
    done, reason = 0, "the table has no such row any more"
    try:
        for content in _insisting(place, entries[0].at, entries[-1].at):
            entry, done = entries[done], done + 1
            yield _take(entry, partial(_of_cell, content, entry, views), canvas, views)
    except ImageError as error:
        reason = str(error)
    for entry in entries[done:]:
        yield Taken(entry.name, None, shown(f"{entry.name}: {reason}"))


def _insisting(place: str, first: int, last: int) -> Iterator[Any]:
    """Yield the images in rows ``first`` to ``last``; a read that breaks midway is tried again from where it broke.

    Raises :class:`ImageError` when a few tries came to nothing.
    """
    rows, failures = _contents(place, first, last), 0
    while True:
        try:
            content = next(rows)
        except StopIteration:
            return
        except ImageError:
            raise
        except Exception as error:  # a damaged table makes libraries raise whatever they stumble over
            failures += 1
            if failures == patience.TRIES or not isinstance(error, OSError):
                raise ImageError(f"the table cannot be read: {in_a_line(error)}") from error
            time.sleep(patience.PAUSE * 2 ** (failures - 1))
            rows = _contents(place, first, last)
        else:
            first, failures = first + 1, 0
            yield content


def _contents(place: str, first: int, last: int) -> Iterator[Any]:
    """Yield the images in rows ``first`` to ``last`` of a table, a few rows in memory at a time."""
    arrow = locations.pyarrow_or_advice()
    with _patiently(lambda: locations.opened_for_reading(place), place) as file:
        table = arrow.parquet.ParquetFile(file)
        column = next((name for name in CONTENT_COLUMNS if name in table.schema_arrow.names), None)
        if column is None:
            raise ImageError(f"the table has no column of images any more ({', '.join(CONTENT_COLUMNS)})")
        start = 0
        for number in range(table.metadata.num_row_groups):
            end = start + table.metadata.row_group(number).num_rows
            if start <= last and end > first:
                at = start
                for batch in table.iter_batches(_TOGETHER, row_groups=[number], columns=[column]):
                    for value in batch.column(0):
                        if first <= at <= last:
                            yield value
                        at += 1
            start = end


def _of_cell(content: Any, entry: Entry, scale: Scale) -> Pixels:
    """Decode a cell: bytes, or a struct with them, as tables of Hugging Face have it."""
    content = content.as_py()
    if isinstance(content, dict):
        content = content.get("bytes")
    if not isinstance(content, bytes):
        raise ImageError(f"{entry.name}: {type(content).__name__} in place of the bytes of an image")
    return decode_content(content, entry.name, scale)


def _take(entry: Entry, read: Callable[[], Pixels], canvas: Shape, views: Views) -> Taken:
    try:
        with noting() as notes:
            square = to_square(read(), canvas, views)
    except (ImageError, UnicodeDecodeError) as error:  # text in place of bytes that is none
        return Taken(entry.name, None, shown(str(error)))
    kept: Square = square.astype(kind_of(views))
    return Taken(entry.name, kept, None, notes.text)


def _patiently(work: Callable[[], Any], name: str) -> Any:
    """Try a few times; the reason why it did not work as :class:`ImageError`."""
    try:
        return patience.patiently(work)
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file; an image file was wanted") from error
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {str(error).partition(chr(10))[0]}") from error
