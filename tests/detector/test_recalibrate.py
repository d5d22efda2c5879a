"""Another threshold for a fitted model: what changes, what the model file notes of it, and what is refused."""

from __future__ import annotations

import copy
import json
import re
import warnings
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import differnet
from differnet.cli.app import app
from differnet.data.images import load
from differnet.data.pixels import pixel_digest
from differnet.decision.light import measure
from differnet.decision.thresholds import choose_threshold
from differnet.detector import model
from differnet.detector.provenance import CalibrationRecord, Way, record_of
from differnet.errors import ConfigError, DifferNetError, DifferNetWarning, ModelFileError
from support.model_files import rewrite_header
from support.tiny import TINY, defective_image, fit, good_image

WAY = Way(8, "torch", "f32")
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
    marginal = loaded.calibrate(FRESH, confidence=None, review_rate=0)
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
    again.calibrate(FRESH, rate=0.1, groups=[i // 2 for i in range(20)], confidence=None)
    record = again.model.calibrated_on
    assert (record.count, record.groups) == (20, 10)
    assert before <= datetime.fromisoformat(record.date) <= datetime.now(timezone.utc)
    assert record.date.endswith("+00:00")
    assert (record.brightness[3], record.sharpness[3]) == measure(FRESH[3])
    assert model.summarise(again.model)["calibrated_on"] == record.summary()
    assert "brightness" not in repr(record)


def test_the_digest_is_of_the_images_in_any_order(folder):
    paths = sorted(folder.iterdir())
    digest = record_of(paths, None, WAY, None).digest
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert record_of(paths[::-1], None, WAY, None).digest == digest
    assert (
        record_of(paths[1:], None, WAY, None).digest
        != digest
        != record_of([*paths[1:], paths[1]], None, WAY, None).digest
    )


def test_groups_that_do_not_go_with_the_images_are_refused(again):
    for groups in ([], ["a"] * 19):
        with pytest.raises(ConfigError, match="groups for 20 images"):
            again.calibrate(FRESH, rate=0.1, groups=groups, confidence=None)
        with pytest.raises(ConfigError, match="groups for 20 images"):
            record_of(FRESH, groups, WAY, None)


def test_files_of_before_have_no_record(detector, file):
    def older(header):
        del header["calibrated_on"]
        for name in ("confidence", "review_rate"):
            del header["config"]["decision"][name]

    rewrite_header(file, older)
    old = differnet.load(file)
    assert old.model.calibrated_on is None
    assert old.config == detector.config
    assert old.threshold == detector.threshold
    with pytest.raises(ConfigError, match="calibrate it on good images first"):
        old.drift_monitor()
    old.calibrate(FRESH, rate=0.1, confidence=None)
    assert old.drift_monitor().update(old.score([FRESH[0]])[0], *measure(FRESH[0])).images == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["calibrated_on"].update(count=4),
        lambda h: h["calibrated_on"].update(groups=0),
        lambda h: h["calibrated_on"]["way"].update(views=7),
        lambda h: h["calibrated_on"].update(brightness=[1.0]),
        lambda h: h.update(calibrated_on={}),
        lambda h: h.update(calibrated_on=record_of(FRESH, None, WAY, None).to_dict()),
        lambda h: h["config"]["decision"].update(confidence=0.95),
        lambda h: h["config"]["decision"].update(review_rate=0.001),
    ],
)
def test_records_and_promises_that_do_not_fit_are_refused(file, change):
    rewrite_header(file, change)
    with pytest.raises(ModelFileError, match="do not fit together"):
        differnet.load(file)


def test_a_record_goes_through_json():
    record = record_of(FRESH[:3], None, WAY, None)
    assert CalibrationRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_the_monitor_sees_the_light_go(again):
    again.calibrate(FRESH, rate=0.1, confidence=None)
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
    assert "are worth about" not in done.stderr  # their scores do not tell the groups apart
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
    options = ["--rate", "0.1", "--review-rate", "0.6", "--marginal"]
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
        (["--rate", "0", "--marginal"], "greater than 0"),
        (["--group-pattern", "nothing"], "matches not in 30 paths"),
    ):
        done = RUN.invoke(app, [*start, *options])
        assert done.exit_code == 2
        assert message in " ".join(done.stderr.split())
        assert not target.exists()


def test_nothing_to_calibrate_on(again):
    with pytest.raises(DifferNetError, match="no images were given"):
        again.calibrate([], rate=0.1, confidence=None)


def short_digest(image):
    """Return the digest by which a record knows an image: of its pixels, whatever it is read from."""
    return pixel_digest(load(image))


def test_images_that_were_fitted_to_are_refused(again, good_images):
    mixed = [*FRESH, good_images[0], good_images[1]]
    known = set(again.model.fitted_on.images)
    seen = sum(short_digest(image) in known for image in mixed)
    assert len(known) == again.model.train_count
    with pytest.raises(
        ConfigError,
        match=f"{seen} of 22 images .* (was|were) fitted to.*give others",
    ):
        again.calibrate(mixed, rate=0.1, confidence=None)
    with pytest.raises(ConfigError, match="were fitted to"):
        again.calibrate(good_images, rate=0.1, confidence=None)


def test_an_image_is_known_by_its_pixels_from_whatever_it_is_read(folder, tmp_path):
    paths = sorted(folder.iterdir())
    detector = fit_files(paths[:24])
    held = set(detector.model.calibrated_on.sources.images)
    fitted = next(path for path in paths[:24] if short_digest(path) not in held)
    picture = Image.open(fitted)
    picture.save(tmp_path / "same.bmp")
    for same in (np.asarray(picture), picture, tmp_path / "same.bmp"):
        with pytest.raises(ConfigError, match="1 of 7 images to calibrate on was fitted to"):
            detector.calibrate([*paths[24:], same], rate=0.3, confidence=None)
    tall, wide = np.zeros((8, 4, 3), np.uint8), np.zeros((4, 8, 3), np.uint8)
    assert short_digest(tall) != short_digest(wide)


def test_copies_among_calibration_images_are_told(again):
    with pytest.warns(DifferNetWarning, match="4 of the 24 images to calibrate on are copies of others"):
        again.calibrate([*FRESH, *FRESH[:4]], rate=0.1, confidence=None)
    assert again.model.calibrated_on.copies == 4
    with pytest.warns(
        DifferNetWarning, match="24 calibration images come to 20 groups or different pictures"
    ):
        again.drift_monitor()


def test_groups_weaken_the_monitor_and_the_promise_on_average(again):
    places = np.argsort(np.argsort(again.score(FRESH)))  # images of one group score alike
    with pytest.warns(DifferNetWarning, match="are of 5 groups, and the promise on average"):
        again.calibrate(FRESH, rate=0.1, groups=[int(place) // 4 for place in places], confidence=None)
    with pytest.warns(DifferNetWarning, match="20 calibration images come to 5 groups"):
        again.drift_monitor()
    again.calibrate(FRESH, rate=0.1, confidence=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.drift_monitor()


def test_calibrating_promises_with_confidence_unless_told_otherwise(again, file, folder, tmp_path):
    with pytest.raises(
        ConfigError, match="20 good images to calibrate on: 29 are needed .* 9 more.*--marginal"
    ):
        again.calibrate(FRESH, rate=0.1)
    assert again.calibrate(FRESH, rate=0.2).confidence == 0.95
    target = tmp_path / "new.safetensors"
    start = ["calibrate", str(file), str(folder), "--out", str(target), "--json"]
    done = RUN.invoke(app, start)
    assert done.exit_code == 2
    assert "30 good images to calibrate on: 299 are needed" in " ".join(done.stderr.split())
    assert not target.exists()
    sure = json.loads(RUN.invoke(app, [*start, "--rate", "0.1"]).stdout)
    assert (sure["guarantee"], sure["confidence"]) == ("conditional", 0.95)
    average = json.loads(RUN.invoke(app, [*start, "--rate", "0.1", "--marginal"]).stdout)
    assert (average["guarantee"], average["confidence"]) == ("marginal", None)


def test_a_review_rate_that_cannot_be_promised_is_told(again):
    with pytest.warns(DifferNetWarning, match="5 good images are too few for a review rate of 2.00% as well"):
        again.calibrate(FRESH[:5], rate=0.01, review_rate=0.02, confidence=None)
    with pytest.warns(DifferNetWarning) as said:
        again.calibrate(FRESH[:5], rate=0.1, review_rate=0.2, confidence=None)
    assert not any("review rate" in str(one.message) for one in said)  # 1 in 6 is kept


def fit_files(paths, **options):
    settings = TINY | {"epochs": 1, "rate": 0.3}
    return differnet.DifferNet("default", 1, "random", **settings).fit(paths, **options)


def test_a_shoot_that_was_fitted_to_is_told_by_its_groups(folder):
    paths = sorted(folder.iterdir())
    shoots = [path.name.partition("-")[0] for path in paths]
    detector = fit_files(paths[:24], groups=shoots[:24])
    known = detector.model.calibrated_on.sources, detector.model.fitted_on
    assert not known[0].shares_group(known[1])  # groups are kept apart
    assert detector.model.calibrated_on.same_shoot  # but parts of one folder may be of one shoot
    fresh = [good_image(1200 + i) for i in range(6)]
    fitted = {shoots[i] for i in range(24)} - {shoots[i] for i in held_positions(detector, paths[:24])}
    with pytest.warns(DifferNetWarning, match="the shoot that was fitted to .by their groups"):
        detector.calibrate(fresh, groups=[sorted(fitted)[0], "b", "c", "d", "e", "f"], confidence=None)
    assert detector.model.calibrated_on.same_shoot
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.calibrate(fresh, rate=0.3, groups=list("abcdef"), confidence=None)
    assert not detector.model.calibrated_on.same_shoot


def held_positions(detector, paths):
    held = set(detector.model.calibrated_on.sources.images)
    return [i for i, path in enumerate(paths) if short_digest(path) in held]


def test_without_groups_a_shoot_is_told_by_its_folder(folder, tmp_path):
    paths = sorted(folder.iterdir())
    with warnings.catch_warnings():  # held out of the same folder, as they must be
        warnings.filterwarnings("error", "(?s).*fitted to", DifferNetWarning)
        detector = fit_files(paths[:24])
    assert detector.model.calibrated_on.same_shoot
    with pytest.warns(DifferNetWarning, match="lie in a folder that was fitted to.*another day"):
        detector.calibrate(paths[24:], rate=0.3, confidence=None)
    elsewhere = [tmp_path / path.name for path in paths[24:]]
    for old, new in zip(paths[24:], elsewhere, strict=True):
        new.write_bytes(old.read_bytes())
    detector.calibrate(elsewhere, rate=0.3, confidence=None)
    assert not detector.model.calibrated_on.same_shoot
    text = json.dumps(model.summarise(detector.model)) + repr(detector.model.fitted_on)
    assert str(folder) not in text


def test_copies_among_fitted_and_held_out_images_are_told(folder, tmp_path):
    for i in range(12):
        for copy_of in ("a", "b"):
            (tmp_path / f"{copy_of}{i}.png").write_bytes((folder / f"part{i // 3}-{i % 3}.png").read_bytes())
    with pytest.warns(DifferNetWarning, match="pixel for pixel among those fitted to"):
        fit_files(sorted(tmp_path.iterdir()), groups=range(24))
    model = fit_files(sorted(tmp_path.iterdir())).model  # copies are found, and stay on one side
    assert not set(model.calibrated_on.sources.images) & set(model.fitted_on.images)


def test_a_threshold_is_for_one_way_of_scoring(again, file):
    again.calibrate(FRESH, rate=0.1, confidence=None)
    way = again.model.calibrated_on.way
    assert (way.views, way.runtime, way.precision) == (
        8,
        again.describer.runtime.name,
        again.describer.runtime.precision,
    )

    def other(header):
        header["calibrated_on"]["way"]["runtime"] = "onnxruntime"

    rewrite_header(file, other)
    moved = differnet.load(file)
    assert moved.score([FRESH[0]]) == pytest.approx(again.score([FRESH[0]]))
    with pytest.raises(
        ConfigError, match="calibrated on scores computed by onnxruntime in f32, and here .*calibrate"
    ):
        moved.predict(FRESH[0])
    with pytest.raises(ConfigError, match="calibrated on scores computed by onnxruntime"):
        moved.judge(again.model.view_scores[0])
    with pytest.raises(ConfigError, match="calibrated on scores computed by onnxruntime"):
        moved.drift_monitor()
    moved.calibrate(FRESH, rate=0.1, confidence=None)
    assert moved.predict(FRESH[0]) == again.predict(FRESH[0])


def test_known_defects_are_counted_and_move_nothing(file, folder, tmp_path):
    for kind, count in (("dent", 3), ("fine", 2)):
        (tmp_path / "known" / kind).mkdir(parents=True)
        for i in range(count):
            picture = defective_image(i)[0] if kind == "dent" else good_image(5000 + i)
            Image.fromarray(picture).save(tmp_path / "known" / kind / f"{i}.png")
    plain, counted = tmp_path / "plain.safetensors", tmp_path / "counted.safetensors"
    start = ["calibrate", str(file), str(folder), "--rate", "0.05", "--marginal", "--out"]
    RUN.invoke(app, [*start, str(plain)])
    done = RUN.invoke(app, [*start, str(counted), "--defects", str(tmp_path / "known"), "--json"])
    document = json.loads(done.stdout)
    dent, fine, total = document["known_defects"]
    assert (dent["defect"], dent["found"], dent["count"], dent["missed"]) == ("dent", 3, 3, [])
    assert (fine["defect"], fine["found"], len(fine["missed"])) == ("fine", 0, 2)
    assert (total["found"], total["count"]) == (3, 5)
    assert differnet.load(plain).threshold == differnet.load(counted).threshold == document["threshold"]
    said = RUN.invoke(app, [*start, str(counted), "--defects", str(tmp_path / "known")]).stdout
    assert "Known defects, dent: 3 of 3 found (100%; 95% interval 29% to 100%), 0 missed." in said
    assert "missed: " in said


def test_known_defects_that_cannot_be_counted(file, folder, tmp_path):
    root, target = tmp_path / "known", tmp_path / "m.safetensors"
    start = [
        "calibrate",
        str(file),
        str(folder),
        "--rate",
        "0.1",
        "--marginal",
        "--json",
        "--out",
        str(target),
    ]
    for kind in ("good", "dent"):
        (root / kind).mkdir(parents=True)
        Image.fromarray(defective_image(3)[0]).save(root / kind / "1.png")
    done = RUN.invoke(app, [*start, "--defects", str(root)])
    assert done.exit_code == 2
    assert "has images in a folder 'good'" in " ".join(done.stderr.split())
    assert not target.exists()
    single = json.loads(RUN.invoke(app, [*start, "--defects", str(root / "dent" / "1.png")]).stdout)
    assert [one["defect"] for one in single["known_defects"]] == ["dent"]
    target.unlink()
    (root / "dent" / "2.png").write_bytes(b"no image")
    done = RUN.invoke(app, [*start, "--defects", str(root / "dent")])
    assert done.exit_code == 2
    assert "2.png" in " ".join(done.stderr.split())
    assert (
        differnet.load(target).threshold == json.loads(done.stdout)["threshold"]
    )  # what was calibrated is kept


def test_groups_can_come_from_a_table(file, folder, tmp_path):
    table = tmp_path / "groups.csv"
    rows = [f"{path.name},{path.name[:5]}" for path in sorted(folder.iterdir())]
    table.write_text("\n".join(["file,lot", *rows]))
    options = ["--group-table", str(table), "--group-column", "lot", "--rate", "0.1", "--marginal", "--json"]
    done = RUN.invoke(
        app, ["calibrate", str(file), str(folder), "--out", str(tmp_path / "m.safetensors"), *options]
    )
    assert json.loads(done.stdout)["calibrated_on"]["groups"] == 10


def test_the_command_watches_for_drift_over_runs(file, folder, tmp_path):
    target, state, table = tmp_path / "m.safetensors", tmp_path / "state.json", tmp_path / "rows.csv"
    RUN.invoke(
        app, ["calibrate", str(file), str(folder), "--out", str(target), "--rate", "0.1", "--marginal"]
    )
    dim = tmp_path / "dim"
    dim.mkdir()
    for i in range(60):
        Image.fromarray((good_image(3000 + i) * 0.5).astype(np.uint8)).save(dim / f"{i:02}.png")
    first = ["score", str(target), str(folder), "--drift", str(state), "--out", str(table)]
    done = RUN.invoke(app, first)
    assert "drift: after 30 images: no change" in " ".join(done.stderr.split())
    assert table.read_text().splitlines()[0].endswith(",drift")
    done = RUN.invoke(app, ["score", str(target), str(dim), "--drift", str(state), "--json"])
    document = json.loads(done.stdout)
    assert (document["drift"]["images"], document["drift"]["alarm"]) == (90, True)
    assert "light" in document["drift"]["causes"]
    assert document["images"][-1]["drift"] == document["drift"]["strength"] > 2
    other = RUN.invoke(app, ["score", str(file), str(dim), "--drift", str(state)])
    assert other.exit_code == 2
    assert "of another calibration" in " ".join(other.stderr.split())
    state.write_bytes(b"\xff\xfe")
    broken = RUN.invoke(app, ["score", str(target), str(dim), "--drift", str(state)])
    assert broken.exit_code == 2
    assert "state.json: " in " ".join(broken.stderr.split())
    early = RUN.invoke(app, ["score", str(target), str(dim), "--drift", str(state), "--views", "auto"])
    assert early.exit_code == 2


def test_what_was_watched_is_kept_when_nobody_reads_the_output(file, folder, tmp_path, monkeypatch):
    target, state = tmp_path / "m.safetensors", tmp_path / "state.json"
    start = ["calibrate", str(file), str(folder), "--out", str(target), "--rate", "0.1", "--marginal"]
    assert RUN.invoke(app, start).exit_code == 0

    def broken(*_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("differnet.cli.score.tell_rows", broken)
    done = RUN.invoke(app, ["score", str(target), str(folder), "--drift", str(state)])
    assert done.exit_code == 2
    assert json.loads(state.read_text())["images"] == 30
