"""Rows of a run that is broken off anywhere: none is lost, none is there twice, and nobody else's are taken."""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import shutil
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from differnet import load
from differnet.batch import journal
from differnet.cli.app import app
from differnet.errors import ConfigError, DifferNetWarning
from support.tiny import good_image

RUN = CliRunner()
MADE = {"model": "abc", "views": None}


def row(index, error=None):
    return {"path": f"{index}.png", "score": float(index), "is_defective": index % 2 == 0, "error": error}


class Killed(BaseException):
    """What stops a run where it stands."""


def broken_off(table, rows, resume=False):
    with warnings.catch_warnings(), suppress(Killed):
        warnings.simplefilter("ignore")
        write_and_die(table, MADE, rows, resume)


def write_and_die(table, made_with, rows, resume=False):
    with journal.journal(table, made_with, resume) as kept:
        for one in rows:
            kept.add(one)
        raise Killed


def test_rows_are_kept_and_gone_on_with(tmp_path):
    table = tmp_path / "rows.csv"
    broken_off(table, [row(0), row(1, "bad")])
    with journal.journal(table, MADE, resume=True) as kept:
        assert (kept.count, kept.flagged, kept.skipped) == (2, 1, 1)
        kept.add(row(2))
        assert list(kept) == [row(0), row(1, "bad"), row(2)]
    assert list(kept) == [row(0), row(1, "bad"), row(2)]  # also when the file is gone
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_had_no_row_leaves_nothing(tmp_path):
    broken_off(tmp_path / "rows.csv", [])
    assert list(tmp_path.iterdir()) == []


def test_rows_of_a_run_that_was_broken_off_are_not_overwritten(tmp_path):
    table = tmp_path / "rows.csv"
    broken_off(table, [row(0)])
    with (
        pytest.raises(ConfigError, match=r"go on with --resume, or remove"),
        journal.journal(table, MADE, False),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="a run with another model"),
        journal.journal(table, {**MADE, "model": "other"}, True),
    ):
        pass
    assert len(journal.partial_of(table).read_bytes().splitlines()) == 2


def test_two_runs_do_not_write_one_table(tmp_path):
    table = tmp_path / "rows.csv"
    with journal.journal(table, MADE, True) as kept:
        kept.add(row(0))
        with pytest.raises(ConfigError, match="another run is writing"), journal.journal(table, MADE, True):
            pass
        kept.add(row(1))
        assert list(kept) == [row(0), row(1)]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_broken_off_at_any_byte_it_goes_on_with_whole_rows(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("rows")
    table, rows = folder / "rows.csv", [row(i) for i in range(6)]
    broken_off(table, rows)
    partial = journal.partial_of(table)
    whole = partial.read_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    partial.write_bytes(cut + data.draw(st.sampled_from([b"", b"\0\0", b"{", b"\xff"])))
    with journal.journal(table, MADE, True) as kept:
        assert kept.count >= cut.count(b"\n") - 1
        for one in rows[kept.count :]:
            kept.add(one)
        assert list(kept) == rows


def test_a_row_that_is_damaged_in_the_middle_is_said(tmp_path):
    table = tmp_path / "rows.csv"
    broken_off(table, [row(i) for i in range(4)])
    partial = journal.partial_of(table)
    lines = partial.read_bytes().splitlines(keepends=True)
    partial.write_bytes(b"".join([*lines[:2], b"nonsense\n", *lines[3:]]))
    with pytest.raises(ConfigError, match="row 2 is damaged"), journal.journal(table, MADE, True):
        pass


@pytest.fixture(scope="module")
def scene(tmp_path_factory, detector):
    """A model and a folder of six images, of which the third is none."""
    root = tmp_path_factory.mktemp("scene")
    detector.save(root / "model.safetensors")
    (root / "images").mkdir()
    for index in range(6):
        Image.fromarray(good_image(500 + index)).save(root / "images" / f"{index}.png")
    (root / "images" / "2.png").write_bytes(b"no image")
    return root


def score(scene, table, *options):
    return RUN.invoke(
        app, ["score", str(scene / "model.safetensors"), str(scene / "images"), "--out", str(table), *options]
    )


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_resumed_table_equals_an_uninterrupted_one(scene, tmp_path, suffix):
    table, wanted = tmp_path / f"rows.{suffix}", tmp_path / f"wanted.{suffix}"
    assert score(scene, wanted, "--on-error", "skip").exit_code == 3
    assert score(scene, table, "--on-error", "skip").exit_code == 3
    assert table.read_bytes() == wanted.read_bytes()
    table.unlink()
    made = {
        "rows": 3,
        "version": importlib.metadata.version("differnet"),
        "model": digest(scene / "model.safetensors"),
        "runtime": load(scene / "model.safetensors").describer.runtime.name,
        "precision": "f32",
        "views": None,
        "maps": None,
        "on-error": "skip",
    }
    lines = [json.loads(line) for line in rows_of(wanted)]
    with pytest.warns(DifferNetWarning, match="4 rows are kept"), suppress(Killed):
        write_and_die(table, {**made, "device": "cpu"}, lines[:4])
    refused = score(scene, table, "--on-error", "skip")
    assert refused.exit_code == 2
    assert "go on with --resume" in refused.stderr
    done = score(scene, table, "--on-error", "skip", "--resume", "--json")
    assert done.exit_code == 3, done.output
    assert table.read_bytes() == wanted.read_bytes()
    document = json.loads(done.stdout)
    assert (document["skipped"], len(document["images"])) == (1, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([table.name, wanted.name])


def rows_of(table):
    """Return rows as JSON lines, of a table of either kind that the same run wrote."""
    other = table.with_suffix(".jsonl")
    return other.read_text().splitlines() if other.exists() else [json.dumps(one) for one in _typed(table)]


def _typed(table):
    import csv

    with table.open(newline="") as file:
        for one in csv.DictReader(file):
            numbers = {
                n: float(one[n]) if one[n] else None for n in ("score", "p_value", "threshold", "percent")
            }
            flag = {"True": True, "False": False, "": None}[one["is_defective"]]
            views = int(one["views"]) if one["views"] else None
            yield {
                "path": one["path"],
                **numbers,
                "is_defective": flag,
                "views": views,
                "verdict": one["verdict"] or None,
                "error": one["error"] or None,
            }


def digest(path):
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_fail_stops_at_the_image_keeps_the_rows_and_goes_on_when_it_is_mended(scene, tmp_path):
    table = tmp_path / "rows.csv"
    stopped = score(scene, table)
    assert stopped.exit_code == 2
    assert "2.png: not an image" in stopped.stderr
    assert not table.exists()
    assert len(journal.partial_of(table).read_bytes().splitlines()) == 1 + 2
    bad = scene / "images" / "2.png"
    try:
        Image.fromarray(good_image(502)).save(bad)
        assert score(scene, table, "--resume").exit_code == 0
    finally:
        bad.write_bytes(b"no image")
    assert len(table.read_text().splitlines()) == 1 + 6


def test_other_images_are_not_mixed_in(scene, tmp_path):
    table = tmp_path / "rows.csv"
    assert score(scene, table).exit_code == 2
    more = scene / "images" / "0-first.png"
    try:
        Image.fromarray(good_image(599)).save(more)
        refused = score(scene, table, "--resume")
    finally:
        more.unlink()
    assert refused.exit_code == 2
    assert "0-first.png" in refused.stderr
    assert len(journal.partial_of(table).read_bytes().splitlines()) == 1 + 2


def test_paths_without_an_image_have_their_row(scene, tmp_path):
    (tmp_path / "empty").mkdir()
    model, good = str(scene / "model.safetensors"), str(scene / "images" / "0.png")
    arguments = [str(tmp_path / "none"), good, str(tmp_path / "empty")]
    done = RUN.invoke(app, ["score", model, *arguments, "--on-error", "skip", "--json", "--fail-on-defect"])
    rows = json.loads(done.stdout)["images"]
    assert done.exit_code == 3
    assert [one["path"] for one in rows] == arguments
    assert [bool(one["error"]) for one in rows] == [True, False, True]
    assert RUN.invoke(app, ["score", model, *arguments]).exit_code == 2
    assert RUN.invoke(app, ["score", model, good, "--on-error", "ignore"]).exit_code == 2
    assert RUN.invoke(app, ["score", model, good, "--resume"]).exit_code == 2


SMALL_FILES = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from differnet.batch import journal
from differnet.data import files
folder = Path(sys.argv[1])
for write in (
    lambda: files.write_whole(folder / "old.txt", bytes(100_000)),
    lambda: journal_of_many(folder / "rows.csv"),
):
    try:
        write()
        print("written")
    except OSError as error:
        print(error)
"""
MANY = """
def journal_of_many(table):
    with journal.journal(table, {}, True) as kept:
        for index in range(10_000):
            kept.add({"path": str(index), "is_defective": None, "error": None})
"""


def check_what_is_left(run, folder, why):
    """The old file as it was, every row that was kept, and the reason with the path."""
    whole, rows = run.stdout.splitlines()
    assert f"cannot write {folder / 'old.txt'}: {why}" in whole
    assert f"cannot write {folder / 'rows.csv.partial'}: {why}" in rows
    assert (folder / "old.txt").read_text() == "old"
    assert sorted(path.name for path in folder.iterdir()) == ["old.txt", "rows.csv.partial"]
    with journal.journal(folder / "rows.csv", {}, resume=True) as kept:
        assert kept.count > 100
        assert [one["path"] for one in kept] == [str(index) for index in range(kept.count)]


def test_a_full_disk_is_said_with_the_path_and_leaves_the_old_file(tmp_path):
    """The system refuses to let files grow beyond 20 kB, as a full disk would."""
    (tmp_path / "old.txt").write_text("old")

    def limited():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    code = MANY + SMALL_FILES
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True, text=True, check=True, preexec_fn=limited, env=environment,
    )  # fmt: skip
    check_what_is_left(run, tmp_path, "File too large")


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 kB, where the system lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = [shutil.which("mount") or "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no tmpfs can be mounted here ({error})")
    yield folder
    subprocess.run([shutil.which("umount") or "umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_leaves_the_old_file(tiny_disk):
    (tiny_disk / "old.txt").write_text("old")
    run = subprocess.run(
        [sys.executable, "-c", MANY + SMALL_FILES, str(tiny_disk)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    check_what_is_left(run, tiny_disk, "No space left on device")


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    monkeypatch.setattr(journal.io, "FileIO", denied)
    from differnet.data.files import write_whole

    with pytest.raises(OSError, match=r"cannot write .*a.txt: Permission denied"):
        write_whole(tmp_path / "a.txt", b"")
    with (
        pytest.raises(OSError, match=r"cannot write .*rows.csv.partial: Permission denied"),
        journal.journal(tmp_path / "rows.csv", MADE, True),
    ):
        pass


def test_without_nameless_files_it_is_still_whole_or_not_at_all(tmp_path, monkeypatch):
    from differnet.data.files import write_whole

    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    write_whole(tmp_path / "a.txt", b"old")
    monkeypatch.setattr(
        Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space left on device"):
        write_whole(tmp_path / "a.txt", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
