"""The ZIP of confirmed good images: sent as it grows, and whole although a file is forgotten meanwhile."""

from __future__ import annotations

import io
import zipfile

import pytest

pytest.importorskip("fastapi")
from differnet.service.http.routes.record import zipped


def test_each_image_is_sent_before_the_next_is_read(tmp_path):
    read = []

    def files():
        for number in range(3):
            path = tmp_path / f"{number}.png"
            path.write_bytes(bytes([number]) * 100_000)
            read.append(number)
            yield path.name, path

    chunks, found = zipped(files()), b""
    while len(found) < 100_000:
        found += next(chunks)
    assert read == [0]
    found += b"".join(chunks)
    with zipfile.ZipFile(io.BytesIO(found)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            f"{number}.png": bytes([number]) * 100_000 for number in range(3)
        }
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_file_that_is_forgotten_meanwhile_is_left_out(tmp_path):
    (tmp_path / "b.png").write_bytes(b"b")
    names = ((name, tmp_path / name) for name in ("a.png", "b.png", "c.png"))
    with zipfile.ZipFile(io.BytesIO(b"".join(zipped(names)))) as archive:
        assert archive.namelist() == ["b.png"]


def test_no_images_are_an_empty_archive():
    with zipfile.ZipFile(io.BytesIO(b"".join(zipped(iter(()))))) as archive:
        assert archive.namelist() == []
