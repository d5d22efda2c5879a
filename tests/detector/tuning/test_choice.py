"""What is found out from good images: how they lie, and which features tell drawn defects."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import differnet
from differnet import DifferNet
from differnet.config import presets
from differnet.config.settled import is_open
from differnet.data.stream import silent
from differnet.detector.model import summarise
from differnet.detector.tuning import choice
from differnet.errors import ConfigError, DifferNetWarning, ModelFileError, NotFittedError
from differnet.features.backbone import network
from differnet.features.checkpoint import Checkpoint
from differnet.flow import tensor_file
from support.parts import lying_any_way, speckled
from support.tiny import TINY

OPEN = TINY | {
    "rotation": "auto",
    "score_rotations": "auto",
    "stages": [1, 2],
    "grid": 2,
    "read_stages": "auto",
    "pooling": "auto",
    "start": "gaussian",
    "noise": 0.5,
    "sizes": [32],
    "epochs": 2,
    "length": "auto",
}


def upright(index):
    """A part that always lies the same way: bright above, dark below, and an off-centre bar."""
    rng = np.random.default_rng(index)
    image = np.full((64, 64), 60.0)
    image[:32] = 180
    image[10:50, 8:14] = 240
    return noisy(image, rng)


def noisy(image, rng):
    grey = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def fitted(images, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return DifferNet("default", seed=0, weights="random", **OPEN | settings).fit(images)


@pytest.fixture(scope="module")
def aligned():
    return fitted([upright(i) for i in range(50)])


def test_parts_that_lie_the_same_way_are_not_turned(aligned):
    found = aligned.model.choice
    assert found.rotation == aligned.config.views.rotation == "none"
    assert found.turning.share is None
    assert "turning wants 80 good images or groups to fit to, here are 40" in str(found)
    assert not is_open(aligned.config)
    assert aligned.config.views.score_rotations == "even"
    assert aligned.predict(upright(99)).views == 1


def test_parts_that_lie_any_way_are_turned():
    model = fitted(lying_any_way(110), sizes=[64], read_stages="all", hidden=8, train_views=2).model
    assert model.choice.rotation == model.config.views.rotation == "full"
    assert model.choice.turning.turns
    assert model.choice.pooling == "whole"
    assert "looked at turned by any angle (parts lie any way" in str(model.choice)


def test_a_texture_without_direction_stays_upright_and_that_is_said():
    found = prepared(
        [speckled(i) for i in range(100)], length=1.0, read_stages="all", pooling="whole"
    )._prepared
    assert found.choice.rotation == "none"
    assert (found.choice.images, found.choice.held, found.described) == (
        80,
        0,
        {},
    )  # of 100 a fifth is held out
    assert "how parts lie cannot be told" in str(found.choice)


def test_candidates_are_judged_and_the_best_is_taken(aligned):
    found = aligned.model.choice
    assert {one.pooling for one in found.candidates} == {"whole", "largest", "average"}
    scores = [one.auroc for one in found.candidates]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.5
    best = found.candidates[0]
    assert (best.read_stages, best.pooling) == (found.read_stages, found.pooling)
    chosen = aligned.config.reading
    assert (chosen.read_stages, chosen.pooling) == (found.read_stages, found.pooling)


def test_it_travels_in_the_model_file_and_is_told(aligned, tmp_path):
    aligned.save(tmp_path / "m.safetensors")
    loaded = differnet.load(tmp_path / "m.safetensors")
    assert loaded.model.choice == aligned.model.choice
    assert "looked at upright" in str(loaded.model.choice)
    assert summarise(loaded.model)["choice"]["rotation"] == "none"
    image = upright(7)
    assert loaded.predict(image) == aligned.predict(image)
    assert np.array_equal(loaded.localize(image), aligned.localize(image))


def test_with_few_images_the_flow_stays_a_gaussian():
    detector = fitted([upright(i) for i in range(10)])
    model = detector.model
    assert (model.history, model.config.training.length) == ((), 0)
    features = detector.describe(upright(50))
    whitened, _ = model.flow.whiten(model.reading.rows(features))
    norms = model.reading.of_view(0.5 * whitened.double().square().sum(dim=1))
    np.testing.assert_allclose(detector.view_scores(features), norms, rtol=1e-5)
    assert "a Gaussian" in str(model.choice)


def test_what_was_asked_for_is_not_overruled():
    asked = {"rotation": "full", "pooling": "largest", "read_stages": "all"}
    detector = fitted([upright(i) for i in range(30)], **asked)
    assert detector.model.choice.turning is None
    assert detector.config.views.rotation == "full"
    detector = fitted([upright(i) for i in range(30)], **asked, length=0.5)
    assert detector.model.choice is None
    assert len(detector.model.history) == 1


def test_few_images_are_not_tried_out():
    found = fitted([upright(i) for i in range(10)]).model.choice
    assert (found.rotation, found.pooling, found.candidates) == ("none", "largest", ())
    assert "too few images or groups (8 images)" in str(found)


def test_a_gaussian_is_kept_once():
    model = fitted([upright(i) for i in range(10)], flows=3)
    assert (model.config.training.length, model.model.flow.count) == (0, 1)
    assert fitted([upright(i) for i in range(10)], flows=3, length=1.0).model.flow.count == 3


def prepared(images, groups=None, **settings):
    return DifferNet("default", seed=0, weights="random", **OPEN | settings).prepare(images, groups=groups)


def test_groups_are_held_out_together(monkeypatch):
    images = [upright(i) for i in range(36)]
    assert (
        prepared(images, ["a"] * 36, holdout=0.0)._prepared.choice.candidates == ()
    )  # nothing can be held out
    seen = []
    right = choice.Tables

    def watch(settings, describer, images, fitted, held, **rest):
        seen.append(({i // 3 for i in fitted}, {i // 3 for i in held}))
        return right(settings, describer, images, fitted, held, **rest)

    monkeypatch.setattr(choice, "Tables", watch)
    assert prepared(images, [i // 3 for i in range(36)], holdout=0.0)._prepared.choice.candidates
    ((fitted_groups, held_groups),) = seen
    assert not fitted_groups & held_groups
    assert len(fitted_groups | held_groups) == 12
    with pytest.raises(ConfigError, match="2 groups for 36 images"):
        prepared(images, ["a", "b"])
    with pytest.raises(ConfigError, match="0 good images"):
        prepared([])


def test_what_follows_from_the_rotation():
    upright_config = DifferNet("single", rotation="none").config.views
    assert (upright_config.score_rotations, upright_config.train_views) == ("even", 4)
    turned = DifferNet("single", rotation="full").config.views
    assert (turned.score_rotations, turned.train_views) == ("random", 32)
    assert DifferNet("fast", rotation="full").config.views.train_views == 8
    assert DifferNet("fast", rotation="none").config.views.train_views == 2
    assert DifferNet("fast", rotation="full").config.training.length == 1
    assert DifferNet("fast", rotation="none").config.training.length == 0
    upright = DifferNet("single", rotation="none").config.flow
    assert (upright.blocks, upright.hidden) == (4, 128)
    turning = DifferNet("single", rotation="full").config.flow
    assert (turning.blocks, turning.hidden) == (8, 256)
    asked = DifferNet("single", rotation="none", train_views=9, score_rotations="random").config.views
    assert (asked.score_rotations, asked.train_views) == ("random", 9)


def test_siblings_keep_what_still_holds(aligned):
    assert aligned.sibling(epochs=1)._prepared.choice == aligned.model.choice
    other = "average" if aligned.config.reading.pooling != "average" else "largest"
    assert aligned.sibling(pooling=other)._prepared is None  # read_stages is open again
    turned = aligned.sibling(rotation="full", read_stages="all", pooling=other)
    assert (turned.config.views.score_rotations, turned.config.views.train_views) == ("random", 8)
    assert turned._prepared is None


def test_a_bank_needs_what_was_found_out(aligned):
    again = DifferNet("default", seed=0, weights="random", **OPEN)
    with pytest.raises(ConfigError, match="what to look at"):
        again.fit([upright(i) for i in range(30)], bank=torch.zeros(30, 8, aligned.describer.width))


def test_the_checkpoint_of_another_reading_is_refused(tmp_path):
    images = [upright(i) for i in range(12)]
    settings = OPEN | {"rotation": "none", "read_stages": "all", "length": 1.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        DifferNet("default", weights="random", **settings | {"pooling": "largest"}).fit(
            images, checkpoint=tmp_path
        )
        with pytest.raises(ModelFileError, match="other images or settings"):
            DifferNet("default", weights="random", **settings | {"pooling": "average"}).fit(
                images, checkpoint=tmp_path
            )


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.update(channels=[10**12, 1]),
        lambda h: h.update(channels=[-5, 5]),
        lambda h: h.update(channels=[]),
        lambda h: h["choice"].update(turning=[]),
        lambda h: h["choice"]["turning"].update(share="much"),
        lambda h: h["choice"].update(candidates=[{}]),
        lambda h: h.pop("choice"),
        lambda h: h["config"]["reading"].update(read_stages="auto"),
    ],
)
def test_hand_edited_choices_and_channels_are_refused(aligned, tmp_path, change):
    file = tmp_path / "m.safetensors"
    aligned.save(file)
    header, tensors = tensor_file.read_tensors(file)
    change(header)
    tensor_file.write_tensors(file, tensors, header)
    with pytest.raises(ModelFileError):
        differnet.load(file)


def test_a_broken_off_fit_goes_on_with_what_was_found_out(tmp_path, monkeypatch):
    images = [upright(i) for i in range(50)]

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DifferNetWarning)
            return DifferNet("default", seed=0, weights="random", **OPEN).fit(images, checkpoint=tmp_path)

    whole = fit()
    (tmp_path / "flow.safetensors").unlink(missing_ok=True)
    monkeypatch.setattr(choice.Tables, "evidence", lambda *_: pytest.fail("found out again"))
    again = fit()
    assert again.model.choice == whole.model.choice
    assert again.predict(images[0]) == whole.predict(images[0])
    with pytest.raises(ModelFileError, match="other images or settings"):
        DifferNet("default", seed=0, weights="random", **OPEN | {"grid": 3}).fit(images, checkpoint=tmp_path)
    (tmp_path / "choice.json").write_text("{")
    with pytest.raises(ModelFileError, match="damaged"):
        fit()


def test_siblings_that_turn_take_what_goes_with_it():
    upright_only = DifferNet("single", weights="random", rotation="none", read_stages="all")
    views = upright_only.sibling(rotation="full").config.views
    assert (views.train_views, views.score_rotations) == (32, "random")


def test_before_any_image_it_is_open():
    detector = DifferNet("default", weights="random", **OPEN)
    with pytest.raises(NotFittedError, match="good images"):
        detector.describe(upright(0))
    with pytest.raises(NotFittedError, match="whether views turn"):
        _ = detector.scoring_views


def test_another_fit_finds_out_anew(aligned):
    again = fitted([upright(i) for i in range(10)])
    assert again.model.choice != aligned.model.choice
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        again.fit([upright(i) for i in range(50)])
    assert again.config == aligned.config
    assert again.model.choice == aligned.model.choice


def test_one_view_is_certain_at_once_and_promises_no_error(aligned):
    assert aligned.model.standard.early_stop.error == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert aligned.predict(upright(3), views="auto") == aligned.predict(upright(3))


@pytest.mark.parametrize("tiles", [1, 6, 8])
def test_cutting_into_tiles_leaves_enough_images_to_try_ways_to_read_on(tiles, monkeypatch):
    class Looked(Exception):
        pass

    def look(self, rotation):
        assert rotation == "none"
        raise Looked(len(self.held))

    monkeypatch.setattr(choice.Tables, "evidence", look)
    settings = presets.resolve("default", OPEN | {"tiles": tiles, "rotation": "none"})
    module = network.build(settings.backbone, "random")
    with pytest.raises(Looked) as raised:
        choice.choose(settings, module, lambda: None, range(1000), None, 0, silent)
    assert raised.value.args[0] >= choice.FEWEST_HELD


def test_models_of_before_parts_were_compared_are_read():
    old = {"rotation": "none", "read_stages": [5], "pooling": "whole", "told_apart": {"turned by 180": 0.9}}
    found = choice.Choice.from_dict(old | {"candidates": [], "images": 60, "held": 12})
    assert found == choice.Choice("none", (5,), "whole", (), 60, 12)


def test_a_foreign_checkpoint_is_not_called_damaged(tmp_path):
    checkpoint = Checkpoint(tmp_path, "")
    choice.keep_choice(checkpoint, "one", choice.Choice("none", (5,), "whole", (), 20, 8))
    with pytest.raises(ModelFileError, match="other images or settings") as raised:
        choice.kept_choice(checkpoint, "another")
    assert "damaged" not in str(raised.value)
