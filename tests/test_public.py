"""The names that users import: each is there, is what it was, and comes only when it is asked for."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import differnet
import differnet.runtime


@pytest.mark.parametrize("name", differnet.__all__)
def test_every_public_name_is_there(name):
    assert getattr(differnet, name) is not None


def test_the_public_names_are_these():
    assert sorted(differnet.__all__) == [
        "Config", "DifferNet", "DifferNetError", "DifferNetWarning", "DriftMonitor",
        "Flow", "Inspector", "Prediction", "audit", "load", "plan", "resolve",
    ]  # fmt: skip
    assert differnet.light.measure.__module__ == "differnet.decision.light"


@pytest.mark.parametrize("name", differnet.runtime.__all__)
def test_the_runtime_gives_the_same_things_as_the_package(name):
    assert getattr(differnet.runtime, name) is getattr(differnet, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'differnet' has no attribute 'Detector'"):
        _ = differnet.Detector
    with pytest.raises(AttributeError, match=r"'differnet.runtime' has no attribute 'DifferNet'"):
        _ = differnet.runtime.DifferNet


def test_loading_takes_what_the_detector_takes():
    assert list(inspect.signature(differnet.load).parameters) == ["path", "weights", "device"]
    assert list(inspect.signature(differnet.DifferNet.load).parameters) == ["path", "weights", "device"]


def test_each_name_can_be_the_first_that_is_imported():
    code = "\n".join(f"from differnet import {name}" for name in [*differnet.__all__, "light"])
    subprocess.run([sys.executable, "-c", code], check=True)
