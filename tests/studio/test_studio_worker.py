"""What a job does, in this process: which pictures stand first, what is promised, what is found of known defects."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from differnet.errors import DifferNetWarning
from differnet.studio.worker.fit import fit
from differnet.studio.worker.judge import judge
from differnet.studio.worker.ship import copy
from differnet.studio.worker.telling import Teller
from support.service_fixture import SETTINGS
from support.tiny import defective_image, good_image, save

HIDDEN = 17  # the number of the defect among the good pictures


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A fit to 60 good pictures with a defect among them, and all that it said."""
    root, said = tmp_path_factory.mktemp("worker"), []
    for i in range(60):
        save(root / "good" / f"{i:02}.png", defective_image(i)[0] if i == HIDDEN else good_image(i))
    pictures = [{"id": f"id{i}", "path": str(root / "good" / f"{i:02}.png")} for i in range(60)]
    wanted = {"preset": "default", "settings": SETTINGS, "seed": 1, "weights": "random", "pictures": pictures}
    (root / "job").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        fit(root / "job", wanted, lambda *one: said.append(one))
    return root, json.loads((root / "job" / "result.json").read_bytes()), said


def test_the_defect_among_the_good_pictures_stands_first_with_its_map(fitted):
    root, result, _ = fitted
    assert result["good"][0]["id"] == f"id{HIDDEN}"
    assert result["good"][0]["score"] > 1.5 * result["good"][1]["score"]
    scores = [one["score"] for one in result["good"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 60
    maps = {path.stem for path in (root / "job" / "maps").iterdir()}
    assert maps == {one["id"] for one in result["good"][:12]}


def test_what_was_found_is_what_the_model_says(fitted):
    from differnet import load

    root, result, said = fitted
    detector = load(root / "job" / "model.safetensors", weights="random")
    assert result["threshold"] == detector.threshold
    assert result["promise"] == str(detector.promise)
    held = [one for one in result["good"] if one["held_out"]]
    assert len(held) == result["calibration_count"] == detector.promise.count
    calibration = np.sort(detector.model.calibration())
    assert np.sort([one["score"] for one in held]) == pytest.approx(calibration, rel=1e-5)
    stages = [stage for stage, _, _ in said]
    assert stages[-1] == "drawing heat maps"
    assert "judging good pictures" in stages


def test_known_defects_are_counted_by_type_and_move_no_threshold(fitted, tmp_path):
    root, result, _ = fitted
    rows = []
    for i in range(4):
        pixels = good_image(900 + i) if i == 3 else defective_image(i)[0]  # a "defect" that nobody can see
        save(tmp_path / f"{i}.png", pixels)
        defect = "unseen" if i == 3 else "square"
        rows.append({"id": f"d{i}", "path": str(tmp_path / f"{i}.png"), "name": f"{i}.png", "defect": defect})
    wanted = {"model": str(root / "job" / "model.safetensors"), "weights": "random", "pictures": rows}
    judge(tmp_path, wanted, lambda *_: None)
    found = json.loads((tmp_path / "result.json").read_bytes())
    told = {one["defect"]: (one["found"], one["count"]) for one in found["recalls"]}
    assert told["square"] == (3, 3)
    assert told["unseen"][1] == 1
    assert found["defects"][0]["id"] == "d3"
    assert all(one["score"] >= result["threshold"] for one in found["defects"] if one["verdict"] == "NG")
    assert {path.stem for path in (tmp_path / "maps").iterdir()} == {"d0", "d1", "d2", "d3"}


def test_a_station_is_copied_whole_and_over_nothing(tmp_path):
    (tmp_path / "station").mkdir()
    (tmp_path / "station" / "manifest.json").write_text("{}")
    copy(tmp_path / "station", tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "manifest.json").read_text() == "{}"
    with pytest.raises(ValueError, match="is there already"):
        copy(tmp_path / "station", tmp_path / "a" / "b")
    (tmp_path / "empty").mkdir()
    copy(tmp_path / "station", tmp_path / "empty")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "empty", "station"]


def test_progress_is_said_at_its_begin_and_end_and_not_too_often():
    lines = []
    tell = Teller(lines.append)
    for done in range(1000):
        tell("fitting", done, 999)
    tell.say(error="no")
    found = [json.loads(line) for line in lines]
    assert found[0] == {"stage": "fitting", "done": 0, "total": 999}
    assert found[-2:] == [{"stage": "fitting", "done": 999, "total": 999}, {"error": "no"}]
    assert len(found) < 20
