"""Whether parts lie any way is told by comparing good images with each other."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from differnet.config import presets
from differnet.data.square import encode
from differnet.data.stream import silent
from differnet.detector.tuning import turning
from differnet.detector.tuning.turning import Turning, compare, describe_turned, look_for_turns, one_of_each
from differnet.errors import NumericalError
from differnet.features.backbone import network
from differnet.features.backbone.torch_runtime import difference
from differnet.features.look import look_at
from support.parts import any_angle, lying_any_way, part, ring, speckled
from support.tiny import TINY, touch

SETTINGS = presets.resolve("default", TINY | {"stages": [1, 2], "rotation": "auto", "sizes": [64]})
ALEXNET = {"backbone": "alexnet", "stages": [0]}


@pytest.fixture(scope="module")
def module():
    return network.build(SETTINGS.backbone, "random")


def asked(module, images, groups=None, seed=0, settings=SETTINGS):
    return look_for_turns(module, settings, look_at(images, settings), groups, seed, silent)


@pytest.mark.parametrize("seed", range(3))
def test_parts_of_one_hand_that_lie_any_way_are_turned(module, seed):
    found = asked(module, lying_any_way(), seed=seed)
    assert found.turns
    assert found.share < 0.4
    assert found.ratio < 0.7
    assert found.agreement > 0.8
    assert (found.images, found.pairs, found.independent) == (20, 380, 80)
    assert "parts lie any way" in str(found)


def test_turned_copies_are_described_as_in_pytorch_wherever_that_is(module):
    pytest.importorskip("openvino")
    images = [part(i, any_angle(i)) for i in range(4)]
    both = [presets.resolve(SETTINGS, {"runtime": name}) for name in ("torch", "openvino")]
    wanted, found = (describe_turned(module, one, look_at(images, one), silent) for one in both)
    for stage, other in zip(found, wanted, strict=True):
        assert difference(stage, other) < 1e-4


def test_mirrored_parts_do_not_decide(module):
    both = [part(i, any_angle(i), is_mirrored=i % 2 == 0) for i in range(80)]
    assert asked(module, both).turns
    assert not asked(module, [part(i, is_mirrored=i % 2 == 0) for i in range(80)]).turns


@pytest.mark.parametrize("seed", range(3))
def test_the_same_parts_upright_are_not_turned(module, seed):
    found = asked(module, [part(i) for i in range(80)], seed=seed)
    assert not found.turns
    assert found.share > 0.95
    assert found.ratio == 1
    assert "parts do not lie any way" in str(found)


def test_parts_that_lie_two_ways_stay_upright(module):
    found = asked(module, [part(i, 180 * (i % 2)) for i in range(80)])
    assert not found.turns
    assert 0.47 <= found.share < 0.6
    assert "do not lie any way" in str(found)


@pytest.mark.parametrize("draw", [ring, speckled])
def test_what_has_no_direction_cannot_be_told_and_stays_upright(module, draw):
    found = asked(module, [draw(i) for i in range(80)])
    assert not found.turns
    assert found.agreement < 0.4
    assert found.share > turning.MOST_UPRIGHT or "cannot be told" in str(found)


def test_it_says_when_it_cannot_tell():
    found = Turning(0.3, 0.95, 0.3, 380, 20, 80)
    assert not found.turns
    assert str(found) == (
        "how parts lie cannot be told: 30% of 380 pairs of good images are most alike upright, 25% by chance, "
        "but the best turn leaves 95% of their distance, 30% of the turns agree"
    )


@pytest.mark.parametrize("weak", [{"share": 0.43}, {"ratio": 0.86}, {"agreement": 0.49}, {"independent": 79}])
def test_all_of_the_evidence_must_be_strong(weak):
    strong = Turning(0.3, 0.5, 0.9, 380, 20, 80)
    assert strong.turns
    assert not dataclasses.replace(strong, **weak).turns


def test_copies_of_one_image_are_alike_upright(module):
    found = asked(module, [part(0)] * 80)
    assert (found.turns, found.share, found.ratio) == (False, 1, 1)


def test_with_fewer_images_nothing_is_looked_at_and_that_is_said(tmp_path):
    touch(tmp_path, "a.png")
    found = asked(None, [tmp_path / "none.png"] * 79)
    assert not found.turns
    assert (found.share, found.ratio, found.images, found.independent) == (None, None, 0, 79)
    assert str(found) == "turning wants 80 good images or groups to fit to, here are 79"


def test_images_of_one_group_are_not_independent(module):
    images = [part(i // 2, any_angle(i // 2)) for i in range(160)]
    groups = [i // 2 for i in range(160)]
    assert asked(module, images, groups).independent == 80
    assert asked(module, images, groups).turns
    assert not asked(module, images, [i // 4 for i in range(160)]).turns
    for seed in range(3):
        order = one_of_each(160, groups, seed)
        assert sorted(i // 2 for i in order) == list(range(80))
    assert one_of_each(160, groups, 0) != one_of_each(160, groups, 1)


def test_what_is_compared_as_written_by_hand():
    """Loops over numbers: scale, take off what turning leaves, find the nearest of twelve turns."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4, 12, 3, 5)).astype(np.float32)
    spread = [features[:, 0, c].std() for c in range(3)]
    own = np.zeros_like(features)
    for c in range(3):
        scaled = features[:, :, c] / spread[c]
        own[:, :, c] = scaled - scaled.mean(axis=1, keepdims=True)
    near, ratios, best = 0, [], {}
    for i in range(4):
        for j in set(range(4)) - {i}:
            apart = [((own[i, k] - own[j, 0]) ** 2).sum() for k in range(12)]
            best[i, j] = int(np.argmin(apart))
            near += best[i, j] in (11, 0, 1)
            ratios.append(min(apart) / apart[0])
    triples = list(itertools.permutations(range(4), 3))
    agree = [(best[i, j] + best[j, k] - best[i, k]) % 12 in (11, 0, 1) for i, j, k in triples]
    found = compare(torch.from_numpy(features))
    assert found.pairs == 12
    assert found.agreement == pytest.approx(np.mean(agree))
    assert found.share == pytest.approx(near / 12)
    assert found.ratio == pytest.approx(sorted(ratios)[5], rel=1e-4)  # torch's median of 12 is the sixth


def test_what_turning_leaves_as_it_was_says_nothing():
    """Colours of their own, alike in all turns, hide the turns of four images from what compares them as they are."""
    rng = np.random.default_rng(0)
    turns, base = [0, 3, 7, 10], rng.normal(size=(12, 3, 5))
    features = np.stack([np.roll(base, turn, axis=0) for turn in turns]) + rng.normal(0, 0.1, (4, 12, 3, 5))
    for colours in (0, rng.normal(0, 20, (4, 1, 3, 5))):
        found = compare(torch.from_numpy(features + colours).float())
        assert (found.share, found.agreement) == (0, 1)


def test_neither_a_mask_in_the_corner_nor_bars_decide(module):
    corner = np.zeros((128, 128), np.uint8)
    corner[:16, :16] = 255
    masked = dataclasses.replace(SETTINGS, views=dataclasses.replace(SETTINGS.views, ignore=encode(corner)))
    assert asked(module, lying_any_way(), settings=masked).turns
    padded = dataclasses.replace(SETTINGS, views=dataclasses.replace(SETTINGS.views, frame="pad"))
    wide = [np.pad(image, ((0, 0), (32, 32), (0, 0)), mode="edge") for image in lying_any_way()]
    assert asked(module, wide, settings=padded).turns


def test_any_backbone_and_pictures_in_pieces():
    settings = presets.resolve("default", TINY | ALEXNET | {"sizes": [96], "tiles": 2})
    alexnet = network.build(settings.backbone, "random")
    assert asked(alexnet, lying_any_way(), settings=settings).turns
    assert not asked(alexnet, [part(i) for i in range(80)], settings=settings).turns


def test_features_that_are_not_finite_are_refused(module, monkeypatch):
    monkeypatch.setattr(module, "std", torch.zeros_like(module.std) * torch.nan)
    with pytest.raises(NumericalError, match="NaN or infinite"):
        asked(module, lying_any_way())


def test_it_travels_through_json():
    for found in (Turning(0.25, 0.4, 0.9, 380, 20, 256), Turning(None, None, None, 0, 0, 12)):
        assert Turning.from_dict(json.loads(json.dumps(dataclasses.asdict(found)))) == found
