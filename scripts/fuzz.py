"""Fuzz a reader of untrusted files, guided by coverage (atheris): ``make fuzz``, or by hand

    python scripts/fuzz.py images|models WORK_FOLDER [-max_total_time=600] [other options of libFuzzer]

Starts from the files kept in ``tests/fuzz`` and puts what it finds into WORK_FOLDER. A finding is any exception but the
reader's own, a crash, more than 20 seconds, or more than 4 GB; it is written as ``crash-...`` and such. Mend it, then
keep the file as ``tests/fuzz/images|models/found-...``, which the tests read.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["differnet", "PIL", "tifffile"], enable_loader_override=False):
    import imagecodecs  # noqa: F401
    import tifffile  # noqa: F401
    from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401

    from differnet.data import decoding, pixels
    from differnet.detector import model, model_file
    from differnet.errors import ImageError, ModelFileError
    from differnet.flow import tensor_file

KEPT = Path(__file__).parent.parent / "tests" / "fuzz"
_SCRATCH = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)) / "input"  # noqa: S108


def read_image(data: bytes) -> None:
    """Decode the bytes as the file of an image, and once more as its second page."""
    _SCRATCH.write_bytes(data)
    for page in (1, 2):
        try:
            found = decoding.decode(_SCRATCH, page)
        except ImageError:
            continue
        if found.dtype != "uint8" or found.ndim != 3 or found.shape[2] != 3:
            raise TypeError(f"{found.dtype}, {found.shape}")


def read_model(data: bytes) -> None:
    """Load the bytes as a model file, and once more with a digest that fits."""
    for content in (data, resealed(data)):
        _SCRATCH.write_bytes(content)
        try:
            model.summarise(model_file.load(_SCRATCH))
        except ModelFileError:
            continue


def resealed(data: bytes) -> bytes:
    """Put the right digest into a file that has one, as whoever forges a file would."""
    import hashlib

    try:
        at = tensor_file._place_of_digest(data)
    except ValueError:
        return data
    blank = data[:at] + b"0" * 64 + data[at + 64 :]
    return data[:at] + hashlib.sha256(blank).hexdigest().encode() + data[at + 64 :]


def main() -> None:
    """Run the fuzzer that is named."""
    target, work, *options = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    pixels.MAX_PIXELS = 4_000_000  # so that decoding takes no time
    Path(work).mkdir(parents=True, exist_ok=True)
    limits = ["-timeout=20", "-rss_limit_mb=4096", "-max_len=20000", f"-artifact_prefix={work}/"]
    reader = {"images": read_image, "models": read_model}[target]
    atheris.Setup([sys.argv[0], work, str(KEPT / target), *limits, *options], reader)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
