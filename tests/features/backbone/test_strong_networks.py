"""Presets of stronger networks, with random weights: timm's own maps, any runtime, all the way to a station.

What they find with their real weights cannot be tested without a network.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from differnet import DifferNet, DifferNetWarning, Inspector, load
from differnet.config import presets, sections
from differnet.detector import export
from differnet.errors import ConfigError, WeightsError
from differnet.features.backbone import onnx_runtime, openvino_runtime, select, weights
from differnet.features.backbone.network import build
from differnet.features.backbone.torch_runtime import TorchRuntime, difference, probe
from support.stations import agree, pictures
from support.tiny import defective_image

STRONG = ("wide_resnet50", "dinov2", "dinov3")
SIZES = {"wide_resnet50": (64, 32), "dinov2": (56, 28), "dinov3": (64, 32)}
SHORT = {
    "epochs": 2,
    "min_steps": 0,
    "hidden": 8,
    "depth": 1,
    "blocks": 2,
    "length": 1.0,
    "rate": 0.2,
    "map_views": 2,
}
TINY_VIT = {"backbone": "test_vit", "stages": [1, 3], "sizes": [64, 32]}


def small(preset: str, **changes: object) -> sections.Backbone:
    return presets.resolve(preset, {"sizes": SIZES[preset]} | changes).backbone


def images(side: int) -> torch.Tensor:
    return 255 * torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("preset", STRONG)
def test_names_sizes_and_stages_are_timms(preset):
    asked = presets.PRESETS[preset].backbone
    assert asked.backbone in timm.list_models(pretrained=True)
    with torch.device("meta"):
        network = timm.create_model(asked.backbone, features_only=True, out_indices=asked.stages)
    wanted = {"wide_resnet50": [512, 1024]}.get(preset, [384] * 4)
    assert network.feature_info.channels() == wanted
    if preset != "wide_resnet50":
        patch = network.model.patch_embed.patch_size[0]
        assert (patch, asked.sizes[0] % patch) == (14 if preset == "dinov2" else 16, 0)


def test_wide_resnet_gives_layers_2_and_3_of_torchvisions():
    import torchvision

    module = build(small("wide_resnet50"), "random")
    assert module.mean.flatten().tolist() == pytest.approx([255 * m for m in (0.485, 0.456, 0.406)], rel=1e-5)
    network = torchvision.models.wide_resnet50_2(weights=None).eval()
    state = {name.removeprefix("network."): value for name, value in module.network.state_dict().items()}
    lacking = network.load_state_dict(state, strict=False)
    assert not lacking.unexpected_keys
    assert {name.split(".")[0] for name in lacking.missing_keys} <= {"layer4", "fc"}
    x = (images(64) - module.mean) / module.std
    with torch.no_grad():
        stem = network.maxpool(network.relu(network.bn1(network.conv1(x))))
        second = network.layer2(network.layer1(stem))
        maps = module.feature_maps(images(64))
        torch.testing.assert_close(maps[0], second, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(maps[1], network.layer3(second), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("preset", ["dinov2", "dinov3"])
def test_a_transformer_gives_its_normalised_tokens_where_their_patches_lie(preset):
    """Block by block at the first size; positions at the other size are timm's own for it."""
    asked = small(preset, stages=[1, 2])
    module = build(asked, "random")
    with weights.seeded_initialisation():
        network = timm.create_model(asked.backbone, num_classes=0, dynamic_img_size=True).eval()
    maps = iter(module.feature_maps(images(asked.sizes[0])))
    patch = network.patch_embed.patch_size[0]
    for size in asked.sizes:
        x = torch.nn.functional.avg_pool2d(images(asked.sizes[0]), asked.sizes[0] // size)
        with torch.no_grad():
            found = network._pos_embed(network.patch_embed((x - module.mean) / module.std))
            tokens, turns = found if isinstance(found, tuple) else (found, None)
            tokens = network.norm_pre(tokens)
            for index, block in enumerate(network.blocks[:3]):
                tokens = block(tokens) if turns is None else block(tokens, rope=turns)
                if index in asked.stages:
                    own = network.norm(tokens)[:, network.num_prefix_tokens :]
                    side = size // patch
                    wanted = own.reshape(2, side, side, -1).permute(0, 3, 1, 2)
                    torch.testing.assert_close(next(maps), wanted, rtol=1e-4, atol=1e-4)
    assert next(maps, None) is None


def test_sizes_that_patches_do_not_fit_are_refused_before_anything_is_downloaded():
    with pytest.raises(
        ConfigError, match=r"patches of 14 pixels, so only multiples of 14 fit; for 450 take 448 or 462"
    ):
        build(presets.resolve("dinov2", {"sizes": [450]}).backbone)
    with pytest.raises(ConfigError, match=r"only multiples of 16 fit; for 56 take 48 or 64"):
        build(presets.resolve("dinov3", {"sizes": [448, 56]}).backbone)
    with pytest.raises(ConfigError, match=r"no such feature maps, but blocks 0 to 11"):
        build(presets.resolve("dinov2", {"stages": [5, 12]}).backbone)


def test_weights_that_cannot_be_downloaded_are_named_with_their_address(monkeypatch):
    def refuse(*_, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_pretrained", refuse)
    for preset in STRONG:
        name = presets.PRESETS[preset].backbone.backbone
        with pytest.raises(
            WeightsError, match=rf"no route.*model.safetensors of https://huggingface.co/timm/{name} .*FILE"
        ):
            build(small(preset, stages=[1]))


def test_a_transformer_from_a_file(tmp_path):
    torch.manual_seed(4)
    network = timm.create_model("test_vit", num_classes=0)
    torch.nn.init.normal_(network.pos_embed)
    save_file(network.state_dict(), tmp_path / "whole.safetensors")
    asked = presets.resolve("default", TINY_VIT | {"read_stages": "all"}).backbone
    module = build(asked, str(tmp_path / "whole.safetensors"))
    assert module.origin == "file"
    again = build(
        presets.resolve(presets.DEFAULT, TINY_VIT | {"sizes": [32]}).backbone,
        str(tmp_path / "whole.safetensors"),
    )
    assert module.digest == again.digest != build(asked, "random").digest  # whatever the sizes
    state = network.state_dict()
    del state["blocks.0.norm1.weight"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(WeightsError, match="lacks 1 entries"):
        build(asked, str(tmp_path / "part.safetensors"))


@pytest.mark.long
@pytest.mark.parametrize("preset", ["dinov2"])  # which has a table of positions
def test_runtimes_agree_also_with_positions_that_weigh(preset):
    """Random positions are near zero, learned ones are not."""
    module = build(small(preset, stages=[1, 2]), "random")
    for name, value in module.named_parameters():
        if name.endswith("pos_embed"):
            torch.nn.init.normal_(value)
    square = module.sizes[0], module.sizes[0]
    groups = [probe(square), probe(square)[:1]]
    wanted = TorchRuntime(module).features(groups)
    for runtime in (
        openvino_runtime.OpenVinoRuntime(openvino_runtime.convert(module)),
        onnx_runtime.OnnxRuntime(module),
    ):
        assert difference(runtime.features(groups), wanted) < 1e-5


def test_transformers_run_in_floats_alone():
    """An 8-bit graph of one has layers that blow up constants, which model files may not have."""
    for preset in ("dinov2", "dinov3"):
        with pytest.raises(
            ConfigError, match="is a vision transformer, which runs in floats alone; take 'f32'"
        ):
            select.choose_precision(small(preset, precision="int8"), "cpu")
        assert select.choose_precision(small(preset, precision="auto"), "cpu") == "f32"
    with pytest.raises(ConfigError, match="floats alone"):
        DifferNet("dinov3", weights="random", precision="int8").fit(pictures())


def fitted(good_images, preset, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return DifferNet(preset, **{"seed": 1, "weights": "random"} | SHORT | settings).fit(good_images)


@pytest.mark.long
def test_a_transformer_from_fit_to_station(good_images, tmp_path):
    """A tiny one; the presets themselves are long tests."""
    settings = TINY_VIT | {"rotation": "none", "score_views": 1, "precision": "f32"}
    through(fitted(good_images, "default", **settings), tmp_path, ("openvino",))


@pytest.mark.long
@pytest.mark.parametrize(
    ("preset", "rotation", "form"),
    [("wide_resnet50", "full", "onnx"), ("dinov2", "none", "openvino"), ("dinov3", "full", "openvino")],
)
def test_a_preset_from_fit_to_stations(good_images, tmp_path, preset, rotation, form):
    settings = {
        "sizes": SIZES[preset][:1],
        "rotation": rotation,
        "score_views": 4 if rotation == "full" else 1,
    }
    through(fitted(good_images, preset, **settings), tmp_path, (form,))


@pytest.mark.long
def test_wide_resnet_in_integers(good_images, tmp_path):
    """With turned views, as integers are meant for.

    A pixel that lies between two integers is tipped by rendering it elsewhere, in a view here and there, which moves
    its score by up to 0.4 %. So a score is held to what an export promises, and not to what floats keep.
    """
    settings = {"sizes": [64], "rotation": "full", "score_views": 4, "precision": "int8", "seed": 2}
    detector = fitted(good_images, "wide_resnet50", **settings)
    assert detector.model.precision == "int8"
    through(detector, tmp_path, ("openvino",), int8=True)


def through(detector, folder, forms, int8=False):
    """A detector tells, draws, is calibrated, comes back from its file, and its stations judge as it does."""
    image = defective_image(3)[0]
    found = detector.predict(image, heat_map=True)
    assert np.isfinite(found.score)
    assert found.threshold is not None
    assert found.heat_map.shape == image.shape[:2]
    assert found.heat_map.max() > 0
    detector.save(folder / "model.safetensors")
    again = load(folder / "model.safetensors").predict(image, heat_map=True)
    assert (again.score, again.threshold, again.p_value) == (found.score, found.threshold, found.p_value)
    np.testing.assert_array_equal(again.heat_map, found.heat_map)
    for form in forms:
        export.export(detector, folder / form, form, int8=int8, images=pictures())
        station = Inspector(folder / form)
        for one in pictures():
            said, wanted = (judge.predict(one, heat_map=True) for judge in (station, detector))
            agree(said, wanted, heat=True, bound=export.SCORE_BOUND if int8 else 1e-4)
