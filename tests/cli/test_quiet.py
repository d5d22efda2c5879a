"""--quiet leaves out progress, notes and advice, no result and no error; else the last line says what to do next."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from differnet.cli.app import app
from support.tiny import OPTIONS, write_pictures

RUN = CliRunner()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("quiet")
    write_pictures(root / "good", 12)
    return root


def run(*arguments):
    return RUN.invoke(app, [str(one) for one in arguments])


def test_results_and_errors_stay_and_nothing_else(place):
    words = ("fit", place / "good", "--out", place / "m", "--weights", "random", *OPTIONS)
    loud, quiet = run(*words), run("--quiet", *words)
    assert (loud.exit_code, quiet.exit_code) == (0, 0), quiet.output
    assert "note:" in loud.stderr
    assert "fitting the flow" in loud.stderr
    assert quiet.stderr == ""
    assert loud.stdout.splitlines()[-1] == f"Next: differnet score {place / 'm'} IMAGES --maps maps"
    assert quiet.stdout.splitlines() == loud.stdout.splitlines()[:-1]
    scored = ("score", place / "m", place / "good")
    loud, quiet = run(*scored), run("-q", *scored)
    assert loud.stderr.splitlines()[-1].startswith(
        f"Next: differnet report {place / 'm'} {place / 'good'} --out"
    )
    assert quiet.stdout == loud.stdout
    assert quiet.stderr == ""
    assert run("-q", *scored, "--json").stdout == run(*scored, "--json").stdout
    assert len(json.loads(run("-q", *scored, "--json").stdout)["images"]) == 12
    failed = run("-q", "score", place / "m", place / "nothing")
    assert failed.exit_code == 2
    assert "error:" in failed.stderr


def test_it_is_not_kept_for_the_next_command():
    assert run("-q", "plan", "--rate", "0.1").stderr == ""
    said = run("plan", "--rate", "0.1")
    assert said.stderr == "Next: differnet fit GOOD_FOLDER --out part.safetensors --rate 0.1\n"
    assert said.stdout == run("-q", "plan", "--rate", "0.1").stdout
