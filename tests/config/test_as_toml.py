"""Settings as TOML: there and back, and what is wrong with a file."""

from __future__ import annotations

import pytest

from differnet.config import as_toml, presets
from differnet.errors import ConfigError


@pytest.mark.parametrize("name", presets.PRESETS)
@pytest.mark.parametrize("over", [{}, {"confidence": 0.95, "review_rate": 0.3, "backbone": 'ä "b" \\ 😀'}])
def test_there_and_back_over_any_preset(name, over):
    config = presets.resolve(name, over)
    read = as_toml.read(as_toml.write(config), "part.toml")
    assert presets.resolve("paper", read) == presets.resolve("default", read) == config


def test_part_of_the_settings_leaves_the_others():
    read = as_toml.read("hidden = 256\n[views]\nbrightness = [1, 1]\n", "part.toml")
    assert presets.resolve("turned", read) == presets.resolve("turned", {"hidden": 256, "brightness": [1, 1]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "part.toml: There is no setting 'epoch'; did you mean 'epochs'?"),
        (
            "[training]\nepoch = 3",
            "part.toml: There is no setting 'training.epoch'; did you mean 'training.epochs'?",
        ),
        (
            "[flow]\nepochs = 3",
            "part.toml: There is no setting 'flow.epochs'; did you mean 'training.epochs'?",
        ),
        ("[vews]\nfill = 'zeros'", "part.toml: There is no section 'vews'; did you mean 'views'?"),
        ("epochs = 3\n[training]\nepochs = 4", "part.toml: training.epochs stands there twice"),
        ("epochs 3", "part.toml: no TOML"),
        ("epochs = " + "[" * 3000 + "]" * 3000, "part.toml: no TOML"),
        ("preset = 'paper'", "part.toml: There is no setting 'preset'"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(text, said):
    with pytest.raises(ConfigError) as caught:
        as_toml.read(text, "part.toml")
    assert str(caught.value).startswith(said)


def test_a_section_without_settings_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="no section 'vews'; did you mean 'views'"):
        as_toml.read("[vews]\n", "part.toml")
