"""What of an image was not looked at stands with its verdict: in predictions, rows, answers and the record."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from differnet import Inspector
from differnet.batch.rows import inputs, judge_all
from differnet.cli.app import app
from differnet.errors import ImageWarning, noting, warn
from support import levels, stations
from support.tiny import good_image, save

PAGES = "page 1 is looked at, and 2 more pages of it are not; --all-pages (score, fit, calibrate) takes all of them"
pytestmark = pytest.mark.filterwarnings("ignore::differnet.DifferNetWarning")


def pages(count=3):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for index in range(count):
            file.write(good_image(500 + index), photometric="rgb", contiguous=False)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "parts"
    save(root / "a.png", good_image(500))
    (root / "b.tif").write_bytes(pages())
    (root / "c.png").write_bytes(b"no image")
    return root


def test_a_prediction_has_the_note_of_its_image_alone(upright, fixed, folder):
    wanted = [None, f"{folder}/b.tif: {PAGES}", None]
    paths = [folder / "a.png", folder / "b.tif", folder / "a.png"]
    for judge in (upright, Inspector(fixed)):
        assert [found.note for found in judge.predict_iter(paths)] == wanted
        assert [found.note for found in judge.predict_iter(paths, heat_map=True)] == wanted
        assert [judge.predict(path, views="auto").note for path in paths] == wanted
        assert judge.predict(paths[0]) == judge.predict(good_image(500))


def test_levels_beyond_white_are_noted(upright, fixed):
    over = levels.levels(4095)
    over[:2, :3] = 5000
    for judge in stations.by_white(upright, fixed, 4095.0):
        assert judge.predict(levels.levels(4095)).note is None
        assert judge.predict(over).note == (
            "array: 6 of 4,096 levels lie above white (4095), up to 5000; they are taken for white"
        )


def test_rows_have_it_in_every_form(detector, folder, tmp_path):
    detector.save(tmp_path / "m.safetensors")
    wanted = ["", f"{folder}/b.tif: {PAGES}", ""]
    asked = ["score", str(tmp_path / "m.safetensors"), str(folder), "--on-error", "skip", "--views", "1"]
    for name in ("rows.csv", "rows.jsonl"):
        assert CliRunner().invoke(app, [*asked, "--out", str(tmp_path / name)]).exit_code == 3
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert [row["note"] for row in csv.DictReader(file)] == wanted
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line)["note"] or "" for line in lines] == wanted
    shown = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert [row["note"] or "" for row in shown["images"]] == wanted
    drawn = list(
        judge_all(detector, inputs([folder], "skip"), tmp_path / "maps", lambda *_: None, None, "skip")
    )
    assert [row["note"] or "" for row in drawn] == wanted


def test_a_square_that_was_made_elsewhere_comes_with_it(detector, folder):
    from differnet.batch.cluster.inventory import Entry
    from differnet.batch.cluster.loading import squares
    from differnet.batch.cluster.worker import Judge

    entries = [Entry(str(path), str(path), "file") for path in sorted(folder.iterdir())]
    settings = detector.settings
    judge = Judge(detector)
    found = [judge.row(taken) for taken in squares(entries, settings.canvas, settings.views)]
    assert found == list(judge_all(detector, inputs([folder], "skip"), None, lambda *_: None, None, "skip"))
    assert [row["note"] for row in found] == [None, f"{folder}/b.tif: {PAGES}", None]


@pytest.mark.filterwarnings("ignore::differnet.errors.ImageWarning")
def test_a_note_stays_within_its_block():
    with noting() as outer:
        warn("one", ImageWarning)
        with noting() as inner:
            warn("two", ImageWarning)
        warn("three", ImageWarning)
        warn("of no image")
    warn("four", ImageWarning)
    assert (outer.text, inner.text) == ("one; three", "two")


def test_an_answer_and_the_record_have_it(fixed, tmp_path):
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    from differnet.service.http import server
    from differnet.service.http.app import create_app
    from differnet.service.http.limits import Limits

    url, limits = f"sqlite:///{tmp_path}/r.sqlite3", Limits(hosts=("testserver",))
    service = server.build({"a": str(fixed)}, url, None, "127.0.0.1", limits)
    with TestClient(create_app(service)) as client:
        found = client.post("/v1/models/a/inspect", files={"image": ("b.tif", pages())}).json()
        plain = client.post(
            "/v1/models/a/inspect", files={"image": ("a.png", levels.grey_png(levels.levels(255)))}
        )
        assert (found["image_note"], plain.json()["image_note"]) == (f"b.tif: {PAGES}", None)
        assert client.get(f"/v1/inspections/{found['id']}").json()["image_note"] == found["image_note"]
        many = client.post("/v1/models/a/inspect-batch", files=[("images", ("b.tif", pages()))]).json()
        assert many["inspections"][0]["image_note"] == f"b.tif: {PAGES}"


def test_a_watched_file_has_it(tmp_path):
    pytest.importorskip("watchfiles", reason='pip install "differnet[watch]"')
    from support.arrivals import Notes, age

    (tmp_path / "b.tif").write_bytes(pages())
    age(tmp_path / "b.tif", 100)
    (arrival,) = Notes().once(tmp_path)
    assert arrival.note == f"{tmp_path}/b.tif: {PAGES}"
    np.testing.assert_array_equal(arrival.pixels, good_image(500))
