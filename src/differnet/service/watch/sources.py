"""What images come from without anybody's hand: what one brings along, and what was seen before.

An image is known by its *key*, which is recorded at most once for a model: that is what "exactly once" rests on.

| from | key | so that |
|---|---|---|
| a folder | label, path below it, SHA-256 of the bytes | other content under the same name is another part |
| a video file | SHA-256 of the file, number of the frame | the same video by another name is the same video |
| a camera | label, time of the frame | no two frames are one |

A folder's *stamps* spare reading all of its files again when the watch starts: a file whose size, times and number are
those of its stamp is as it was. They are kept together with the row of the image, so that neither is without the other.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Literal, Protocol

from differnet.errors import ConfigError
from differnet.service.record.inspection import Received

Kind = Literal["folder", "video", "camera"]
_URL = re.compile(r"(rtsps?|https?|rtmps?|udp|tcp)://", re.IGNORECASE)
_LONGEST = 600  # characters of a name in a key; a digest takes the place of longer ones
_CHUNK = 2**20


@dataclass(frozen=True)
class Stamp:
    """A file as the file system shows it, and the SHA-256 of its bytes; ``path``: below the folder, with slashes."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    digest: str = field(default="", compare=False)

    @classmethod
    def of(cls, path: str, found: os.stat_result, digest: str = "") -> Stamp:
        """Return the stamp of a file from its ``stat``."""
        return cls(path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, digest)

    @property
    def wherever(self) -> tuple[int, int, int]:
        """What stays as it is when the file gets another name."""
        return self.inode, self.size, self.mtime_ns


@dataclass(frozen=True, kw_only=True)
class Arrival(Received):
    """One image, or the reason why it cannot be judged; one of a folder with its ``stamp``."""

    stamp: Stamp | None = None


class Memory(Protocol):
    """What was seen before, also by processes that were killed since."""

    def seen(self, key: str) -> bool:
        """Whether the image with this key has its row."""

    def stamps(self) -> list[Stamp]:
        """Return what is known of the files of the folder."""

    def remember(self, stamps: Sequence[Stamp], forget: Sequence[str] = ()) -> None:
        """Keep stamps of files that have their row, and forget those of other paths."""


class Input(Protocol):
    """A folder, a video or a camera."""

    def arrivals(self, stop: Event, once: bool) -> Iterator[Arrival]:
        """Yield each image that was not seen before, until ``stop``; ``once``: those that are there now."""

    @property
    def left(self) -> int | None:
        """How many images are known to be waiting; nothing when that cannot be known."""


def kind_of(source: str) -> Kind:
    """Tell folder, video and camera apart; raises :class:`ConfigError` for neither."""
    if _URL.match(source) or source.startswith("/dev/video"):
        return "camera"
    path = Path(source)
    if path.is_dir():
        return "folder"
    if path.is_file():
        return "video"
    raise ConfigError(
        f"{source}: no such folder or file; a folder of images, a video file or the URL of a camera (rtsp://, http://, "
        "/dev/video0) was wanted"
    )


def key_of(label: str, name: str, digest: str) -> str:
    """Return the key of a file.

    >>> key_of("line 1", "a/b.png", "9f")
    'line 1/a/b.png#9f'
    """
    place = f"{label}/{name}"
    if len(place) > _LONGEST:
        place = hashlib.sha256(place.encode()).hexdigest()
    return f"{place}#{digest}"


def digest_of(path: Path, stop: Event) -> str:
    """Return the SHA-256 of a file of any size; what it returns after ``stop`` means nothing."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while not stop.is_set() and (chunk := file.read(_CHUNK)):
            total.update(chunk)
    return total.hexdigest()


def writable(name: str) -> str:
    """Return a name as text that can be written anywhere, whatever bytes it has.

    >>> writable("a\\udcff.png")
    'a\\\\xff.png'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")
