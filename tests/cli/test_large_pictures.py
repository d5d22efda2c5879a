"""Into how many pieces large pictures are cut is said by the commands that fit and describe a model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from differnet.cli.app import app
from support.tiny import SMALL, good_image, save

RUN = CliRunner()
UPRIGHT = SMALL | {"rotation": "none", "score_rotations": "even", "epochs": 1}
WHY = "small defects stay visible, at 4 times the work (tiles=1 looks at each as a whole)"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    for index in range(12):
        save(folder / f"{index:02}.png", np.ascontiguousarray(good_image(index, 160)[:128]))
    return folder


def fitted(good, model, *more, **changes):
    """Fit by the command; return what it says, in one line."""
    options = [x for n, v in (UPRIGHT | changes).items() for x in ("--set", f"{n}={json.dumps(v)}")]
    command = ["fit", str(good), "--out", str(model), *options, "--weights", "random", *more]
    done = RUN.invoke(app, command, env={"COLUMNS": "400"})
    assert done.exit_code == 0, done.output
    return done.stdout


def info(model, *more):
    return RUN.invoke(app, ["info", str(model), *more], env={"COLUMNS": "400"}).stdout


def test_fit_and_info_say_into_how_many_pieces_and_why(good, tmp_path):
    model = tmp_path / "model.safetensors"
    because = "cut into 2 x 2 pieces, since the pictures are about 160 pixels wide and 128 high: " + WHY
    assert f"Looked at 32 x 32 pixels a piece; {because}." in " ".join(fitted(good, model).split())
    told = info(model)
    assert because in " ".join(told.split())
    assert "backbone.tiles = 2" in told
    document = json.loads(info(model, "--json"))
    assert (document["config"]["backbone"]["tiles"], document["picture_shape"]) == (2, [128, 160])


def test_no_reason_is_given_for_what_was_asked_for(good, tmp_path):
    model = tmp_path / "model.safetensors"
    assert f"cut into 2 x 2 pieces: {WHY}." in " ".join(fitted(good, model, tiles=2).split())
    assert f"cut into 2 x 2 pieces: {WHY}" in " ".join(info(model).split())


def test_whole_pictures_are_nothing_to_speak_of(good, tmp_path):
    model = tmp_path / "model.safetensors"
    assert "pieces" not in fitted(good, model, tiles=1)
    assert "pieces" not in info(model)
    document = json.loads(fitted(good, model, "--json", sizes=[64]))
    assert (document["config"]["backbone"]["tiles"], document["picture_shape"]) == (1, None)
