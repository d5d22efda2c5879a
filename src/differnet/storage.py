"""Files that appear whole or not at all: text, tables, and tensors with a JSON header."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from differnet.errors import ModelFileError

MAX_BYTES = 8 * 2**30
_MOST_HEADER = 64 * 2**20
_KEY = "differnet"
_DIGEST = "sha256"
_SEALED = "sealed"  # in the header: there is a digest, so that none can get lost
_BLANK = "0" * 64
_AGAIN = "copy it again from where it was made"


def write_whole(path: str | Path, *parts: bytes | memoryview) -> None:
    """Write ``parts``, one after the other, to a temporary file, flush it to disk and rename it over ``path``.

    On any failure ``path`` is as it was before, and the error names it.
    """
    with _replacing(Path(path)) as file:
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
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    """Open a file without a name, if the file system has such, and name it ``target`` when the block ends well.

    A process that is killed meanwhile leaves nothing behind; between the last two steps, the whole file by a hidden
    name.
    """
    temporary = ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = _open_temporary(target)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary = temporary or _link(file.fileno(), target)
        Path(temporary).chmod(0o666 & ~_umask())
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


def _open_temporary(target: Path) -> tuple[int, str]:
    """Open a file in the folder of ``target``, without a name where that can be had."""
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
        try:
            return os.open(target.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), ""
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                raise
    return tempfile.mkstemp(prefix=f".{target.name[:50]}.", dir=target.parent)


def _link(descriptor: int, target: Path) -> str:
    name = str(target.parent / f".{target.name[:50]}.{os.getpid()}-{os.urandom(4).hex()}")
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


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header as one safetensors file with a digest of itself, whole or not at all.

    The digest is the SHA-256 of the file in which its own 64 digits are zeros.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({**header, _SEALED: True}, allow_nan=False, sort_keys=True)
    content = safetensors.torch.save(plain, metadata={_KEY: text, _DIGEST: _BLANK})
    if len(content) > MAX_BYTES:
        raise ModelFileError(
            f"{path}: would have {len(content):,} bytes; files of at most {MAX_BYTES:,} could be read again"
        )
    at = _place_of_digest(content)
    digest = hashlib.sha256(content).hexdigest()
    whole = memoryview(content)  # the parts of which are no copies
    write_whole(path, whole[:at], digest.encode(), whole[at + len(digest) :])


def read_header(path: str | Path) -> dict[str, Any]:
    """Read the JSON header alone; raises :class:`ModelFileError` on what :func:`write_tensors` did not write."""
    return _read(path)[0]


def read_tensors(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read back header and tensors; raises :class:`ModelFileError` as :func:`read_header` does.

    Nothing is made of the content before its digest was found to be right. Files without one, from before there
    were any, are read.
    """
    return read_with_digest(path)[:2]


def read_with_digest(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Do as :func:`read_tensors`, and return the SHA-256 of the very bytes that were read, too."""
    header, content = _read(path)
    try:
        return header, safetensors.torch.load(content), hashlib.sha256(content).hexdigest()
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelFileError(f"{path}: damaged or not a model file ({error})") from error


def _read(path: str | Path) -> tuple[dict[str, Any], bytes]:
    file = Path(path)
    content = _content(file)
    metadata = _metadata(file, content)
    text = metadata.get(_KEY)
    if not isinstance(text, str):
        raise ModelFileError(f"{file}: a safetensors file, but not one that differnet wrote")
    try:
        header = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{file}: the header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{file}: the header is not a JSON object")
    if header.pop(_SEALED, False) or _DIGEST in metadata:
        _check_digest(file, content, metadata.get(_DIGEST))
    return header, content


def _content(file: Path) -> bytes:
    """Read a regular file of a sane size as a whole: a file mapped into memory that vanishes kills the process."""
    if not os.path.isfile(file):  # noqa: PTH113  pathlib's raises for names that are too long
        what = "not a regular file" if os.path.lexists(file) else "no such model file"
        raise ModelFileError(f"{file}: {what}; a model file was wanted")
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise ModelFileError(f"{file}: {size:,} bytes; model files have at most {MAX_BYTES:,}")
        return file.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{file}: cannot be read: {error.strerror}") from error


def _metadata(file: Path, content: bytes) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(len(content) - 8, _MOST_HEADER):
        raise ModelFileError(f"{file}: damaged or not a model file (it is cut off, or no safetensors file)")
    try:
        found = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
        return {str(name): value for name, value in found.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{file}: damaged or not a model file ({error})") from error


def _check_digest(file: Path, content: bytes, digest: object) -> None:
    try:
        at = _place_of_digest(content)
    except ValueError as error:
        raise ModelFileError(f"{file}: damaged or not a model file ({error}); {_AGAIN}") from error
    total = hashlib.sha256(memoryview(content)[:at])
    total.update(_BLANK.encode())
    total.update(memoryview(content)[at + len(_BLANK) :])
    if total.hexdigest() != digest:
        raise ModelFileError(
            f"{file}: damaged or not a model file (its digest is {total.hexdigest()[:16]}..., and was "
            f"{str(digest)[:16]}... when it was written); {_AGAIN}"
        )


def _place_of_digest(content: bytes) -> int:
    """Return where the digits of the digest begin in a safetensors file; raises :class:`ValueError` for none."""
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    found = [match.start(1) for match in re.finditer(rb'"sha256":"([0-9a-f]{64})"', header)]
    if len(found) != 1:
        raise ValueError("its digest is missing")
    return 8 + found[0]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
