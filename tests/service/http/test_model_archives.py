"""Stations in ZIP files: what is in one is bounded before a byte of it is unpacked, and nothing lands elsewhere."""

from __future__ import annotations

import io
import os
import stat
import struct
import time
import zipfile

import pytest

pytest.importorskip("fastapi")

from differnet.errors import ModelFileError
from differnet.service.http.versions.archive import unpack
from differnet.service.http.versions.places import Places

FILES = {"manifest.json": b"{}" * 50, "calibration.json": b"1" * 100, "score.onnx": bytes(5000)}


def packed(files=None, how=zipfile.ZIP_DEFLATED, **info):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, content in (files or FILES).items():
            one = zipfile.ZipInfo(name)
            one.compress_type = how
            for key, value in info.items():
                setattr(one, key, value)
            archive.writestr(one, content)
    return buffer.getvalue()


def unpacked(content, target, most=10_000):
    target.mkdir()
    unpack(io.BytesIO(content), target, most)
    return {path.name: path.read_bytes() for path in target.iterdir()}


@pytest.mark.parametrize("home", ["", "station/", "a b/"])
def test_the_files_of_one_station_are_unpacked(tmp_path, home):
    content = packed({home + name: value for name, value in FILES.items()})
    assert unpacked(content, tmp_path / "to") == FILES


def test_a_folder_of_its_own_in_the_archive_does_no_harm(tmp_path):
    content = packed({"station/": b"", **{f"station/{name}": value for name, value in FILES.items()}})
    assert unpacked(content, tmp_path / "to") == FILES


def with_count(content, count, length=None):
    """Say of an archive that it has so many files in so many bytes of contents."""
    head, end = content[:-22], bytearray(content[-22:])
    struct.pack_into("<HH", end, 8, count, count)
    if length is not None:
        struct.pack_into("<L", end, 12, length)
    return head + bytes(end)


def lying():
    """An archive whose files unpack to more than it says."""
    content = bytearray(packed({"manifest.json": bytes(50_000)}))
    for at, magic in ((22, b"PK\3\4"), (24, b"PK\1\2")):
        start = content.index(magic)
        struct.pack_into("<L", content, start + at, 60)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no ZIP"),
        (b"x" * 1000, "no ZIP"),
        (packed()[:-30], "no ZIP"),
        (packed({"../manifest.json": b"{}"}), "several folders"),
        (packed({"a/../../manifest.json": b"{}"}), "several folders"),
        (packed({"/manifest.json": b"{}"}), "is no file of a station"),
        (packed({"/etc/manifest.json": b"{}"}), "several folders"),
        (packed({"C:\\manifest.json": b"{}"}), "is no file of a station"),
        (packed({"..\\manifest.json": b"{}"}), "is no file of a station"),
        (packed(FILES | {"run.py": b""}), "'run.py' is no file of a station"),
        (packed(FILES | {"a/b/weights.bin": b""}), "several folders"),
        (packed({"a/b/manifest.json": b""}), "several folders"),
        (packed({"score.onnx": b""}), "no manifest.json in it"),
        (packed(external_attr=(stat.S_IFLNK | 0o777) << 16), "a link"),
        (packed(external_attr=(stat.S_IFIFO | 0o777) << 16), "a link"),
        (packed(how=zipfile.ZIP_LZMA), "compressed in another way"),
        (packed(how=zipfile.ZIP_BZIP2), "compressed in another way"),
        (packed({"manifest.json": bytes(20_000)}), "20,000 bytes when unpacked; at most 10,000"),
        (with_count(packed(), 60_000), "60000 files"),
        (with_count(packed(), 3, 2**20), "bytes of contents"),
        (with_count(packed(), 0xFFFF), "ZIP64"),
        (packed()[:-22] + b"PK\6\7" + bytes(16) + packed()[-22:], "ZIP64"),
        (lying(), "damaged ZIP"),
    ],
)
def test_anything_else_is_refused_and_nothing_lands_elsewhere(tmp_path, content, message):
    (tmp_path / "deep").mkdir()
    with pytest.raises(ModelFileError, match=message):
        unpacked(content, tmp_path / "deep" / "to")
    found = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "to"]
    assert found == []
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 10_000


def test_a_name_that_is_there_twice_is_refused(tmp_path):
    content = packed({"manifest.json": b"{}", "Manifest.json": b"[]"}).replace(b"Manifest", b"manifest")
    with pytest.raises(ModelFileError, match="there twice"):
        unpacked(content, tmp_path / "to")


def test_an_encrypted_file_is_refused(tmp_path):
    content = bytearray(packed({"manifest.json": b"{}"}))
    for at, magic in ((6, b"PK\3\4"), (8, b"PK\1\2")):
        content[content.index(magic) + at] |= 1
    with pytest.raises(ModelFileError, match="encrypted"):
        unpacked(bytes(content), tmp_path / "to")


def test_what_a_killed_service_left_is_removed_later(tmp_path):
    for name, age in ((".upload-old", 7200), (".upload-new", 0), ("bolts", 7200)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    places = Places(tmp_path, 1000)
    assert {path.name for path in tmp_path.iterdir()} == {".upload-new", "bolts"}
    assert places.listed() == ["bolts"]
