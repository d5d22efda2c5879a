"""Every command's exit codes: 0 done, 1 flagged on request, 2 error, 3 skipped or left; never 0 for nothing done."""

from __future__ import annotations

import json
import re
import socket
import sys

import pytest
from typer.testing import CliRunner

from differnet.cli.app import app
from support.tiny import OPTIONS, defective_image, good_image, save, write_table

RUN = CliRunner()


def run(*arguments):
    done = RUN.invoke(app, [str(one) for one in arguments])
    return done.exit_code, re.sub(r"[\s│]+", " ", done.stderr), done.stdout


TABLES = (
    ("NONE", "no such file; a table in .csv or .parquet was wanted"),
    ("good", "a folder; a table in .csv or .parquet was wanted"),
    ("binary", "not a CSV table in UTF-8"),
    ("text/a.txt", "no column key, path, split, label"),
)
KEYS = (
    ("NONE", "no such file; a file of keys, as 'differnet make-key NAME' prints them, was wanted"),
    ("good", "a folder; a file of keys"),
    ("binary", "no text in UTF-8"),
)
SETTINGS = (
    ("NONE", "no such file; a TOML"),
    ("good", "a folder; a TOML or YAML file"),
    ("text/a.txt", "no TOML"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model, good images, defective ones, a data set and a table."""
    root = tmp_path_factory.mktemp("codes")
    for index in range(12):
        save(root / f"good/{index:02}.png", good_image(index, 40))
        save(root / f"other/{index:02}.png", good_image(50 + index, 40))
    for index in range(3):
        save(root / f"bad/{index}.png", defective_image(index, 40)[0])
    save(root / "mixed/0.png", good_image(0, 40))
    (root / "mixed/1.png").write_bytes(b"no image")
    (root / "empty").mkdir()
    (root / "text").mkdir()
    (root / "text/a.txt").write_text("text")
    (root / "binary").write_bytes(b"\xff\xfe\x00")
    (root / "folder.csv").mkdir()
    for kind in ("Free", "Blowhole", "Break", "Crack", "Fray", "Uneven"):
        save(root / f"tiles/MT_{kind}/Imgs/a.jpg", good_image(0, 40))
    code, said, _ = run("fit", root / "good", "--out", root / "m.safetensors", "--set", "rate=0.5", *OPTIONS)
    assert code == 0, said
    return root


def test_what_is_done_ends_with_0(place, tmp_path):
    model = place / "m.safetensors"
    for arguments in (
        ("--version",),
        ("info", model),
        ("plan",),
        ("score", model, place / "other"),
        ("calibrate", model, place / "other", "--out", tmp_path / "c", "--marginal"),
        ("report", model, place / "other", "--out", tmp_path / "r.html", "--no-maps"),
        ("evaluate", place / "good", "--no-maps", *OPTIONS),
        ("make-key", "somebody"),
    ):
        assert run(*arguments)[0] == 0, arguments


def test_flagged_images_end_with_1_on_request_alone(detector, tmp_path):
    detector.save(tmp_path / "m.safetensors")
    for index in range(3):
        save(tmp_path / f"bad/{index}.png", defective_image(index)[0])
    asked = "score", tmp_path / "m.safetensors", tmp_path / "bad"
    codes = [run(*asked)[0], run(*asked, "--fail-on-defect")[0]]
    assert codes == [0, 1]


def test_skipped_images_end_with_3(place, tmp_path):
    model = place / "m.safetensors"
    assert run("score", model, place / "mixed")[0] == 2
    assert run("score", model, place / "mixed", "--on-error", "skip")[0] == 3
    assert run("score", model, place / "mixed", "--on-error", "skip", "--fail-on-defect")[0] == 3
    table = write_table(tmp_path, ("a", "b"), poison="b")
    assert run("fit-many", table, "--out", tmp_path / "models", "--no-maps", *OPTIONS)[0] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fit", "NONE", "--out", "OUT"), "no such file or folder"),
        (("fit", "empty", "--out", "OUT"), "no image found"),
        (("fit", "text", "--out", "OUT"), "no image found among 1 file"),
        (("fit", "mixed", "--out", "OUT", *OPTIONS), "not an image that can be read"),
        (("fit", "good", "--out", "OUT", "--preset", "fats"), "fast"),
        (("fit", "good", "--out", "OUT", "--folds", "99", *OPTIONS), "99 folds of 12 images"),
        (("score", "NONE", "good"), "no such model file"),
        (("score", "m.safetensors", "NONE"), "no such file or folder"),
        (("score", "m.safetensors", "text"), "no image found"),
        (("score", "m.safetensors", "empty"), "no image found"),
        (("score", "m.safetensors", "good", "--views", "0"), ""),
        (("score", "m.safetensors", "good", "--engine", "dask"), ""),
        (("calibrate", "m.safetensors", "good", "--out", "OUT", "--marginal"), "fitted to"),
        (
            ("calibrate", "m.safetensors", "other", "--out", "OUT", "--rate", "0.01"),
            "12 good images to calibrate on: 299",
        ),
        (
            ("calibrate", "m.safetensors", "other", "--out", "OUT", "--marginal", "--defects", "NONE"),
            "no such file",
        ),
        (("report", "NONE", "good", "--out", "OUT"), "no such model file"),
        (("report", "m.safetensors", "NONE", "--out", "OUT"), "no such"),
        (("export", "NONE", "--to", "OUT"), "no such model file"),
        (("export", "m.safetensors", "--to", "OUT", "--format", "tflite"), "tflite"),
        (("info", "NONE"), "no such model file"),
        (("info", "good/00.png"), "damaged or not a model file"),
        (("evaluate", "NONE"), "no such folder"),
        (("evaluate", "empty"), "no image found"),
        (("evaluate", "good", "--layout", "mvtec"), "expected train/good"),
        (("reproduce", "table9", "good", "--out", "OUT"), "table9"),
        (("reproduce", "table2", "NONE", "--out", "OUT"), "no such"),
        (("compare", "NONE"), "no such folder"),
        (("compare", "good", "--methods", "nothing"), "nothing"),
        *((("fit-many", place, "--out", "OUT"), said) for place, said in TABLES),
        (
            ("fit", "good", "--out", "OUT", "--checkpoint", "text/a.txt", *OPTIONS),
            "no folder; a folder for the",
        ),
        (("fit", "good", "--out", "OUT", "--group-table", "NONE"), "no such file; a table in CSV"),
        (("fit", "good", "--out", "OUT", "--group-table", "good"), "a folder; a table in CSV"),
        (("fit", "good", "--out", "OUT", "--ignore", "NONE"), "no such file; an image file was wanted"),
        (("fit", "good", "--out", "OUT", "--weights", "NONE"), "no such weights file"),
        (("score", "m.safetensors", "good", "--maps", "text/a.txt"), "no folder; a folder for overlays"),
        (("score", "m.safetensors", "good", "--drift", "good"), "it is a folder, a file name was wanted"),
        (("score", "m.safetensors", "good", "--out", "folder.csv"), "it is a folder, a file name was wanted"),
        (("evaluate", "text/a.txt"), "a file of another kind; a folder, or a table"),
        (("evaluate", "tiles", "--layout", "mtd", "--split", "NONE"), "no such file; a split file"),
        (("evaluate", "tiles", "--layout", "mtd", "--split", "binary"), "no text in UTF-8"),
        *((("serve", "good", "--keys", place), said) for place, said in KEYS),
        *((("serve", "--settings", place), said) for place, said in SETTINGS),
        (("quantize", "NONE", "good", "--out", "OUT"), "no such model file"),
        (("plan", "--rate", "5"), "rate = 5.0"),
        (("audit", "NONE", "good"), "no such model file"),
        (("audit", "m.safetensors", "NONE"), "no such file or folder"),
        (("audit", "m.safetensors", "good"), "fitted to or calibrated on"),
        (("serve", "NONE"), ""),
        (("watch", "NONE", "--model", "NONE"), "no such folder or file"),
        (("watch", "good", "--model", "NONE"), ""),
        (("export-good", "sqlite:////no/such.sqlite3", "--model", "a", "--to", "OUT"), "no such record"),
        (("nonsense",), ""),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_says_why(place, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    names = {"NONE": tmp_path / "none", "OUT": tmp_path / "out"}
    known = {path.name for path in place.iterdir()}
    code, text, out = run(
        *(names.get(one, place / one if one.partition("/")[0] in known else one) for one in arguments)
    )
    assert code == 2, text
    assert said in text
    assert "defect of differnet" not in text
    assert "Traceback" not in text
    assert "Errno" not in text
    assert out == ""
    assert not (tmp_path / "out").exists()


def test_a_demo_that_cannot_be_run_ends_with_2(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("text")
    code, text, out = run("demo", "--out", tmp_path / "file")
    assert (code, out) == (2, "")
    assert "file" in text
    assert "Errno" not in text
    assert "defect of differnet" not in text
    assert run("demo", "--seed", "-1", "--out", tmp_path / "out")[0] == 2
    monkeypatch.setitem(sys.modules, "skimage", None)  # as where it is not installed
    code, text, _ = run("demo", "--out", tmp_path / "out")
    assert code == 2
    assert "pip install" in text


def unused():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.parametrize(
    "source", ["http://127.0.0.1:{}/stream", "rtsp://127.0.0.1:{}/stream", "/dev/video97"]
)
def test_a_camera_that_is_not_there_is_no_success(upright_onnx, tmp_path, source):
    pytest.importorskip("av")
    camera = source.format(unused())
    store = f"sqlite:///{tmp_path}/record.sqlite3"
    code, _, out = run("watch", camera, "--model", upright_onnx[0], "--store", store, "--once", "--json")
    assert code == 2
    events = [json.loads(line) for line in out.splitlines()]
    assert [one["event"] for one in events if one["event"] == "unreachable"] == ["unreachable"]
    assert events[-1]["inspections"] == 0


@pytest.mark.parametrize(
    ("key", "said"), [("none", "no such file; a file with"), (".", "a folder; a file with")]
)
def test_a_key_of_a_webhook_that_is_not_there_is_said(upright_onnx, tmp_path, monkeypatch, key, said):
    pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    asked = "watch", tmp_path, "--model", upright_onnx[0], "--once", "--webhook", "http://127.0.0.1:9/"
    code, text, _ = run(*asked, "--store", "sqlite:///r.sqlite3", "--webhook-key", key)
    assert code == 2
    assert said in text
    assert "Errno" not in text


def test_a_watched_folder_ends_with_0_and_3(upright_onnx, tmp_path):
    pytest.importorskip("sqlalchemy")
    save(tmp_path / "images/0.png", good_image(0))
    (tmp_path / "none").mkdir()
    more = ["--model", upright_onnx[0], "--once", "--json", "--settle", "0", "--patience", "0"]
    store = ["--store", f"sqlite:///{tmp_path}/record.sqlite3"]
    assert run("watch", tmp_path / "none", *more, *store)[0] == 0
    assert run("watch", tmp_path / "images", *more, *store)[0] == 0
    (tmp_path / "images/1.png").write_bytes(b"no image")
    assert run("watch", tmp_path / "images", *more, *store)[0] == 3
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert run("watch", tmp_path / "broken.mp4", *more, *store)[0] == 3
