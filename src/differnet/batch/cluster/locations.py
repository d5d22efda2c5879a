"""Where files are: paths here, and URIs of object stores (``s3://``, ``gs://``, ``abfs://``) through pyarrow.

Credentials come from the environment, or from what the machine is (its role), and are never passed on. S3 takes
``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` for another service that speaks its language.
"""

from __future__ import annotations

import atexit
import io
import os
import re
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from differnet.data.files import write_whole
from differnet.errors import ConfigError, MissingExtraError

PIP = "pip install 'differnet[ray]'"
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: C:// is a drive
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def is_remote(place: str) -> bool:
    """Whether a place is a URI of something other than a file of this machine.

    >>> is_remote("s3://bucket/tiles"), is_remote("file:///tiles"), is_remote("tiles/001.png")
    (True, False, False)
    """
    return bool(_SCHEME.match(place)) and not place.lower().startswith("file://")


def local(place: str) -> str:
    """Return a path for a place that is not remote; ``file://`` URIs become paths.

    >>> local("file:///tiles/a%20b.png")
    '/tiles/a b.png'
    """
    if not place.lower().startswith("file://"):
        return place
    parts = urlsplit(place)
    if parts.netloc not in ("", "localhost"):
        raise ConfigError(f"{place}: a file of this machine was wanted, file:///PATH")
    return unquote(parts.path)


def pyarrow_or_advice() -> Any:
    """Import pyarrow with its file systems; raises :class:`MissingExtraError` without it."""
    try:
        import pyarrow
        import pyarrow.fs
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(f"Parquet and object stores need pyarrow: {PIP}") from error
    return pyarrow


class Raw(io.RawIOBase):
    """A file of pyarrow or Python as :class:`io.BufferedReader` wants it; closing it is not closing that."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether one can go to any byte: yes."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte; return where that is."""
        self._file.seek(offset, whence)
        return int(self._file.tell())

    def tell(self) -> int:
        """Return where it is."""
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there is something; return how far."""
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def opened_for_reading(place: str) -> Any:
    """Open a file anywhere to be read at any byte; raises :class:`OSError` for what cannot be read."""
    if not is_remote(place):
        return Path(local(place)).open("rb")
    system, path = _system_and_path(place)
    return system.open_input_file(path)


def listing(place: str) -> list[tuple[str, int]]:
    """Return the files at or below a URI with their sizes in bytes, sorted; hidden ones are left out.

    Raises :class:`FileNotFoundError` where there is nothing.
    """
    fs = pyarrow_or_advice().fs
    system, path = _system_and_path(place)
    info = system.get_file_info(path)
    if info.type == fs.FileType.File:
        return [(place, int(info.size))]
    if info.type == fs.FileType.NotFound:
        raise FileNotFoundError(f"{place}: no such file or folder")
    head = place.rstrip("/")
    found = []
    for below in system.get_file_info(fs.FileSelector(path, recursive=True)):
        inner = below.path[len(path.rstrip("/")) :].lstrip("/")
        if below.type == fs.FileType.File and not any(p.startswith(".") for p in inner.split("/")):
            found.append((f"{head}/{inner}", int(below.size)))
    return sorted(found, key=lambda one: PurePosixPath(one[0]).parts)


def names_in(folder: str) -> set[str]:
    """Return the names of the files in a folder anywhere; nothing where there is no folder."""
    if not is_remote(folder):
        path = local(folder)
        return set(os.listdir(path)) if os.path.isdir(path) else set()  # noqa: PTH112, PTH208
    fs = pyarrow_or_advice().fs
    system, path = _system_and_path(folder)
    selector = fs.FileSelector(path, allow_not_found=True)
    return {info.base_name for info in system.get_file_info(selector) if info.type == fs.FileType.File}


def within(folder: str, name: str) -> str:
    """Return the place of ``name`` in a folder anywhere.

    >>> within("s3://bucket/rows/", "part.parquet")
    's3://bucket/rows/part.parquet'
    """
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else os.path.join(local(folder), name)  # noqa: PTH118


def read(place: str) -> bytes:
    """Read a file anywhere as a whole; raises :class:`OSError` for what cannot be read."""
    with opened_for_reading(place) as file:
        content: bytes = file.read()
        return content


def fetched(place: str) -> Path:
    """Return a path to a file anywhere: a copy of one that is not here, which goes when this process ends."""
    if not is_remote(place):
        return Path(local(place))
    folder = tempfile.mkdtemp(prefix="differnet-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = Path(folder, place.rpartition("/")[2])
    copy.write_bytes(read(place))
    return copy


def write(place: str, content: bytes) -> None:
    """Write a file anywhere, whole or not at all: renamed into place here, one put in an object store."""
    if not is_remote(place):
        write_whole(local(place), content)
        return
    system, path = _system_and_path(place)
    with system.open_output_stream(path) as file:
        file.write(content)


def _system_and_path(place: str) -> tuple[Any, str]:
    scheme, _, rest = place.partition("://")
    if scheme.lower() in ("s3", "s3a", "s3n"):
        return _s3(_region(rest.partition("/")[0])), rest.rstrip("/")
    arrow = pyarrow_or_advice()
    try:
        system, path = arrow.fs.FileSystem.from_uri(place)
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError) as error:
        raise ConfigError(
            f"{place}: no place that can be read ({error}); s3://, gs:// and abfs:// are"
        ) from error
    return system, path.rstrip("/")


@lru_cache(maxsize=64)
def _region(bucket: str) -> str:
    """Return the region of a bucket: as the environment says, or as S3 itself does."""
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if named or any(os.environ.get(name) for name in _ENDPOINTS):
        return named or "us-east-1"
    found: str = pyarrow_or_advice().fs.resolve_s3_region(bucket)
    return found


@lru_cache(maxsize=8)
def _s3(region: str) -> Any:
    """Open S3 once a region and process; pyarrow itself does not look at the endpoint of the environment."""
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
    fs = pyarrow_or_advice().fs
    return fs.S3FileSystem(region=region, endpoint_override=endpoint)
