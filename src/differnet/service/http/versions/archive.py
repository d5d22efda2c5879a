"""A station's folder out of a ZIP: what is in it is looked at before a byte is unpacked.

Only the files that a station has are taken, by their names, so nothing can be written anywhere else. Their number, the
table of contents and the bytes that they unpack to are bounded, whatever the archive says of itself.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from differnet.errors import ModelFileError
from differnet.runtime import good_part
from differnet.runtime.folder import CALIBRATION, MANIFEST, ROLES, WEIGHTS

NAMES = frozenset({MANIFEST, CALIBRATION, WEIGHTS, good_part.NAME}) | {
    role + suffix for role in ROLES for suffix in (".onnx", ".json", ".xml", ".bin")
}
_MOST_CONTENTS = 64 * 2**10  # bytes of the table of contents
_MOST_FILES = 32
_END = struct.Struct("<4s4H2LH")  # end of the central directory
_LOCATOR = 20  # bytes before it that ZIP64 would use
_STEP = 2**20
_WANTED = "a ZIP of the files of one folder that 'differnet export' wrote was wanted"


def unpack(file: IO[bytes], target: Path, most: int) -> None:
    """Unpack a station into the empty folder ``target``, at most ``most`` bytes; each file is then on disk.

    Raises :class:`ModelFileError` for anything else than the files of one station.
    """
    _check_contents(file)
    try:
        with zipfile.ZipFile(file) as archive:
            chosen = _chosen(archive.infolist(), most)
            left = most
            for name, info in chosen.items():
                left -= _unpack(archive, info, target / name, left)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise ModelFileError(f"a damaged ZIP ({error}); {_WANTED}") from error


def _check_contents(file: IO[bytes]) -> None:
    """Look at the table of contents before it is read, which takes memory by its size."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size - _LOCATOR))
    tail = file.read()
    if len(tail) < _END.size or tail[-_END.size :][:4] != b"PK\5\6":
        raise ModelFileError(f"no ZIP, one that is cut off, or one with a comment; {_WANTED}")
    _, disk, first, here, count, length, start, _ = _END.unpack(tail[-_END.size :])
    if b"PK\6\7" in tail[: -_END.size] or 0xFFFF in (here, count) or 0xFFFFFFFF in (length, start):
        raise ModelFileError(
            "a ZIP of the kind for files of more than 4 GB (ZIP64); zip the folder without it"
        )
    if (
        disk
        or first
        or here != count
        or count > _MOST_FILES
        or length > _MOST_CONTENTS
        or start + length > size
    ):
        raise ModelFileError(f"a ZIP of {count} files in {length:,} bytes of contents; {_WANTED}")


def _chosen(found: list[zipfile.ZipInfo], most: int) -> dict[str, zipfile.ZipInfo]:
    """Return the files by the names they will have; all lie in one folder of the archive, or in none."""
    files = [info for info in found if not info.is_dir()]
    homes = {info.filename.rpartition("/")[0] for info in files}
    if len(homes) != 1 or "/" in (home := homes.pop()) or home.startswith("."):
        raise ModelFileError(f"files of several folders, or none at all; {_WANTED}")
    chosen: dict[str, zipfile.ZipInfo] = {}
    for info in files:
        name = info.filename[len(home) + 1 :] if home else info.filename
        if name not in NAMES:
            raise ModelFileError(f"{info.filename[:100]!r} is no file of a station; {_WANTED}")
        if name in chosen:
            raise ModelFileError(f"{name} is there twice; {_WANTED}")
        mode = info.external_attr >> 16
        if info.flag_bits & 1 or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
            raise ModelFileError(f"{name} is encrypted, or a link; {_WANTED}")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelFileError(f"{name} is compressed in another way than ZIP's usual one (deflate)")
        chosen[name] = info
    if MANIFEST not in chosen:
        raise ModelFileError(f"no {MANIFEST} in it; {_WANTED}")
    total = sum(info.file_size for info in chosen.values())
    if total > most:
        raise ModelFileError(f"{total:,} bytes when unpacked; at most {most:,} are taken (--max-model-bytes)")
    return chosen


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, most: int) -> int:
    """Write one file; returns its bytes, which are counted as they come."""
    count = 0
    with archive.open(info) as packed, path.open("xb") as file:
        while chunk := packed.read(_STEP):
            count += len(chunk)
            if count > most:
                raise ModelFileError(f"{path.name} unpacks to more than it says; {_WANTED}")
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return count
