"""Several stages and places in a row of features, and how they are read."""

from __future__ import annotations

import pytest
import torch

from differnet.config import presets, sections
from differnet.config.settled import settle
from differnet.errors import ConfigError, ShapeError
from differnet.features.backbone import network, select
from differnet.features.pooling import reading, settled_reading
from differnet.flow import localize
from differnet.flow.flow import Flow
from differnet.flow.fusion import Fusion

SETTINGS = sections.Backbone(sizes=(96, 48), stages=(2, 4), grid=2, runtime="openvino", precision="f32")


@pytest.fixture(scope="module")
def module():
    return network.build(SETTINGS)


@pytest.fixture(scope="module")
def views():
    return 255 * torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def test_a_row_holds_the_averages_of_every_place(module, views):
    """Against the feature maps themselves, averaged one by one."""
    y = module(views)
    assert module.channels == (40, 112)
    assert y.shape == (3, 5 * 2 * 152)
    normalised = (views - module.mean) / module.std
    maps = [one for size in (96, 48) for one in module.network(network._shrink(normalised, (size, size)))]
    whole = torch.cat([one.mean(dim=(2, 3)) for one in maps], dim=1)
    torch.testing.assert_close(y[:, :304], whole, rtol=1e-4, atol=1e-4)
    lower_left = []
    for one in maps:
        height, width = one.shape[2:]
        lower_left.append(one[:, :, height // 2 :, : -(-width // 2)].mean(dim=(2, 3)))
    torch.testing.assert_close(y[:, 3 * 304 : 4 * 304], torch.cat(lower_left, dim=1), rtol=1e-4, atol=1e-4)


def test_columns_of_a_stage(module, views):
    y = module(views)
    one = settled_reading(
        settle(presets.Config(backbone=SETTINGS, reading=sections.Reading((4,), "whole"))), module.channels
    )
    alone = network.build(sections.Backbone(sizes=(96, 48), stages=(4,)))
    torch.testing.assert_close(one.rows(y), alone(views), rtol=1e-4, atol=1e-4)


def test_places_become_the_score_of_a_view():
    norms = torch.tensor([1.0, 2.0, 3.0, 6.0])
    largest = reading((1,), 1, 2, (0,), "largest")
    assert largest.rows(torch.arange(10.0).view(2, 5)).flatten().tolist() == [1, 2, 3, 4, 6, 7, 8, 9]
    assert largest.of_view(norms).tolist() == [6]
    assert reading((1,), 1, 2, (0,), "average").of_view(norms).tolist() == [3]
    assert reading((1,), 1, 2, (0,), "whole").of_view(norms).tolist() == [1, 2, 3, 6]
    with pytest.raises(ShapeError, match=r"\(B, 5\), found shape \(2, 4\)"):
        largest.rows(torch.zeros(2, 4))


@pytest.mark.parametrize("name", ["openvino", pytest.param("onnxruntime", marks=pytest.mark.long)])
def test_every_runtime_gives_every_place(module, views, name):
    runtime = select.choose(
        module, presets.resolve(presets.Config(backbone=SETTINGS), {"runtime": name}).backbone
    )
    torch.testing.assert_close(runtime.features([views]), module(views), rtol=1e-3, atol=1e-3)


def test_the_gradient_reaches_every_part_of_the_image(module, views):
    read = settled_reading(
        settle(presets.Config(backbone=SETTINGS, reading=sections.Reading("all", "largest"))), (40, 112)
    )
    flow = Flow(read.features, 1, 8, 1, seed=0).requires_grad_(False)
    heat = localize.gradient_maps(views[:1], module, Fusion([flow], [read]), 2.0)
    assert all(bool(part.max() > 0) for half in heat[0].chunk(2) for part in half.chunk(2, dim=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"read_stages": [7]}, "some of the stages"),
        ({"read_stages": []}, "some of the stages"),
        ({"pooling": "largest", "grid": 1}, "needs a grid of 2"),
        ({"noise": 0.5, "start": "random"}, "noise needs start = 'gaussian'"),
        ({"stages": [5, 4]}, "different and in order"),
    ],
)
def test_settings_that_do_not_go_together(changes, message):
    with pytest.raises(ConfigError, match=message):
        presets.resolve("default", changes)


def test_one_map_cannot_be_read_as_three():
    changes = {
        "backbone": "alexnet",
        "rotation": "none",
        "aspect": 1.0,
        "tiles": 1,
        "read_stages": "all",
        "pooling": "whole",
        "length": 1.0,
    }
    settings = settle(presets.resolve("default", changes))
    with pytest.raises(ConfigError, match=r"alexnet has 1 feature map"):
        settled_reading(settings, (256,))


def test_more_columns_than_fit_into_memory_are_refused():
    assert reading((4096,), 1, 7, (0,), "largest", tiles=64).columns.shape == (64 * 49, 4096)
    with pytest.raises(ConfigError, match="64 pieces with 64 parts of 65536 features each"):
        reading((65536,), 1, 8, (0,), "largest", tiles=64)
