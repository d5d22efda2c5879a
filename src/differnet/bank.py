"""The features of training images, kept beside a checkpoint so that a broken-off fit need not describe again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from differnet import storage
from differnet.errors import ModelFileError
from differnet.features import Describer, Progress
from differnet.images import ImageLike, load

_FILE = "bank.safetensors"


def identity(describer: Describer, images: Sequence[ImageLike], seed: int) -> str:
    """Return a digest of all that training features depend on: images, views, backbone, seed."""
    module = describer.module
    total = hashlib.sha256(
        repr((describer.views, module.sizes, module.digest, describer.runtime.name, seed)).encode()
    )
    for image in images:
        is_path = isinstance(image, (str, os.PathLike))
        content = Path(image).read_bytes() if is_path else load(image).tobytes()  # type: ignore[arg-type]
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()


def kept_bank(
    describer: Describer, images: Sequence[ImageLike], seed: int, folder: Path, key: str, progress: Progress
) -> Tensor:
    """Take the bank (N, V, D) from ``folder`` if it has this ``key``; else describe and write it there.

    Raises :class:`ModelFileError` when the folder holds the bank of other images or settings.
    """
    file = folder / _FILE
    if file.exists():
        header, tensors = storage.read_tensors(file)
        if header.get("key") != key:
            raise ModelFileError(
                f"{folder}: a checkpoint of other images or settings; remove it to start anew"
            )
        return tensors["bank"]
    rows = describer.bank(images, seed, progress)
    storage.write_tensors(file, {"bank": rows}, {"kind": "bank", "key": key})
    return rows
