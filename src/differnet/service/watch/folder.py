"""The images of a folder, each once: when it is complete, under its last name, whoever was killed in between.

**When a file is complete.** The system says which files change; the folder is listed from time to time as well, since
network drives say nothing. A file is taken as soon as nobody has it open for writing, which Linux tells of files on its
own disks, or when size and times did not change for ``settle`` seconds. One that cannot be decoded, or is empty, has
``patience`` seconds after its last change to become better; then it is an error, recorded once, until it changes again.

Seconds are counted here, from when a change was seen: the clock of a share may be another.

**What counts as one.** The path and the bytes: other bytes under the same name are another part, a file whose times or
rights alone changed is not. A file that gets another name after it was judged is known by its inode and its bytes
(:mod:`differnet.service.watch.known`).

**What is forgotten.** Files that were missing twice when all was listed. What could not be listed is not missing, and
when nothing that is known is there, the drive is taken to be away.

**What is left alone.** Hidden files and folders, and names that programs give to what they are writing: with ``~``
before them, ``.tmp`` before the suffix, or a suffix such as ``.part``. What is no image, by its suffix and its first
bytes, is told of once for each suffix. Links to folders are followed once.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TypeVar

from differnet.data.decoding import decode_content, opened
from differnet.data.formats.levels import OWN, Scale
from differnet.errors import ImageError, agreeing, counted, noting
from differnet.service.record.inspection import Tell
from differnet.service.watch.file_events import Hints, is_closed
from differnet.service.watch.insist import insist
from differnet.service.watch.known import KnownFiles
from differnet.service.watch.left_out import LeftOut, is_left_alone
from differnet.service.watch.listing import Listing
from differnet.service.watch.sources import Arrival, Memory, Stamp, key_of, writable

Result = TypeVar("Result")
_MOST_BYTES = 2**30
_RESCAN = 30.0  # seconds, or longer where listing takes long
_BEGINNING = Stamp("", 0, 0, 0, 0)  # remembered: the files that were there before the first start are known


@dataclass
class _Waiting:
    """A file that is looked at again: its stamp, since when it has that, and when to look."""

    stamp: Stamp
    since: float
    look: float = 0.0


class Folder:
    """The images at and below ``root``, by a ``label`` that goes into their keys.

    ``only_new``: what was there before the first start is not judged.
    """

    def __init__(
        self,
        root: Path,
        label: str,
        memory: Memory,
        tell: Tell,
        settle: float = 1.0,
        patience: float = 10.0,
        only_new: bool = False,
        scale: Scale = OWN,
    ) -> None:
        self.root, self.label, self.memory, self.tell = root, label, memory, tell
        self.settle, self.patience, self.only_new = settle, patience, only_new
        self._scale = scale
        self._known = KnownFiles(root, memory.stamps())
        self._waiting: dict[str, _Waiting] = {}
        self._missing: set[str] = set()
        self._stop = Event()
        self._others = LeftOut(root, tell)
        self._listing = Listing(root, self._others, tell)
        self._leases = False  # whether the system has ever said of a file here that nobody writes to it
        self._next_scan = 0.0

    @property
    def left(self) -> int:
        """How many files wait for their turn."""
        return len(self._waiting)

    def arrivals(self, stop: Event, once: bool) -> Iterator[Arrival]:
        """Yield each image that was not seen before, until ``stop``; ``once``: those that are there now."""
        self._stop = stop
        with Hints(self.root, self.tell, idle=once) as hints:
            self._begin()
            start = time.monotonic()
            while not stop.is_set():
                for path in self._complete():
                    if stop.is_set():
                        return
                    arrival = self._open(path)
                    if arrival is not None:
                        yield arrival
                        self._note(arrival.stamp)
                if once and self._is_over(start):
                    return
                for path in hints.take(0.05 if self._waiting else 0.5):
                    self._hint(path)
                self._others.tell_new()
                if time.monotonic() >= self._next_scan and not once:
                    self._scan()

    def _begin(self) -> None:
        if self.only_new and _BEGINNING.path not in self._known:
            insist(self._leave_alone, self._stop, self.tell)
        self._scan()

    def _leave_alone(self) -> None:
        """Remember what is there before the first start; raises :class:`OSError` when that cannot be listed."""
        found = self._listing.all()
        if not self._listing.is_whole:
            raise OSError(f"{self.root}: what was there before cannot be listed")
        new = [stamp for stamp in found if self._known.get(stamp.path) != stamp]
        self.memory.remember([*new, _BEGINNING])
        for stamp in (*new, _BEGINNING):
            self._known.note(stamp)
        if new:
            self.tell(
                "skipped",
                f"{counted(len(new), 'image')} {agreeing(len(new), 'was', 'were')} there before the first "
                "start: not judged",
            )

    def _is_over(self, start: float) -> bool:
        """Whether nothing waits any more, or only what has been written to for too long."""
        if self._waiting and time.monotonic() - start < 2 * self.patience + self.settle:
            return False
        for path in self._waiting:
            self.tell("left", f"{path}: still being written; left for the next time")
        return True

    def _scan(self) -> None:
        """List the folder, and forget files that were missing twice: one that moves is missing for a moment."""
        start = time.monotonic()
        self._others.begin()
        found = set()
        for stamp in self._listing.all():
            self._consider(stamp)
            found.add(stamp.path)
        self._others.end()
        known = self._known.paths() - {_BEGINNING.path}
        missing = {path for path in known - found if not self._listing.is_unlisted(path)}
        gone = [path for path in missing & self._missing if path not in self._waiting]
        self._missing = missing
        if gone and known & found:
            self._known.forget(gone)
            self._ask(lambda: self.memory.remember([], gone))
        took = time.monotonic() - start
        self._next_scan = start + max(_RESCAN, 20 * took)

    def _ask(self, what: Callable[[], Result]) -> Result:
        """Ask the memory until it answers."""
        return insist(what, self._stop, self.tell)

    def _hint(self, path: str) -> None:
        """Look at what the system says has changed."""
        name = os.path.relpath(path, self.root).replace(os.sep, "/")
        parts = name.split("/")
        if name == "." or ".." in parts or any(is_left_alone(part) for part in parts):
            return
        try:
            found = os.stat(path)  # noqa: PTH116
        except OSError:
            return
        if stat.S_ISDIR(found.st_mode):
            for stamp in self._listing.below(name):
                self._consider(stamp)
        elif self._others.is_image(stamp := Stamp.of(name, found)):
            self._consider(stamp)

    def _consider(self, stamp: Stamp) -> None:
        if self._known.get(stamp.path) == stamp:
            self._waiting.pop(stamp.path, None)
            return
        waiting = self._waiting.get(stamp.path)
        if waiting is None or waiting.stamp != stamp:
            self._waiting[stamp.path] = _Waiting(stamp, time.monotonic())

    def _complete(self) -> list[str]:
        """Return the files that can be taken: those that may have got another name, then the oldest first.

        So a file whose name is another's by now is known again before that other takes its place in memory.
        """
        found = []
        now = time.monotonic()  # the same for all, so that none overtakes an older one
        for path, waiting in list(self._waiting.items()):
            if now < waiting.look:
                continue
            try:
                stamp = Stamp.of(path, os.stat(self.root / path))  # noqa: PTH116
            except OSError:
                del self._waiting[path]  # it has gone, or got another name
                continue
            if stamp != waiting.stamp:
                waiting.stamp, waiting.since = stamp, now
            if self._is_complete(path, waiting, now):
                found.append((not self._known.has_been(stamp), stamp.mtime_ns, path))
        return [path for *_, path in sorted(found)]

    def _is_complete(self, path: str, waiting: _Waiting, now: float) -> bool:
        quiet = now - waiting.since
        if waiting.stamp.size == 0:
            return quiet >= self.patience
        closed = is_closed(self.root / path)
        self._leases |= closed is True
        if closed is False and self._leases:
            return quiet >= self.patience
        return closed is True or quiet >= self.settle

    def _open(self, path: str) -> Arrival | None:
        """Read one file; nothing when it is known, or is to be looked at again later."""
        waiting, file = self._waiting[path], self.root / path
        found = self._read(path, file)
        if found is None:
            return None
        stamp, content, error = found
        name = writable(path)
        unread = f"unread-{stamp.size}-{stamp.mtime_ns}-{stamp.ctime_ns}"
        key = key_of(writable(self.label), name, unread if content is None else stamp.digest)
        if self._is_known(stamp, key, content is not None):
            return None
        pixels, note = None, None
        if content is not None:
            try:
                with noting() as notes:
                    pixels = decode_content(content, str(file), self._scale)
                note = notes.text
            except ImageError as reason:
                error = str(reason)
        now = time.monotonic()
        if error is not None and (rest := self.patience - (now - waiting.since)) > 0:
            waiting.look = now + rest
            return None
        if not self._is_as_it_was(stamp, waiting):
            return None
        return Arrival(
            key=key,
            name=name,
            digest=stamp.digest,
            pixels=pixels,
            content=content,
            error=error,
            note=note,
            stamp=stamp,
        )

    def _read(self, path: str, file: Path) -> tuple[Stamp, bytes | None, str | None] | None:
        """Return the stamp of a file and its bytes, or why these cannot be had; nothing for a file that has gone."""
        try:
            before = os.stat(file)  # noqa: PTH116
        except OSError:
            self._waiting.pop(path, None)
            return None
        empty = hashlib.sha256(b"").hexdigest()
        if before.st_size > _MOST_BYTES:
            reason = f"{file}: {before.st_size:,} bytes; images have at most {_MOST_BYTES:,}"
            return Stamp.of(path, before, empty), None, reason
        try:
            with opened(file) as stream:
                content = stream.read(_MOST_BYTES)
        except (ImageError, OSError) as error:
            return Stamp.of(path, before, empty), None, str(error)
        return Stamp.of(path, before, hashlib.sha256(content).hexdigest()), content, None

    def _is_known(self, stamp: Stamp, key: str, is_read: bool) -> bool:
        """Whether it has its row, under this name or another that it had before."""
        same = self._known.same(stamp, is_read)
        if same is None and not self._ask(lambda: self.memory.seen(key)):
            return False
        if same is not None and not is_read:
            stamp = replace(stamp, digest=same.digest)
        forget = (
            []
            if same is None or same.path == stamp.path or self._known.get(same.path) is not same
            else [same.path]
        )
        self._ask(lambda: self.memory.remember([stamp], forget))
        self._known.forget(forget)
        self._note(stamp)
        return True

    def _is_as_it_was(self, stamp: Stamp, waiting: _Waiting) -> bool:
        """Whether the file did not change while it was read."""
        try:
            now = Stamp.of(stamp.path, os.stat(self.root / stamp.path))  # noqa: PTH116
        except OSError:
            self._waiting.pop(stamp.path, None)
            return False
        if now != stamp:
            waiting.stamp, waiting.since = now, time.monotonic()
        return now == stamp

    def _note(self, stamp: Stamp | None) -> None:
        """From now on this file is known as it is."""
        if stamp is not None:
            self._known.note(stamp)
            self._waiting.pop(stamp.path, None)
