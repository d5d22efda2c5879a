"""Bad and odd images: each has the outcome that it must have, alone, in a run over all, and for what a fuzzer found."""

from __future__ import annotations

import csv
import errno
import io
import os
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from typer.testing import CliRunner

from differnet.cli.app import app
from differnet.data import decoding, images
from differnet.detector import model_file
from differnet.detector.model import summarise
from differnet.errors import ImageError, ModelFileError
from support import hostile
from support.tiny import TESTS

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow says of damaged files what it leaves out
KEPT = TESTS / "fuzz"
SLOW = 20.0  # seconds that no input may take


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return hostile.make(tmp_path_factory.mktemp("hostile") / "corpus")


def complaint(case):
    """Return what is wrong with the outcome of a case, or nothing."""
    signal.alarm(int(SLOW))
    try:
        found = images.load(case.path)
    except TimeoutError:
        return "slow"
    except ImageError as error:
        if case.refused is None:
            return f"refused: {error}"
        told = str(error)
        return None if case.refused in told and str(case.path) in told else f"for another reason: {told}"
    finally:
        signal.alarm(0)
    if case.refused is not None:
        return f"taken, {found.shape}"
    if found.dtype != np.uint8 or (case.shape and found.shape != case.shape):
        return f"{found.dtype} {found.shape}"
    if case.pixels is not None and not np.array_equal(found, case.pixels):
        return "other pixels"
    return None


@pytest.fixture(autouse=True)
def not_for_ever():
    """Where an alarm is set, waiting for a pipe or a device ends in an error."""

    def stop(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.signal(signal.SIGALRM, before)


def test_each_has_its_outcome(cases):
    assert len(cases) >= 300
    assert sum(case.refused is not None for case in cases) >= 150
    assert {case.path.name: told for case in cases if (told := complaint(case))} == {}


def test_a_run_over_all_has_one_row_for_each(cases, detector, tmp_path):
    """No input is left out, none is there twice, and the rows stand in the order of the inputs."""
    model, table = tmp_path / "model.safetensors", tmp_path / "rows.csv"
    detector.save(model)
    root = cases[0].path.parent
    single = [case.path for case in cases if case.path.name in ("none.png", "a" * 300 + ".png")]
    arguments = ["score", str(model), str(root), *map(str, single), "--out", str(table), "--views", "2"]
    done = CliRunner().invoke(app, [*arguments, "--on-error", "skip"])
    assert done.exit_code == 3, done.output[-2000:]
    with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = sorted(
        Path(folder, name)
        for folder, _, names in os.walk(root)
        for name in names
        if Path(name).suffix.lower() in images.SUFFIXES
    )
    assert [row["path"] for row in rows] == [str(path) for path in [*wanted, *single]]
    refused = {str(case.path) for case in cases if case.refused is not None}
    assert {row["path"] for row in rows if row["error"]} == refused & {row["path"] for row in rows}
    for row in rows:
        assert bool(row["error"]) != bool(row["score"])
        assert row["error"] or np.isfinite(float(row["score"]))
    assert f"{sum(bool(row['error']) for row in rows)} skipped" in done.stderr


def test_names_are_printed_in_one_line_each(cases, detector, tmp_path):
    model = tmp_path / "model.safetensors"
    detector.save(model)
    odd = [case.path for case in cases if case.path.parent.name == "names"]
    done = CliRunner().invoke(app, ["score", str(model), *map(str, odd), "--views", "1"])
    assert done.exit_code == 0, done.output[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == len(odd) > 20
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("path", sorted((KEPT / "images").iterdir()), ids=lambda path: path.name)
def test_what_the_fuzzer_kept_is_read_or_refused(path):
    with suppress(ImageError):
        assert images.load(path).ndim == 3


@pytest.mark.parametrize("path", sorted((KEPT / "models").iterdir()), ids=lambda path: path.name)
def test_model_files_that_the_fuzzer_kept_are_read_or_refused(path):
    with suppress(ModelFileError):
        summarise(model_file.load(path))


NUMBERS = st.sampled_from(
    ["uint8", "uint16", "int32", "float16", "float32", "float64", "bool", "complex64", "U3"]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    NUMBERS.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=4, max_side=6)))
)
def test_any_array_becomes_pixels_or_is_refused(array):
    try:
        found = images.load(array)
    except ImageError:
        return
    assert found.dtype == np.uint8
    assert found.shape == (*array.shape[:2], 3)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_formats_without_loss_give_the_same_pixels(tmp_path_factory, pixels):
    path = tmp_path_factory.getbasetemp() / "any"
    for kind, options in {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}.items():
        path.write_bytes(hostile.encode(Image.fromarray(pixels), kind, **options))
        assert np.array_equal(images.load(path), pixels)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_refused(tmp_path_factory, data):
    """Bytes of good files are overwritten, cut out and put in at any place."""
    good = data.draw(st.sampled_from(sorted((KEPT / "images").iterdir())))
    content = bytearray(good.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, max(0, len(content) - 1)))
        end = start + data.draw(st.integers(0, 8))
        content[start:end] = data.draw(st.binary(max_size=8))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    try:
        found = images.load(path)
    except ImageError:
        return
    assert found.dtype == np.uint8
    assert found.ndim == 3


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=40))
)
def test_any_name_is_found_and_read(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("names")
    content = hostile.encode(Image.new("L", (2, 2)), "PNG")
    written = set()
    for name in names:
        try:
            path = root / f"a{name}.png"
            path.write_bytes(content)
            written.add(path.name)
        except (OSError, UnicodeEncodeError):
            continue  # no name of a file here
    found = images.find(root) if written else []
    assert Counter(path.name for path in found) == Counter(written)
    assert all(images.load(path).shape == (2, 2, 3) for path in found)


def test_pages_are_read_by_choice(cases):
    path = next(case.path for case in cases if case.path.name == "pages.tif")
    first, second = images.pages(path)
    assert np.array_equal(images.load(first), hostile.COLOUR)
    assert np.array_equal(images.load(second), hostile.COLOUR[::-1])
    assert str(second) == f"{path}[2]"
    assert images.gather([path, second]) == [path, second]
    with pytest.raises(ImageError, match="has no page 3"):
        images.load(images.Page(path, 3))
    single = next(case.path for case in cases if case.path.name == "mode-RGB.png")
    assert images.pages(single) == [single]
    with pytest.raises(ImageError, match="only a TIFF has pages, and this is a PNG"):
        images.load(images.Page(single, 2))


class Failing(io.FileIO):
    """A file on a share that is lost after the first bytes."""

    def readinto(self, buffer):
        if self.tell() > 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().readinto(memoryview(buffer)[:64])

    def readall(self):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize(
    "name", ["mode-RGB.png", "mode-L.jpg", "mode-RGB.bmp", "big-16.tif", "mode-RGB.webp"]
)
def test_a_share_that_is_lost_is_a_reason(cases, name, monkeypatch):
    path = next(case.path for case in cases if case.path.name == name)
    monkeypatch.setattr(
        decoding,
        "open",
        lambda path, mode, opener: io.BufferedReader(Failing(path, opener=opener)),
        raising=False,
    )
    with pytest.raises(ImageError, match=r"cannot be decoded: .*Input/output error"):
        images.load(path)


def test_folders_that_cannot_be_listed_are_said(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.png").write_bytes(b"")
    scan = os.scandir

    def denied(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(ImageError, match="closed: cannot be listed: Permission denied"):
        images.find(tmp_path)
    assert images.find(tmp_path, strict=False) == [tmp_path / "a.png", tmp_path / "closed"]
