"""Pictures that a browser sends: from the network to the disk a piece at a time, whole or not at all."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from differnet.errors import ConfigError

_NO_NAME = re.compile(r"[^\w. ()+,@=-]")
_LONGEST = 120  # characters of a name
_SPARE = 256 * 2**20  # bytes of the disk that are left to others
_NAMING = threading.Lock()


class TooLargeError(ConfigError):
    """More bytes than are taken, of one picture or of all."""


def safe_name(name: str) -> str:
    """Return a name for a file that means no folder and is not hidden; its end stays.

    >>> safe_name("../../etc/passwd.png"), safe_name(".hidden"), safe_name("C:\\\\parts\\\\a b.tif")
    ('passwd.png', 'hidden', 'a b.tif')
    """
    last = re.split(r"[/\\\\]", name)[-1]
    plain = _NO_NAME.sub("_", last).strip(" .") or "picture"
    stem, suffix = os.path.splitext(plain)  # noqa: PTH122
    return stem[: _LONGEST - len(suffix[:20])] + suffix[:20]


class Uploads:
    """Takes pictures, each of at most ``image_bytes``, all of them at most ``all_bytes``."""

    def __init__(self, image_bytes: int, all_bytes: int, folder: Path) -> None:
        self._image_bytes, self._all_bytes = image_bytes, all_bytes
        for one in folder.rglob(".*.part"):
            one.unlink(missing_ok=True)
        self._held = sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())

    async def receive(self, chunks: AsyncIterator[bytes], folder: Path, name: str) -> Path:
        """Write what comes into ``folder`` and return the file; of what breaks off nothing is left.

        Of two of one name the second gets a number. Raises :class:`TooLargeError`, and :class:`ConfigError` for nothing
        at all.
        """
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        temporary = folder / f".{os.urandom(8).hex()}.part"
        size = 0
        try:
            with temporary.open("xb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    self._check(size, len(chunk), name, folder)
                    await asyncio.to_thread(file.write, chunk)
            if not size:
                raise ConfigError(f"{name}: the file is empty")
            return await asyncio.to_thread(_named, temporary, folder, safe_name(name))
        except BaseException:
            self._held -= size
            raise
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _check(self, size: int, new: int, name: str, folder: Path) -> None:
        self._held += new
        if size > self._image_bytes:
            raise TooLargeError(f"{name}: more than the {self._image_bytes:,} bytes that a picture may have")
        if self._held > self._all_bytes:
            raise TooLargeError(
                f"{name}: with it more than the {self._all_bytes:,} bytes that may be sent in all; choose the folder "
                "on the machine instead, or start the studio with --max-upload-bytes"
            )
        if size == new and shutil.disk_usage(folder).free < _SPARE:
            raise TooLargeError(f"{name}: the disk of {folder} is nearly full")


def _named(temporary: Path, folder: Path, name: str) -> Path:
    """Give a file its name, or one with a number where that is taken."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    with _NAMING:
        target, number = folder / name, 2
        while target.exists():
            target, number = folder / f"{stem} ({number}){suffix}", number + 1
        return temporary.replace(target)
