"""Files that appear whole or not at all, and files that one process has."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from differnet.errors import ConfigError, DifferNetError


def check_file(path: Path, wanted: str, error: type[DifferNetError] = ConfigError) -> None:
    """Refuse what is no regular file; ``wanted``: what it should be, for the message."""
    if not os.path.isfile(path):  # noqa: PTH113  pathlib's raises for names that are too long
        what = "a folder" if os.path.isdir(path) else "no file" if os.path.lexists(path) else "no such file"  # noqa: PTH112
        raise error(f"{path}: {what}; {wanted} was wanted")


def read_text(path: Path, wanted: str, error: type[DifferNetError] = ConfigError) -> str:
    """Return the text of a file in UTF-8; raises an ``error`` that says what was found and ``wanted`` instead."""
    check_file(path, wanted, error)
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise error(f"{path}: no text in UTF-8 ({reason}); {wanted} was wanted") from reason
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror}; {wanted} was wanted") from reason


def write_whole(path: str | Path, *parts: bytes | memoryview, mode: int = 0o666) -> None:
    """Write ``parts``, one after the other, to a temporary file, flush it to disk and rename it over ``path``.

    ``mode``: who may read and write it, less what the umask takes away. On any failure ``path`` is as it was before,
    and the error names it.
    """
    with _replacing(Path(path), mode) as file:
        for part in parts:
            file.write(part)


@contextmanager
def growing(path: str | Path) -> Iterator[IO[str]]:
    """Open a text file that takes the place of ``path`` when the block ends well; until then that is as it was."""
    with _replacing(Path(path)) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="")
        yield text
        text.flush()
        text.detach()


@contextmanager
def _replacing(target: Path, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Open a file without a name, if the file system has such, and name it ``target`` when the block ends well.

    A process that is killed meanwhile leaves nothing behind; between the last two steps, the whole file by a hidden
    name.
    """
    temporary = ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = _open_temporary(target, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary = temporary or _link(file.fileno(), target)
        Path(temporary).replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        if error.filename not in (
            None,
            temporary,
            os.fspath(target.parent),
        ):  # of other files, from inside the block
            raise
        raise OSError(error.errno, f"cannot write {target}: {error.strerror}") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _open_temporary(target: Path, mode: int) -> tuple[int, str]:
    """Open a file in the folder of ``target``, without a name where that can be had.

    The system takes the umask from ``mode``: to ask for it is to change it, for all threads. Where file systems forget
    it for a file without a name, it is taken away here.
    """
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
        try:
            descriptor = os.open(target.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, mode)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                raise
        else:
            if os.fstat(descriptor).st_mode & 0o777 & _umask():
                os.fchmod(descriptor, mode & ~_umask())
            return descriptor, ""
    name = _beside(target)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    return os.open(name, flags, mode), name


def _beside(target: Path) -> str:
    """Return a hidden name beside ``target`` that nobody else has."""
    return str(target.parent / f".{target.name[:50]}.{os.getpid()}-{os.urandom(8).hex()}")


def _link(descriptor: int, target: Path) -> str:
    name = _beside(target)
    folder = os.open("/proc/self/fd", os.O_RDONLY)
    try:  # with the folder, for only then does Python follow the link to the file
        os.link(str(descriptor), name, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)
    return name


def _sync_folder(folder: Path) -> None:
    """Have the new name of a file on disk, too; where folders cannot be synchronised, that is up to the system."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_target(path: str | Path) -> None:
    """Refuse a file that cannot be written before the work that would fill it is done."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(
            errno.EISDIR, f"cannot write {target}: it is a folder, a file name was wanted"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot write {target}: {error.strerror}") from error


def _umask() -> int:
    """Return the umask as Linux tells it, 0 where nobody does."""
    with suppress(OSError), Path("/proc/self/status").open("rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0


class TakenError(Exception):
    """Another process has the lock."""


def open_locked(path: Path, opened: Any) -> Any:
    """Return a file that ``opened(path)`` opened, or made, and that no other process has locked.

    It is locked until it is closed; where there are no locks (some network shares) it is only opened.
    Raises :class:`TakenError`. A file that was removed or replaced between opening and locking is opened
    anew: its lock would keep nobody off.
    """
    while True:
        file = opened(path)
        try:
            _lock(file)
            if _is_at(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: Any) -> None:
    import portalocker  # here, since a station does without

    try:
        portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked as error:
        raise TakenError from error
    except portalocker.LockException:
        return


def _is_at(path: Path, file: Any) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
