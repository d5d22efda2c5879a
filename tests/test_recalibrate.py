"""Another threshold for a fitted model: what changes, what the model file notes of it, and what is refused."""

from __future__ import annotations

import copy
import json
import re
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import differnet
from conftest import TINY, good_image
from differnet import artifact, storage
from differnet.calibrate import choose_threshold
from differnet.cli import app
from differnet.errors import ConfigError, DifferNetError, DifferNetWarning, ModelFileError
from differnet.light import measure
from differnet.record import CalibrationRecord, record_of
from test_detector import fit

FRESH = [good_image(700 + i) for i in range(20)]
RUN = CliRunner()


@pytest.fixture
def again(detector):
    return copy.copy(detector)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Thirty good images in files, three of each part."""
    root = tmp_path_factory.mktemp("good")
    for i in range(30):
        Image.fromarray(good_image(700 + i)).save(root / f"part{i // 3}-{i % 3}.png")
    return root


@pytest.fixture
def file(detector, tmp_path):
    path = tmp_path / "model.safetensors"
    detector.save(path)
    return path


def test_a_confidence_is_kept_by_the_model_and_can_be_taken_away(again, tmp_path):
    promise = again.calibrate(FRESH, rate=0.2, confidence=0.8, review_rate=0.5)
    assert promise == choose_threshold(again.model.calibration(), 0.2, 0.8)
    assert (promise.guarantee, promise.confidence, again.threshold) == ("conditional", 0.8, promise.value)
    again.save(tmp_path / "model")
    loaded = differnet.load(tmp_path / "model")
    assert loaded.promise == promise
    assert loaded.predict(FRESH[0]) == again.predict(FRESH[0])
    with pytest.raises(ConfigError, match="20 good images to calibrate on: 299 are needed"):
        loaded.calibrate(FRESH, rate=0.01, confidence=0.95)
    assert loaded.promise == promise
    marginal = loaded.calibrate(FRESH, confidence=0, review_rate=0)
    assert (marginal.guarantee, marginal.rate) == ("marginal", 0.2)
    assert loaded.predict(FRESH[0]).review_threshold is None


def test_too_few_are_refused_before_any_is_looked_at(again, tmp_path):
    with pytest.raises(ConfigError, match="58 good images .* 59 are needed"):
        again.calibrate([tmp_path / "none.png"] * 58, rate=0.05, confidence=0.95)
    with pytest.raises(ConfigError, match="5 good images .* 8 are needed"):
        fit([tmp_path / "none.png"] * 24, settings={"rate": 0.2, "confidence": 0.8})


def test_a_fit_can_promise_with_confidence_and_notes_what_it_held_out(good_images):
    groups = [i // 4 for i in range(24)]
    settings = {"rate": 0.2, "confidence": 0.8, "epochs": 1}
    with pytest.warns(DifferNetWarning, match="the 8 images to calibrate on are of 2 groups"):
        detector = differnet.DifferNet("default", seed=1, weights="random", **TINY | settings).fit(
            good_images, groups=groups
        )
    assert detector.promise.guarantee == "conditional"
    assert (detector.model.calibrated_on.count, detector.model.calibrated_on.groups) == (8, 2)


def test_the_record_says_what_when_and_how_bright(again):
    before = datetime.now(timezone.utc) - timedelta(seconds=2)
    again.calibrate(FRESH, rate=0.1, groups=[i // 2 for i in range(20)])
    record = again.model.calibrated_on
    assert (record.count, record.groups) == (20, 10)
    assert before <= datetime.fromisoformat(record.date) <= datetime.now(timezone.utc)
    assert record.date.endswith("+00:00")
    assert (record.brightness[3], record.sharpness[3]) == measure(FRESH[3])
    assert artifact.summarise(again.model)["calibrated_on"] == record.summary()
    assert "brightness" not in repr(record)


def test_the_digest_is_of_the_images_in_any_order(folder):
    paths = sorted(folder.iterdir())
    digest = record_of(paths).digest
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert record_of(paths[::-1]).digest == digest
    assert record_of(paths[1:]).digest != digest != record_of([*paths[1:], paths[1]]).digest


def test_groups_that_do_not_go_with_the_images_are_refused(again):
    for groups in ([], ["a"] * 19):
        with pytest.raises(ConfigError, match="groups for 20 images"):
            again.calibrate(FRESH, rate=0.1, groups=groups)
        with pytest.raises(ConfigError, match="groups for 20 images"):
            record_of(FRESH, groups)


def rewrite(file, change):
    header, tensors = storage.read_tensors(file)
    change(header)
    storage.write_tensors(file, tensors, header)


def test_files_of_before_have_no_record(detector, file):
    def older(header):
        del header["calibrated_on"]
        for name in ("confidence", "review_rate"):
            del header["config"]["decision"][name]

    rewrite(file, older)
    old = differnet.load(file)
    assert old.model.calibrated_on is None
    assert old.config == detector.config
    assert old.threshold == detector.threshold
    with pytest.raises(ConfigError, match="calibrate it on good images first"):
        old.drift_monitor()
    old.calibrate(FRESH, rate=0.1)
    assert old.drift_monitor().update(old.score([FRESH[0]])[0], *measure(FRESH[0])).images == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["calibrated_on"].update(count=4),
        lambda h: h["calibrated_on"].update(groups=0),
        lambda h: h["calibrated_on"].update(brightness=[1.0]),
        lambda h: h.update(calibrated_on={}),
        lambda h: h.update(calibrated_on=record_of(FRESH).to_dict()),
        lambda h: h["config"]["decision"].update(confidence=0.95),
        lambda h: h["config"]["decision"].update(review_rate=0.001),
    ],
)
def test_records_and_promises_that_do_not_fit_are_refused(file, change):
    rewrite(file, change)
    with pytest.raises(ModelFileError, match="do not fit together"):
        differnet.load(file)


def test_a_record_goes_through_json():
    record = record_of(FRESH[:3])
    assert CalibrationRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_the_monitor_sees_the_light_go(again):
    again.calibrate(FRESH, rate=0.1)
    monitor = again.drift_monitor(alpha=0.05)
    state = None
    for i in range(80):
        dim = (good_image(3000 + i) * 0.6).astype(np.uint8)
        state = monitor.update(again.score([dim])[0], *measure(dim))
    assert state.is_alarm
    assert "light" in state.causes
    assert state.brightness.alarm == "lower"


def test_the_command_calibrates_anew(file, folder, tmp_path):
    target = tmp_path / "new.safetensors"
    options = ["--rate", "0.2", "--confidence", "0.9", "--review-rate", "0.5", "--group-pattern", r"part\d+"]
    done = RUN.invoke(app, ["calibrate", str(file), str(folder), "--out", str(target), *options])
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "Threshold" in said
    assert "with 90% confidence over the draw of the 30 images" in said
    assert "a person should look" in said
    assert "Calibrated on 30 images of 10 groups" in said
    assert "the 30 images to calibrate on are of 10 groups" in " ".join(done.stderr.split())
    info = json.loads(RUN.invoke(app, ["info", str(target), "--json"]).stdout)
    assert (info["guarantee"], info["confidence"]) == ("conditional", 0.9)
    assert info["review_threshold"] < info["threshold"]
    assert info["calibrated_on"]["count"] == info["calibration_count"] == 30
    back = ["--confidence", "0", "--review-rate", "0", "--json"]
    done = RUN.invoke(app, ["calibrate", str(target), str(folder), "--out", str(target), *back])
    document = json.loads(done.stdout)
    assert (document["guarantee"], document["confidence"], document["review_threshold"]) == (
        "marginal",
        None,
        None,
    )
    assert document["config"]["decision"]["rate"] == 0.2


def test_rows_have_the_three_answers(file, folder, tmp_path):
    target, table = tmp_path / "new.safetensors", tmp_path / "rows.csv"
    options = ["--rate", "0.1", "--review-rate", "0.6"]
    RUN.invoke(app, ["calibrate", str(file), str(folder), "--out", str(target), *options])
    done = RUN.invoke(app, ["score", str(target), str(folder), "--json", "--out", str(table)])
    document = json.loads(done.stdout)
    for row in document["images"]:
        wanted = "NG" if row["is_defective"] else "OK"
        if wanted == "OK" and row["score"] >= document["review_threshold"]:
            wanted = "review"
        assert row["verdict"] == wanted
        assert row["percent"] == pytest.approx(100 * row["score"] / row["threshold"])
    assert "verdict,percent" in table.read_text().splitlines()[0]
    told = RUN.invoke(app, ["score", str(target), str(folder)])
    assert re.search(r"review +\d+\.\d+ +\d+%", told.stdout)
    assert re.search(r"\d+ to review", told.stderr)


def test_what_cannot_be_calibrated_leaves_no_file(file, folder, tmp_path):
    target = tmp_path / "new.safetensors"
    start = ["calibrate", str(file), str(folder), "--out", str(target)]
    for options, message in (
        (["--rate", "0.01", "--confidence", "0.95"], "30 good images to calibrate on: 299 are needed"),
        (["--rate", "0.1", "--review-rate", "0.05"], "review_rate = 0.05 must be above rate = 0.1"),
        (["--rate", "0"], "greater than 0"),
        (["--group-pattern", "nothing"], "matches not in 30 paths"),
    ):
        done = RUN.invoke(app, [*start, *options])
        assert done.exit_code == 2
        assert message in " ".join(done.stderr.split())
        assert not target.exists()


def test_nothing_to_calibrate_on(again):
    with pytest.raises(DifferNetError, match="no images were given"):
        again.calibrate([], rate=0.1)
