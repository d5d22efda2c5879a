"""Settings in YAML: the same as in TOML, and what is wrong with a file."""

from __future__ import annotations

import sys

import pytest

from differnet.config import as_toml, presets
from differnet.config.documents import parse
from differnet.errors import ConfigError, MissingExtraError

TOML = """
hidden = 256
[training]
epochs = 3
learning_rate = 1e-3
weight_decay = 0.5
[views]
brightness = [0.9, 1]
rotation = "none"
[reading]
pooling = "whole"
"""
YAML = """
hidden: 256
training: {epochs: 3, learning_rate: 1e-3, weight_decay: 5E-1}
views:
  brightness: [0.9, 1]  # of each view
  rotation: none
reading:
  pooling: whole
"""


def test_yaml_says_what_toml_says():
    by_yaml, by_toml = as_toml.read(YAML, "part.yaml"), as_toml.read(TOML, "part.toml")
    assert by_yaml == by_toml
    assert by_yaml["training.learning_rate"] == 0.001
    resolved = presets.resolve("default", by_yaml)
    assert (resolved.training.learning_rate, resolved.flow.hidden) == (0.001, 256)


def test_what_is_empty_or_merged_is_read():
    assert parse("", "part.yml") == {}
    assert parse("a: &x {b: 1}\nc: {<<: *x, d: 2}", "part.yml")["c"] == {"b": 1, "d": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch: 3", "part.yaml: There is no setting 'epoch'; did you mean 'epochs'?"),
        ("epochs: 3\nepochs: 4", "part.yaml: no YAML ('epochs' stands there twice)"),
        ("training:\n  epochs: 3\n  epochs: 4", "part.yaml: no YAML ('epochs' stands there twice)"),
        ("epochs: [3", "part.yaml: no YAML ("),
        ("- epochs", "part.yaml: YAML with names and their values was wanted"),
        ("epochs", "part.yaml: YAML with names and their values was wanted"),
        ("3: 4", "part.yaml: YAML with names and their values was wanted"),
        ("epochs: !!python/object/apply:os.system ['true']", "part.yaml: no YAML (could not determine"),
        ("a: " + "[" * 3000, "part.yaml: no YAML"),
    ],
)
def test_what_is_wrong_is_said_with_the_name_of_the_file(text, said):
    with pytest.raises(ConfigError) as caught:
        as_toml.read(text, "part.yaml")
    assert str(caught.value).startswith(said)


def test_without_pyyaml_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=r"part\.yaml: YAML needs PyYAML: pip install pyyaml"):
        parse("a: 1", "part.yaml")
    assert parse("a = 1", "part.toml") == {"a": 1}
