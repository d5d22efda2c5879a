"""Tensors with a JSON header in a file that appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from differnet.data.files import write_whole
from differnet.errors import ModelFileError

MAX_BYTES = 8 * 2**30
_MOST_HEADER = 64 * 2**20
_KEY = "differnet"
_DIGEST = "sha256"
_SEALED = "sealed"  # in the header: there is a digest, so that none can get lost
_BLANK = "0" * 64
_AGAIN = "copy it again from where it was made"


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header as one safetensors file with a digest of itself, whole or not at all.

    The digest is the SHA-256 of the file in which its own 64 digits are zeros.
    """
    write_whole(path, *_parts_of(path, tensors, header))


def to_bytes(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> bytes:
    """Return what :func:`write_tensors` would write."""
    return b"".join(_parts_of("the content", tensors, header))


def _parts_of(
    path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]
) -> tuple[memoryview | bytes, ...]:
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
    return whole[:at], digest.encode(), whole[at + len(digest) :]


def read_header(path: str | Path) -> dict[str, Any]:
    """Read the JSON header alone; raises :class:`ModelFileError` on what :func:`write_tensors` did not write."""
    return _read(path)[0]


def read_tensors(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read back header and tensors; raises :class:`ModelFileError` as :func:`read_header` does.

    Nothing is made of the content before its digest was found to be right. Files without one, from before there
    were any, are read.
    """
    return read_with_digest(path)[:2]


def read_with_digest(
    path: str | Path, content: bytes | None = None
) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Do as :func:`read_tensors`, and return the SHA-256 of the very bytes that were read, too.

    ``content``: the bytes, where they are not in a file; ``path`` is then what errors name.
    """
    header, content = _read(path, content)
    try:
        return header, safetensors.torch.load(content), hashlib.sha256(content).hexdigest()
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelFileError(f"{path}: damaged or not a model file ({error})") from error


def _read(path: str | Path, content: bytes | None = None) -> tuple[dict[str, Any], bytes]:
    file = Path(path)
    content = _content(file) if content is None else content
    metadata = _metadata(file, content)
    text = metadata.get(_KEY)
    if not isinstance(text, str):
        raise ModelFileError(f"{file}: a safetensors file, but not one that differnet wrote")
    try:
        header = json.loads(text, parse_constant=_refuse, parse_float=_finite)
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


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # 1e999 is read as infinite
        _refuse(text)
    return value
