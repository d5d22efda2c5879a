"""The features of training images: a table in memory, in a file when it is large, or kept beside a checkpoint."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from differnet.data import files
from differnet.data.decoding import file_digest
from differnet.data.files import TakenError, open_locked
from differnet.data.images import ImageLike, Page, load
from differnet.data.stream import Progress
from differnet.errors import ConfigError, ModelFileError
from differnet.features.describer import Describer

LARGE = 512 * 2**20  # bytes; a larger bank lives in a file that the system pages in and out
_ROWS, _STATE = "bank.npy", "bank.json"
_LOCK = "lock"
_OFTEN = 50  # images between two notes of how far a kept bank is


def describe_all(
    describer: Describer,
    images: Sequence[ImageLike],
    seed: int,
    progress: Progress,
    at_hand: Mapping[int, Tensor] = MappingProxyType({}),
    large: int = LARGE,
) -> Tensor:
    """Describe ``train_views`` random views of every image: (N, V, W), save those that are ``at_hand``.

    From ``large`` bytes on the table is a temporary file (in ``TMPDIR``), mapped into memory.
    """
    shape = (len(images), describer.views.train_views, describer.width)
    bank = torch.empty(shape) if 4 * math.prod(shape) < large else _temporary(shape)
    for index, rows in enumerate(describer.training_views(images, seed, 0, progress, at_hand)):
        bank[index] = rows
    return bank


def identity(describer: Describer, images: Sequence[ImageLike], rest: object) -> str:
    """Return a digest of all that training features depend on: images, views, backbone, and what else there is."""
    return digest_of(images, (describer.views, describer.identity, rest))


def digest_of(images: Sequence[ImageLike], rest: object) -> str:
    """Return a digest of images and of the ``repr`` of what else matters."""
    total = hashlib.sha256(repr(rest).encode())
    for image in images:
        total.update(content_digest(image))
    return total.hexdigest()


def content_digest(image: ImageLike) -> bytes:
    """Return the SHA-256 of an image file, or of the pixels where there is no file.

    Raises :class:`ImageError` for what is no regular file.
    """
    if not isinstance(image, (str, os.PathLike)):
        return hashlib.sha256(load(image).tobytes()).digest()
    return file_digest(Path(image), str(image.number).encode() if isinstance(image, Page) else b"")


@contextmanager
def locked(folder: Path | None) -> Iterator[None]:
    """Keep a second fit off the ``folder`` of a checkpoint, if there is one; :class:`ConfigError` when one is at it."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        file = open_locked(folder / _LOCK, lambda path: path.open("ab"))
    except TakenError as error:
        raise ConfigError(f"{folder}: another fit is using this checkpoint; give another folder") from error
    with file:
        yield


def kept_bank(
    describer: Describer,
    images: Sequence[ImageLike],
    seed: int,
    folder: Path,
    key: str,
    progress: Progress,
    at_hand: Mapping[int, Tensor] = MappingProxyType({}),
) -> Tensor:
    """Take the bank (N, V, W) from ``folder`` if it has this ``key``, describing there what is missing.

    Raises :class:`ModelFileError` when the folder holds the bank of other images or settings.
    """
    shape = (len(images), describer.views.train_views, describer.width)
    folder.mkdir(parents=True, exist_ok=True)
    done = _open_state(folder, key)
    mode = "r+" if done else "w+"
    try:
        table = np.lib.format.open_memmap(folder / _ROWS, mode, np.float32, shape)
        if not done:
            with (folder / _ROWS).open("r+b") as file:
                _reserve(file.fileno(), shape, folder)
    except ValueError as error:
        raise ModelFileError(f"{folder}: a damaged checkpoint ({error}); remove it to start anew") from error
    if table.shape != shape:
        raise ModelFileError(f"{folder}: a bank of shape {table.shape}, {shape} was wanted; remove it")
    for index, rows in enumerate(describer.training_views(images, seed, done, progress, at_hand), done):
        table[index] = rows.numpy()
        if (index + 1) % _OFTEN == 0 or index + 1 == len(images):
            table.flush()
            _note(folder, key, index + 1)
    return torch.from_numpy(table)


def _temporary(shape: tuple[int, ...]) -> Tensor:
    file = tempfile.TemporaryFile(prefix="differnet-bank-")  # noqa: SIM115  lives as long as the map of it
    _reserve(file.fileno(), shape, tempfile.gettempdir())
    return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))


def _reserve(descriptor: int, shape: tuple[int, ...], place: object) -> None:
    """Take the room on disk now: a mapped file that finds none later kills the process."""
    size = 4 * math.prod(shape)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        raise OSError(
            error.errno, f"{place}: no room for {size / 1e9:.1f} GB of features ({error.strerror})"
        ) from error


def _open_state(folder: Path, key: str) -> int:
    """Return how many images a kept bank has, 0 for none."""
    file = folder / _STATE
    if not file.exists():
        _note(folder, key, 0)
        return 0
    try:
        state = json.loads(file.read_bytes())
        found, done = state["key"], int(state["images"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{file}: damaged ({error}); remove {folder} to start anew") from error
    if found != key:
        raise ModelFileError(f"{folder}: a checkpoint of other images or settings; remove it to start anew")
    return done


def _note(folder: Path, key: str, images: int) -> None:
    files.write_whole(folder / _STATE, json.dumps({"key": key, "images": images}).encode())
