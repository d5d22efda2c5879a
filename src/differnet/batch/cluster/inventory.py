"""What there is to score, listed once in a stable order: images in folders, in tar shards and in Parquet tables.

The inventory is a table with one row an image, cut into parts of equal length. Parts are what a run that was broken off
lacks or has, so the same inputs must give the same inventory: it carries a digest of names and sizes.

| kind | what it stands for | name of an image |
|---|---|---|
| file | one image file | its path or URI |
| tar | an image in an uncompressed tar, such as a shard of WebDataset | ``SHARD::NAME`` |
| parquet | a row of a Parquet table with a column of bytes | ``TABLE::NUMBER`` |
| none | something that cannot be scored; the reason says why | its path or URI |
| left | what is no image in a tar: no row, but said with a count | its path or URI |
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from differnet.batch.cluster import locations
from differnet.batch.cluster.patience import patiently
from differnet.data.decoding import HEAD, is_image_head
from differnet.data.images import are_left_out, find, is_being_written, is_image_name
from differnet.errors import ImageError, counted, in_a_line, warn

SHARDS = (".tar", ".parquet")
CONTENT_COLUMNS = ("image", "bytes", "content", "jpg", "jpeg", "png")
_AHEAD = 2**20  # bytes that are read at a time of a tar while it is listed
_MOST = 2**31  # bytes of an image


class Entry(NamedTuple):
    """One row of the inventory. ``at``: first byte in a tar, or number of the row; ``size``: bytes, -1 if unknown."""

    name: str
    place: str
    kind: str
    at: int = 0
    size: int = -1
    reason: str | None = None


def entries_of(inputs: Iterable[str]) -> list[Entry]:
    """List files, shards and tables at or below ``inputs``, in their order; those of a folder are sorted.

    A folder stands for its images, or for its shards and tables where it has no image. What cannot be found has an
    entry that says so.
    """
    found: list[Entry] = []
    for place in inputs:
        found += _remote(place) if locations.is_remote(place) else _local(locations.local(place))
    return found


def digest_of(entries: Iterable[Entry]) -> str:
    """Return the SHA-256 of names, sizes and kinds, in their order."""
    total = hashlib.sha256()
    for entry in entries:
        total.update(f"{entry.name}\0{entry.kind}\0{entry.size}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def unpacked(entry: Entry) -> list[Entry]:
    """Return what is inside a shard or table, and anything else as it is; a place that fails is tried a few times."""
    if entry.kind not in ("tar", "parquet"):
        return [entry]
    try:
        return patiently(lambda: list(_members(entry)) if entry.kind == "tar" else _rows(entry))
    except OSError as error:
        reason = error.strerror or str(error)
    except Exception as error:  # a damaged one makes libraries raise whatever they stumble over
        reason = in_a_line(error)
    return [entry._replace(kind="none", reason=f"{entry.name}: cannot be read: {reason}")]


def table_of(
    entries: Sequence[Entry], unpack: Callable[[list[Entry]], Iterable[list[Entry]]] | None = None
) -> Any:
    """Return the inventory, a ``pyarrow.Table`` with one row an image; ``unpack`` maps :func:`unpacked` over shards."""
    shards = [entry for entry in entries if entry.kind in ("tar", "parquet")]
    inside = iter(unpack(shards) if unpack else map(unpacked, shards))
    left: list[Entry] = []

    def rows() -> Iterator[Entry]:
        for entry in entries:
            for one in next(inside) if entry.kind in ("tar", "parquet") else [entry]:
                if one.kind == "left":
                    left.append(one)
                else:
                    yield one

    table = table_of_rows(rows())
    if left:
        said = are_left_out(sum(one.size for one in left), f"in {counted(len(left), 'tar')}")
        warn(f"{said}, such as {left[0].reason}")
    return table


def table_of_rows(entries: Iterable[Entry]) -> Any:
    """Return entries as they are, in a ``pyarrow.Table`` that keeps what is the same in many of them once."""
    arrow = locations.pyarrow_or_advice()
    columns: dict[str, list[Any]] = {name: [] for name in Entry._fields}
    for one in entries:
        plain = one._replace(name=shown(one.name), reason=one.reason and shown(one.reason))._asdict()
        for name, value in (plain | {"place": os.fsencode(one.place)}).items():
            columns[name].append(value)
    return arrow.table(columns, _schema(arrow))


def entries_in(table: Any) -> list[Entry]:
    """Return the rows of a part of the inventory."""
    return [Entry(**(row | {"place": os.fsdecode(row["place"])})) for row in table.to_pylist()]


def shown(text: str) -> str:
    r"""Return text that UTF-8 can hold; bytes of names that are none become ``\\xNN``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _schema(arrow: Any) -> Any:
    text, number = arrow.string(), arrow.int64()
    often = arrow.dictionary(arrow.int32(), text)  # a shard stands there once for all that is in it
    kinds = {
        "name": text,
        "place": arrow.binary(),
        "kind": often,
        "at": number,
        "size": number,
        "reason": often,
    }
    return arrow.schema(list(kinds.items()))


def _local(place: str) -> list[Entry]:
    kind = _kind(place)
    if kind and os.path.isfile(place):  # noqa: PTH113
        return [_file(place, kind)]
    try:
        return [_file(str(path), "file") for path in find(place, strict=False)]
    except ImageError as error:
        shards = sorted(p for p in Path(place).rglob("*") if _is_shard(p.relative_to(place)) and p.is_file())
        return [_file(str(p), p.suffix[1:]) for p in shards] or [
            Entry(place, place, "none", reason=str(error))
        ]


def _file(path: str, kind: str) -> Entry:
    try:
        size = os.stat(path).st_size  # noqa: PTH116
    except (OSError, ValueError):  # what is wrong is said when it is read
        size = -1
    return Entry(path, os.path.abspath(path), kind, size=size)  # noqa: PTH100


def _remote(place: str) -> list[Entry]:
    try:
        files = locations.listing(place)
    except OSError as error:
        return [Entry(place, place, "none", reason=f"{place}: {error.strerror or 'no such file or folder'}")]
    if [uri for uri, _ in files] == [place]:
        return [Entry(place, place, _kind(place) or "file", size=files[0][1])]
    images = [Entry(uri, uri, "file", size=n) for uri, n in files if _is_image(uri)]
    shards = [Entry(uri, uri, _kind(uri), size=n) for uri, n in files if _is_shard(PurePosixPath(uri))]
    if images and shards:
        message = f"{place}: {len(shards)} shards are left out, since there are images; name them to have them scored"
        warn(message)
    known = {entry.place for entry in (*images, *shards)}
    others = [uri for uri, _ in files if uri not in known]
    if others and known:
        warn(f"{place}: {are_left_out(len(others))}, such as {others[0]}")
    wanted = f"{place}: no image found among {counted(len(files), 'file')}, and none of {', '.join(SHARDS)}"
    return images or shards or [Entry(place, place, "none", reason=wanted)]


def _is_image(uri: str) -> bool:
    """Whether a file elsewhere is an image, by its suffix, or else by its first bytes."""
    name = PurePosixPath(uri).name
    if is_image_name(name):
        return True
    if is_being_written(name) or PurePosixPath(name).suffix.lower() in SHARDS:
        return False
    try:
        with locations.opened_for_reading(uri) as file:
            return is_image_head(file.read(HEAD))
    except OSError:
        return False


def _is_image_in(tar: Any, member: tarfile.TarInfo) -> bool:
    """Whether a file in a tar is an image, by its suffix, or else by its first bytes; the place in the tar stays."""
    name = PurePosixPath(member.name).name
    if is_image_name(name) or name.startswith(".") or is_being_written(name) or member.issparse():
        return is_image_name(name)
    at = tar.tell()
    tar.seek(member.offset_data)
    head = tar.read(min(HEAD, member.size))
    tar.seek(at)
    return is_image_head(head)


def _kind(place: str) -> str:
    """Return tar or parquet, or nothing."""
    suffix = PurePosixPath(place).suffix.lower()
    return suffix[1:] if suffix in SHARDS else ""


def _is_shard(path: PurePosixPath | Path) -> bool:
    hidden = not path.is_absolute() and any(part.startswith((".", "_")) for part in path.parts)
    return path.suffix in SHARDS and not hidden


def _members(shard: Entry) -> Iterator[Entry]:
    """Yield the images of a tar by its headers, unpacking nothing; the last says so where the tar breaks off."""
    count, left, first = 0, 0, ""
    try:
        with (
            locations.opened_for_reading(shard.place) as raw,
            io.BufferedReader(locations.Raw(raw), _AHEAD) as file,
            tarfile.open(fileobj=file, mode="r:") as tar,
        ):
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
                if not member.isreg():
                    continue
                if not _is_image_in(file, member):
                    left, first = left + 1, first or member.name
                    continue
                count += 1
                yield _member(shard, member)
    except (tarfile.TarError, ValueError, EOFError, RecursionError) as error:
        reason = f"{shard.name}: broken off or no uncompressed tar ({error}), after {count} images"
        yield shard._replace(kind="none", reason=reason)
        return
    if not count:
        yield shard._replace(kind="none", reason=f"{shard.name}: a tar without an image")
    elif left:
        yield shard._replace(kind="left", size=left, reason=f"{shard.name}::{first}")


def _member(shard: Entry, member: tarfile.TarInfo) -> Entry:
    name, reason = f"{shard.name}::{member.name}", None
    if member.issparse() or member.size > _MOST:
        reason = f"{name}: {'a sparse file' if member.issparse() else f'{member.size:,} bytes'}; an image was wanted"
    return Entry(name, shard.place, "none" if reason else "tar", member.offset_data, member.size, reason)


def _rows(shard: Entry) -> list[Entry]:
    arrow = locations.pyarrow_or_advice()
    try:
        with locations.opened_for_reading(shard.place) as file:
            table = arrow.parquet.ParquetFile(file)
            count, names = table.metadata.num_rows, table.schema_arrow.names
    except arrow.ArrowException as error:
        return [shard._replace(kind="none", reason=f"{shard.name}: no Parquet table ({shown(str(error))})")]
    if not set(names) & set(CONTENT_COLUMNS):
        reason = f"{shard.name}: no column of images ({', '.join(CONTENT_COLUMNS)}); found {', '.join(names)}"
        return [shard._replace(kind="none", reason=reason)]
    if not count:
        return [shard._replace(kind="none", reason=f"{shard.name}: a table without rows")]
    return [Entry(f"{shard.name}::{row}", shard.place, "parquet", row) for row in range(count)]
