"""Settings: the paper's figures, overriding by name, errors that name the nearest."""

from __future__ import annotations

import dataclasses
import json

import pytest

from differnet.config import presets
from differnet.config.settled import provisional, settle
from differnet.errors import ConfigError


def test_the_paper_preset_is_the_papers_every_setting():
    c = presets.resolve("paper")
    assert (c.backbone.backbone, c.backbone.sizes) == ("alexnet", (448, 224, 112))
    assert (c.flow.blocks, c.flow.depth, c.flow.hidden, c.flow.clamp) == (8, 3, 2048, 3.0)
    t = c.training
    assert (t.epochs, t.batch, t.views_per_step, t.learning_rate) == (192, 96, 4, 2e-4)
    assert (t.betas, t.eps, t.weight_decay, t.schedule, t.min_steps) == (
        (0.8, 0.8),
        1e-4,
        1e-5,
        "constant",
        0,
    )
    v = c.views
    assert (v.rotation, v.fresh_views, v.train_views, v.score_views) == ("full", True, 4, 64)
    assert v.score_rotations == "random"
    assert (v.brightness, v.contrast) == ((0.85, 1.15), (0.85, 1.15))


def test_leaf_names_are_unique():
    leaves = [
        leaf.name
        for section in dataclasses.fields(presets.Config)
        for leaf in dataclasses.fields(getattr(presets.DEFAULT, section.name))
    ]
    assert len(leaves) == len(set(leaves)) == len(presets.names())


@pytest.mark.parametrize("preset", sorted(presets.PRESETS))
def test_json_both_ways(preset):
    c = presets.resolve(preset)
    assert presets.Config.from_dict(json.loads(json.dumps(c.to_dict()))) == c


OTHER = {
    "rotation": "none", "brightness": (0.5, 2.0), "contrast": (0.6, 1.0), "fill": "border", "train_views": 7,
    "score_views": 9, "score_rotations": "even", "backbone": "resnet18", "stages": (2,), "sizes": (96, 48),
    "runtime": "torch", "precision": "f16",
    "blocks": 5, "flows": 4, "hidden": 77, "depth": 1, "clamp": 1.9, "epochs": 13, "min_steps": 17,
    "batch": 31, "views_per_step": 2, "learning_rate": 3e-5, "betas": (0.7, 0.9), "eps": 1e-3,
    "weight_decay": 0.1, "noise": 0.3, "length": 0.5,
    "neighbours": 70, "grid": 3, "tiles": 2,
    "frame": "pad", "resampling": "floats", "aspect": 2.5, "ignore": "png:AAAA",
    "white": 4095.0, "beyond": "refuse",
    "map_views": 11, "blur": 2.5, "gradient": "pixels",
    "holdout": 0.4, "rate": 0.07, "confidence": 0.95, "review_rate": 0.2, "folds": 3, "sisters": "ignore",
}  # fmt: skip


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("name", list(presets.names()))
def test_every_setting_can_be_replaced_one_by_one(name, preset):
    base, section = presets.resolve(preset), presets.names()[name]
    before = getattr(getattr(base, section), name)
    swapped = {"constant": "one-cycle", "auto": "all", "all": "auto", "whole": "auto", "gaussian": "random"}
    other = {
        "fresh_views": not before,
        "plain_first": not before,
        "schedule": swapped.get(before, "constant"),
    } | OTHER
    other |= {"resampling": "bytes" if before == "floats" else "floats"}
    other |= {"read_stages": swapped.get(before, ""), "pooling": "whole" if before == "auto" else "auto"}
    if name == "start":  # noise goes with one start alone
        other["start"] = swapped.get(before, "gaussian")
    if name == "aspect":  # views that turn are squares
        base = presets.resolve(base, {"rotation": "none"})
    if name == "noise":
        base = presets.resolve(base, {"start": "gaussian"})
    if name in ("start", "fresh_views", "plain_first"):  # what is combined needs one value of each
        base = presets.resolve(base, {"pooling": "whole"})
    for key in (name, f"{section}.{name}"):
        changed = presets.resolve(base, {key: other[name]})
        assert getattr(getattr(changed, section), name) == other[name] != before
        assert presets.resolve(changed, {key: before}) == base  # and nothing else moved


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"epoch": 3}, "no setting 'epoch'; did you mean 'epochs'"),
        ({"flow.epochs": 3}, "no setting 'flow.epochs'; did you mean 'training.epochs'"),
        ({"hidden": 0}, "flow.hidden = 0: .*greater than or equal to 1"),
        ({"fill": "grey"}, "views.fill = 'grey'"),
        ({"sizes": [112, 224]}, "largest first"),
        ({"brightness": [2.0, 1.0]}, "0 < low <= high"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"rate": 1.0}, "decision.rate"),
    ],
)
def test_what_does_not_fit_is_explained(overrides, message):
    with pytest.raises(ConfigError, match=message):
        presets.resolve("default", overrides)


def test_unknown_presets_and_fields():
    with pytest.raises(ConfigError, match="did you mean 'paper'"):
        presets.resolve("papre")
    with pytest.raises(ConfigError, match="views.score_vews.*did you mean 'score_views'"):
        presets.Config.from_dict({"views": {"score_vews": 3}})
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        presets.parse_assignments(["epochs"])


def test_settings_are_frozen_and_equal_by_value():
    assert presets.resolve("default") == presets.resolve(
        "default", {"epochs": presets.DEFAULT.training.epochs}
    )
    assert presets.resolve("default") != presets.resolve("default", {"epochs": 3})
    with pytest.raises(dataclasses.FrozenInstanceError):
        presets.DEFAULT.flow.hidden = 3


def test_noise_goes_with_views_that_do_not_turn():
    def noise(preset, **changes):
        return provisional(presets.resolve(preset, changes)).training.noise

    assert noise("single", rotation="none") == 0.5
    assert noise("single", rotation="full") == 0
    assert noise("single", rotation="full", noise=0.2) == 0.2
    assert noise("default", rotation="none") == noise("default", rotation="full") == 1.0  # parts, upright
    assert noise("paper") == 0


def test_random_weights_are_never_left_untrained():
    upright = {"rotation": "none", "aspect": 1.0}
    quick = presets.resolve("fast", {**upright, "start": "random", "noise": 0.0})
    assert settle(quick).training.length == 1.0
    assert settle(presets.resolve("fast", upright)).training.length == 0.0
