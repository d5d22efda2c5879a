"""Files that appear whole or not at all: text, tables, and tensors with a JSON header."""

from __future__ import annotations

import errno
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from differnet.errors import ModelFileError

_KEY = "differnet"


def write_whole(path: str | Path, content: bytes) -> None:
    """Write to a temporary file beside ``path``, flush it to disk and rename it over ``path``.

    On any failure ``path`` is as it was before, and the error names it.
    """
    with _replacing(Path(path)) as file:
        file.write(content)


@contextmanager
def growing(path: str | Path) -> Iterator[IO[str]]:
    """Open a text file that takes the place of ``path`` when the block ends well; until then that is as it was."""
    with (
        _replacing(Path(path)) as file,
        io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="") as text,
    ):
        yield text
        text.flush()
        os.fsync(file.fileno())


@contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    temporary = ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name[:50]}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if not file.closed:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(target)
    except OSError as error:
        if temporary and error.filename not in (None, temporary):  # of other files, from inside the block
            raise
        raise OSError(error.errno, f"cannot write {target}: {error.strerror}") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


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
    """Write tensors and a JSON header as one safetensors file, whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(header, allow_nan=False, sort_keys=True)
    write_whole(path, safetensors.torch.save(plain, metadata={_KEY: text}))


def read_header(path: str | Path) -> dict[str, Any]:
    """Read the JSON header alone; raises :class:`ModelFileError` on what :func:`write_tensors` did not write."""
    return _read(path, with_tensors=False)[0]


def read_tensors(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read back header and tensors; raises :class:`ModelFileError` as :func:`read_header` does."""
    return _read(path, with_tensors=True)


def _read(path: str | Path, *, with_tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    file = Path(path)
    if not file.is_file():
        raise ModelFileError(f"{file}: no such model file")
    try:
        with safe_open(file, framework="pt") as content:
            text = (content.metadata() or {}).get(_KEY)
            names = content.keys() if with_tensors else []
            tensors = {name: content.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(f"{file}: damaged or not a model file ({error})") from error
    if text is None:
        raise ModelFileError(f"{file}: a safetensors file, but not one that differnet wrote")
    try:
        header = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelFileError(f"{file}: the header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{file}: the header is not a JSON object")
    return header, tensors


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
