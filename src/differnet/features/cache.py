"""The features of training images: a table in memory, in a file when it is large, or kept beside a checkpoint."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from differnet.data import files
from differnet.data.stream import Progress
from differnet.errors import ModelFileError
from differnet.features.checkpoint import Checkpoint
from differnet.features.describer import Describer
from differnet.features.look import Shown
from differnet.features.mapped import BLOCK, keep_on_disk, letting_go

LARGE = 128 * 2**20  # bytes; a larger bank lives in a file that the system pages in and out
_ROWS, _STATE = "bank.npy", "bank.json"
_OFTEN = 50  # images between two notes of how far a kept bank is


def describe_all(
    describer: Describer,
    images: Sequence[Shown],
    seed: int,
    progress: Progress,
    at_hand: Mapping[int, Tensor] = MappingProxyType({}),
    large: int = LARGE,
) -> Tensor:
    """Describe ``train_views`` random views of every image: (N, V, W), save those that are ``at_hand``.

    From ``large`` bytes on the table is a temporary file (in ``TMPDIR``), mapped into memory.
    """
    shape = (len(images), describer.views.train_views, describer.width)
    return filled(shape, describer.training_views(images, seed, 0, progress, at_hand), large)


def filled(shape: tuple[int, ...], entries: Iterable[Tensor], large: int = LARGE) -> Tensor:
    """Put so many entries into a table of that ``shape``, which is a mapped temporary file from ``large`` bytes on."""
    table = torch.empty(shape) if 4 * math.prod(shape) < large else _temporary(shape)
    for index, entry in enumerate(letting_go(entries, _entry_size(shape))):
        table[index] = entry
    return table


def kept_bank(
    describer: Describer,
    images: Sequence[Shown],
    seed: int,
    checkpoint: Checkpoint,
    key: str,
    progress: Progress,
    at_hand: Mapping[int, Tensor] = MappingProxyType({}),
) -> Tensor:
    """Take the bank (N, V, W) from a checkpoint if it has this ``key``, describing there what is missing.

    Raises :class:`ModelFileError` when it holds the bank of other images or settings.
    """
    shape = (len(images), describer.views.train_views, describer.width)
    folder = checkpoint.folder
    folder.mkdir(parents=True, exist_ok=True)
    done = _done(checkpoint, key)
    with checkpoint.reading(_ROWS) as file:
        if done:  # a file that was cut off would be filled up with zeros
            np.load(file, mmap_mode="r")
        table = np.lib.format.open_memmap(file, "r+" if done else "w+", np.float32, shape)
    if table.shape != shape:
        raise ModelFileError(f"{folder}: a bank of shape {table.shape}, {shape} was wanted; remove it")
    if not done:
        with (folder / _ROWS).open("r+b") as opened:
            _reserve(opened.fileno(), shape, folder)
    keep_on_disk(table)
    missing = describer.training_views(images, seed, done, progress, at_hand)
    for index, rows in enumerate(letting_go(missing, _entry_size(shape)), done):
        table[index] = rows.numpy()
        if (index + 1) % _OFTEN == 0 or index + 1 == len(images):
            table.flush()
            _note(checkpoint, key, index + 1)
    return torch.from_numpy(table)


def _entry_size(shape: tuple[int, ...]) -> int:
    """Return how many bytes are mapped to write one entry of a table of that ``shape``, about."""
    return 4 * math.prod(shape[1:]) + BLOCK


def _temporary(shape: tuple[int, ...]) -> Tensor:
    file = tempfile.TemporaryFile(prefix="differnet-bank-")  # noqa: SIM115  lives as long as the map of it
    _reserve(file.fileno(), shape, tempfile.gettempdir())
    table = np.memmap(file, np.float32, "w+", shape=shape)
    keep_on_disk(table)
    return torch.from_numpy(table)


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


def _done(checkpoint: Checkpoint, key: str) -> int:
    """Return how many images a kept bank has, 0 for none."""
    if not checkpoint.has(_STATE):
        _note(checkpoint, key, 0)
        return 0
    with checkpoint.reading(_STATE) as file:
        state = json.loads(file.read_bytes())
        checkpoint.check(state["key"], key)
        return int(state["images"])


def _note(checkpoint: Checkpoint, key: str, images: int) -> None:
    files.write_whole(checkpoint.folder / _STATE, json.dumps({"key": key, "images": images}).encode())
