"""--config FILE and info --as-config: what goes over what, and that a model's settings fit the same model again."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from differnet.cli import options
from differnet.cli.app import app
from differnet.config import as_toml, presets
from support.tiny import OPTIONS, SMALL, good_image, save

RUN = CliRunner()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("config")
    for index in range(12):
        save(root / f"good/{index}.png", good_image(index))
    options = presets.resolve("default", SMALL)
    (root / "part.toml").write_text(as_toml.write(options))
    return root


def run(*arguments):
    return RUN.invoke(app, [str(one) for one in arguments])


def fitted(place, name, *rest):
    done = run("fit", place / "good", "--out", place / name, "--weights", "random", *rest)
    assert done.exit_code == 0, done.output
    return json.loads(run("info", place / name, "--json").stdout)


def test_a_file_is_as_good_as_options(place):
    by_file = fitted(place, "a", "--config", place / "part.toml", "--rate", "0.3")
    by_options = fitted(place, "b", *OPTIONS, "--rate", "0.3")
    assert by_file["config"] == by_options["config"]
    assert by_file["threshold"] == by_options["threshold"]


def test_the_settings_of_a_model_fit_it_again(place):
    first = fitted(place, "c", *OPTIONS, "--set", "rotation=auto", "--set", "holdout=0.4")
    told = run("info", place / "c", "--as-config")
    assert told.exit_code == 0
    (place / "again.toml").write_text(told.stdout)
    again = fitted(place, "d", "--preset", "paper", "--config", place / "again.toml")
    assert again["config"] == first["config"]
    assert again["config"]["views"]["rotation"] == "none"  # what was found out
    assert again["threshold"] == first["threshold"]


def test_set_goes_over_the_file_and_options_over_both(place):
    text = "[flow]\nhidden = 64\n[decision]\nrate = 0.2\nholdout = 0.3\n"
    (place / "some.toml").write_text(text)
    found = options.asked_for(place / "some.toml", ["hidden=16", "decision.rate=0.4"], {"rate": 0.5})
    assert found == {"hidden": 16, "rate": 0.5, "holdout": 0.3}
    assert options.settings_of("fast", ["hidden=16"], place / "some.toml") == presets.resolve(
        "fast", {"hidden": 16, "rate": 0.2, "holdout": 0.3}
    )


@pytest.mark.parametrize(
    ("command", "rest"),
    [
        ("fit", ["good", "--out", "x.safetensors"]),
        ("fit-many", ["table.csv", "--out", "many"]),
        ("evaluate", ["good"]),
        ("compare", ["good"]),
        ("reproduce", ["table2", "good"]),
    ],
)
def test_every_command_that_fits_refuses_an_unknown_name_in_the_file(place, monkeypatch, command, rest):
    monkeypatch.chdir(place)
    (place / "odd.toml").write_text("epoch = 3\n")
    done = run(command, *rest, "--config", "odd.toml")
    assert done.exit_code == 2
    assert "odd.toml: There is no setting 'epoch'; did you mean 'epochs'?" in " ".join(done.stderr.split())


def test_a_file_that_is_not_there_is_said(place):
    done = run("fit", place / "good", "--out", place / "x", "--config", place / "none.toml")
    assert done.exit_code == 2
    assert "no such file; a TOML or YAML file of settings was wanted" in " ".join(done.stderr.split())
    assert not (place / "x").exists()


def test_toml_and_json_at_once_are_refused(place):
    done = run("info", place / "a", "--as-config", "--json")
    assert done.exit_code == 2
    assert done.stdout == ""
