"""Settings in which nothing is open: what implies what, and that no open word is left."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from differnet.config import presets
from differnet.config.settled import Settled, implied, is_open, provisional, settle
from differnet.errors import ConfigError, NotFittedError

OPEN_WORDS = {"auto", "few", "quick", "all"}
CHOSEN_BY_MACHINE = {"runtime", "precision"}
SQUARE = presets.resolve("single", {"aspect": 1.0})


def found(rotation="none", length=1.0):
    return SimpleNamespace(rotation=rotation, read_stages=(4, 5), pooling="largest", length=length)


def values_of(settings):
    """Return every settled value by its name."""
    sections = [getattr(settings, field.name) for field in dataclasses.fields(Settled)]
    return {k: v for one in sections[1:] for k, v in dataclasses.asdict(one).items()}


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("rotation", ["none", "full"])
def test_no_word_is_left_open(preset, rotation):
    asked = presets.resolve(preset, {"rotation": "auto", "aspect": 2.5, "tiles": 2})
    choice = found(rotation)
    choice.read_stages = asked.backbone.stages
    known = values_of(settle(asked, choice))
    left = {name for name, value in known.items() if isinstance(value, str) and value in OPEN_WORDS}
    assert left <= CHOSEN_BY_MACHINE
    assert (known["rotation"], known["aspect"]) == (rotation, 2.5 if rotation == "none" else 1.0)
    assert known["tiles"] == 2  # a number that was asked for stays, whether views turn or not


@pytest.mark.parametrize(
    ("rotation", "wanted"),
    [
        ("none", {"score_rotations": "even", "train_views": 4, "blocks": 4, "hidden": 128, "noise": 0.5}),
        ("full", {"score_rotations": "random", "train_views": 32, "blocks": 8, "hidden": 256, "noise": 0.0}),
    ],
)
def test_what_follows_from_the_rotation(rotation, wanted):
    known = values_of(settle(SQUARE, found(rotation)))
    assert {name: known[name] for name in wanted} == wanted
    assert known["precision"] == ("f32" if rotation == "none" else "auto")


@pytest.mark.parametrize(("rotation", "views", "order"), [("none", 1, "even"), ("full", 17, "random")])
def test_what_is_combined_needs_few_views_and_small_flows(rotation, views, order):
    asked = presets.resolve("default", {"aspect": 1.0, "tiles": 1, "length": "auto"})
    settings = settle(asked, SimpleNamespace(**vars(found(rotation)) | {"pooling": "combined"}))
    assert (settings.views.train_views, settings.views.score_rotations) == (views, order)
    assert settings.training.length == 1.0
    assert [(flow.blocks, flow.hidden) for flow in settings.flows] == [(0, 128), (4, 128), (4, 128)]
    assert (settings.training.noise, settings.maps.blur) == (1.0, 6.0)


def test_what_was_asked_for_is_not_implied():
    asked = presets.resolve(SQUARE, {"train_views": 9, "blocks": 2, "noise": 0.1, "precision": "int8"})
    known = values_of(settle(asked, found()))
    assert (known["train_views"], known["blocks"], known["noise"], known["precision"]) == (9, 2, 0.1, "int8")


def test_quick_trains_where_views_turn_or_weights_are_random():
    def length(**changes):
        return settle(presets.resolve("fast", {"aspect": 1.0, **changes})).training.length

    assert length(rotation="none") == 0.0
    assert length(rotation="full") == 1.0
    assert length(rotation="none", start="random", noise=0.0) == 1.0


def test_several_flows_that_are_not_trained_are_one():
    asked = presets.resolve("thorough")
    assert settle(asked, found("full", length=0.0)).flow.flows == 1
    assert settle(asked, found("full", length=0.5)).flow.flows == 3


def test_an_untrained_length_that_was_asked_for_keeps_its_flows():
    assert settle(presets.resolve("turned", {"flows": 3, "length": 0.0})).flow.flows == 3


def test_nothing_is_settled_while_something_is_open():
    with pytest.raises(NotFittedError, match="found out from good images"):
        settle(presets.resolve("default"))
    with pytest.raises(NotFittedError, match="in which shape"):
        settle(presets.resolve("default"), found())  # the aspect is not found out with the rest
    with pytest.raises(NotFittedError, match="in how many pieces"):
        settle(presets.resolve(SQUARE, {"tiles": "auto"}), found())  # nor are the tiles
    assert is_open(presets.resolve("default"))
    assert not is_open(presets.resolve("turned"))


def test_what_is_settled_settles_to_itself():
    once = settle(SQUARE, found())
    assert settle(once.config) == once
    assert implied(once.config) == once.config


def test_what_a_model_file_keeps_is_what_was_asked_with_what_was_found():
    config = settle(SQUARE, found()).config
    assert (config.views.rotation, config.reading.read_stages, config.training.length) == (
        "none",
        (4, 5),
        1.0,
    )
    assert (config.training.noise, config.maps.blur, config.backbone.precision) == ("auto", "auto", "auto")


def test_a_provisional_look_is_upright_unless_told_otherwise():
    asked = presets.resolve("default")
    assert not provisional(asked).views.turns
    assert provisional(asked, "full").views.train_views == 17
    assert provisional(asked).shape == (448, 448)
    long = presets.resolve(asked, {"aspect": 2.5})
    assert (provisional(long).shape, provisional(long, "full").shape) == ((704, 288), (448, 448))
    pieces = presets.resolve(asked, {"tiles": 3})
    assert (provisional(asked).canvas, provisional(pieces).canvas) == ((448, 448), (1344, 1344))
    assert provisional(presets.resolve("turned")).views.turns
    assert provisional(presets.resolve("turned"), "none").views.train_views == 32  # as was asked for


def test_the_order_of_fewer_scoring_views():
    def order(rotation, rotations):
        changes = {"rotation": rotation, "score_rotations": rotations}
        return settle(presets.resolve("turned", changes)).views.order

    assert order("none", "even") == "upright"
    assert order("full", "even") == "even"
    assert order("none", "random") == order("full", "random") == "random"


def test_values_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="noise needs start = 'gaussian'"):
        settle(presets.resolve("default", {"start": "random", "noise": 0.5}), found())
    with pytest.raises(ConfigError, match="aspect = 2.5 needs rotation = 'none'"):
        presets.resolve("default", {"rotation": "full", "aspect": 2.5})
    with pytest.raises(ConfigError, match="aspect"):
        presets.resolve("default", {"aspect": 4.5})


def test_views_that_turn_are_whole_and_upright_ones_wait_for_the_pictures():
    open_tiles = presets.resolve(SQUARE, {"tiles": "auto"})
    assert implied(presets.resolve("default", {"rotation": "full"})).backbone.tiles == 1
    assert implied(presets.resolve("default", {"rotation": "none"})).backbone.tiles == "auto"
    assert implied(presets.resolve("default", {"rotation": "full", "tiles": 2})).backbone.tiles == 2
    assert settle(open_tiles, found("full")).backbone.tiles == 1
    assert settle(open_tiles, found("full")).config.backbone.tiles == 1


def test_views_that_turn_are_squares_and_upright_ones_wait_for_the_pictures():
    assert implied(presets.resolve("default", {"rotation": "full"})).views.aspect == 1.0
    assert implied(presets.resolve("default", {"rotation": "none"})).views.aspect == "auto"
    assert not is_open(implied(presets.resolve("fast", {"rotation": "full"})))
    assert is_open(implied(presets.resolve("fast", {"rotation": "none"})))
