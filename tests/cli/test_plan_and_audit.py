"""The commands plan and audit, and what fit says of images that belong together."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import differnet
from differnet.cli.app import app
from differnet.errors import ConfigError, NotFittedError
from support.tiny import OPTIONS, good_image, save

RUN = CliRunner()


def blocks(index):
    colours = np.random.default_rng(index).integers(0, 2, (4, 4, 3)) * 255
    return colours.astype(np.uint8).repeat(10, 0).repeat(10, 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Ten items of four pictures each, and forty later pictures, of the same parts and of strange ones."""
    root = tmp_path_factory.mktemp("promises")
    for item in range(10):
        for number in range(4):
            save(root / f"good/item{item:02}_{number}.png", good_image(4 * item + number, 40))
    for index in range(40):
        save(root / f"later/{index}.png", good_image(500 + index, 40))
        save(root / f"strange/{index}.png", blocks(index))
    options = ["--set", "epochs=8", "--rate", "0.2", "--review-rate", "0.4", *OPTIONS]
    done = RUN.invoke(
        app, ["fit", str(root / "good"), "-o", str(root / "m"), "--groups-to", str(root / "g.csv"), *options]
    )
    assert done.exit_code == 0, done.output
    (root / "said.txt").write_text(done.stdout)
    return root


def test_fit_says_what_belongs_together_and_what_it_is_worth(root):
    said = " ".join((root / "said.txt").read_text().split())
    assert "40 of 40 images belong together with others (10 groups, the largest of 4): their name" in said
    assert "--set sisters=ignore, --group-pattern, --group-table" in said
    assert (
        "8 images of 2 groups (intra-class correlation of the scores unknown of so few) are worth about 2"
        in said
    )
    assert "This holds for good parts like those, photographed as those were" in said
    assert "sets of 8 independent images gives more than twice that rate" in said
    assert "The two are promised apart" in said


def test_the_groups_are_a_table_that_fit_reads_again(root):
    assert (root / "g.csv").read_text().splitlines()[0] == "path,group"
    options = [
        "-o",
        str(root / "n"),
        "--group-table",
        str(root / "g.csv"),
        "--rate",
        "0.2",
        "--json",
        *OPTIONS,
    ]
    document = json.loads(RUN.invoke(app, ["fit", str(root / "good"), *options]).stdout)
    assert document["calibrated_on"]["groups"] == 2
    assert document["sisters"] is None
    assert document["effective_count"] == {"count": 8, "groups": 2, "correlation": None, "value": 2.0}
    assert document["condition"].startswith("This holds for good parts like those")


def test_info_keeps_what_was_found(root):
    document = json.loads(RUN.invoke(app, ["info", str(root / "m"), "--json"]).stdout)
    assert document["sisters"]["groups"] == 10
    assert document["sisters"]["text"].endswith("their name")


def test_info_tells_people_on_one_screen_what_a_model_is(root):
    done = RUN.invoke(app, ["info", str(root / "m")])
    detector = differnet.load(root / "m", "random")
    lines = done.stdout.splitlines()
    assert sum(-(-len(line) // 120) for line in lines) <= 24
    assert lines[0].split(maxsplit=2) == ["fitted", "to", f"{detector.model.train_count} good images, seed 0"]
    assert any(
        line.startswith(f"Threshold {detector.threshold:.4g}: a good part is rejected") for line in lines
    )
    (settings,) = [line for line in lines if line.startswith("settings ")]
    assert "backbone.sizes = [" in settings  # otherwise than preset default has it
    assert "flow.clamp" not in settings  # as it has it
    assert done.stderr.startswith(f"Next: differnet score {root / 'm'} IMAGES")


def test_audit_counts_false_alarms_with_their_interval(root):
    options = ["--weights", "random", "--json"]
    found = json.loads(RUN.invoke(app, ["audit", str(root / "m"), str(root / "later"), *options]).stdout)
    detector = differnet.load(root / "m", "random")
    alarms = sum(one.is_defective for one in detector.predict_iter(sorted((root / "later").iterdir())))
    assert (found["count"], found["alarms"]) == (40, alarms)
    assert found["low"] <= alarms / 40 <= found["high"]
    same = differnet.audit(detector, root / "later")
    assert (same.alarms, same.low, same.high) == (alarms, found["low"], found["high"])


def test_audit_says_that_a_promise_is_broken_and_what_to_do(root):
    done = RUN.invoke(app, ["audit", str(root / "m"), str(root / "strange"), "--weights", "random"])
    said = " ".join(done.stdout.split())
    assert done.exit_code == 0
    assert "the promise was not kept" in said
    assert "Refit: most good pictures are rejected, so the model does not know parts like these" in said


def test_audit_refuses_what_says_nothing_of_new_parts(root):
    detector = differnet.load(root / "m", "random")
    with pytest.raises(ConfigError, match="40 of 40 images were fitted to or calibrated on, such as"):
        differnet.audit(detector, root / "good")
    with pytest.raises(ConfigError, match="2 groups for 40 images"):
        differnet.audit(detector, root / "later", groups=[1, 2])
    with pytest.raises(ConfigError, match="no images were given"):
        differnet.audit(detector, [])
    with pytest.raises(NotFittedError, match="has learned nothing yet"):
        differnet.audit(differnet.DifferNet("default"), root / "later")


def test_plan_says_how_many_pictures_to_take():
    said = RUN.invoke(app, ["plan", "--rate", "0.01", "--confidence", "0.95"]).stdout
    assert "495 good pictures of 495 parts for one fit" in said
    assert "299 pictures for differnet calibrate" in said
    document = json.loads(RUN.invoke(app, ["plan", "--rate", "0.05", "--per-part", "6", "--json"]).stdout)
    assert document["average"]["calibration"] == differnet.plan(0.05, pictures_per_part=6).average.calibration
    wrong = RUN.invoke(app, ["plan", "--rate", "5"])
    assert wrong.exit_code == 2
    assert "rate = 5.0: a number above 0 and below 1 was wanted" in wrong.stderr
