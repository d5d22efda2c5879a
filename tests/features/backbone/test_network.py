"""Backbones: equal to the published networks run by hand, frozen, hashed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision

from differnet.config import presets, sections
from differnet.errors import ConfigError, WeightsError
from differnet.features.backbone import lite0 as own
from differnet.features.backbone import weights
from differnet.features.backbone.network import build

SMALL = sections.Backbone(sizes=(64, 32))


def images(size, count=2):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 255


@pytest.fixture(scope="module")
def lite0():
    return build(sections.Backbone(sizes=(96, 48)))


@pytest.mark.slow
def test_alexnet_at_three_scales_is_torchvisions_network_run_by_hand(tmp_path):
    torch.manual_seed(5)
    network = torchvision.models.alexnet(weights=None).eval()
    file = tmp_path / "alexnet.pth"
    torch.save(network.state_dict(), file)
    settings = presets.PAPER.backbone
    assert settings.sizes == (448, 224, 112)
    module = build(settings, str(file))
    assert module.width == 768
    x = images(448, 1)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    by_hand = []
    with torch.no_grad():
        for size in (448, 224, 112):
            scaled = x if size == 448 else F.interpolate(x, size=(size, size), mode="area")
            by_hand.append(network.features((scaled / 255 - mean) / std).mean(dim=(2, 3)))
        torch.testing.assert_close(module(x), torch.cat(by_hand, 1), rtol=1e-4, atol=1e-5)


def test_the_packaged_weights_know_a_cat_and_an_espresso():
    data = pytest.importorskip("skimage.data")
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    path = str(weights.packaged_lite0())
    weights.fill_by_order(network, weights.read_state(path), path)
    domestic_cats, espresso = {281, 282, 285}, {967}
    for picture, wanted in ((data.chelsea(), domestic_cats), (data.coffee(), espresso)):
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
        x = (F.interpolate(x, size=(224, 224), mode="bilinear", antialias=True) - 127) / 128
        with torch.no_grad():
            assert int(network(x).argmax()) in wanted


def test_lite0_is_timms_network_run_by_hand(lite0):
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    weights.fill_by_order(network, weights.read_state(weights.packaged_lite0()), "package")
    network, x = network.double(), images(96, 1).double()  # so that no processor's sums matter
    by_hand = []
    with torch.no_grad():
        for scaled in (x, F.avg_pool2d(x, 2)):
            y = network.bn1(network.conv_stem((scaled - 127) / 128))
            by_hand.append(network.blocks[:6](y).mean(dim=(2, 3)))
        wanted, found = torch.cat(by_hand, 1), copy.deepcopy(lite0).double()(x)
        assert (found - wanted).abs().max() < 1e-6 * wanted.abs().max()  # normalisation was folded in 32 bits
    assert lite0.width == 2 * 192


@pytest.mark.parametrize("shape", [(64, 64), (33, 47), (7, 100), (1, 1)])
def test_all_stages_of_lite0_are_timms_to_the_bit(shape):
    wanted = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    found = own.Whole().eval()
    assert list(found.state_dict()) == list(wanted.state_dict())
    state = weights.read_state(weights.packaged_lite0())
    for network in (found, wanted):
        weights.fill_by_order(network, state, "package")
    y = x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = own.Lite0(found, tuple(range(7)))(x)
        y = wanted.bn1(wanted.conv_stem(y))
        for one, block in zip(maps, wanted.blocks, strict=True):
            y = block(y)
            assert torch.equal(one, y)


def test_random_weights_of_lite0_are_drawn_as_wide_as_timms_and_are_the_same_each_time():
    networks = []
    for make in (own.Whole, own.Whole, lambda: timm.create_model("tf_efficientnet_lite0")):
        with weights.seeded_initialisation():
            networks.append(make().state_dict())
    found, again, timms = networks
    for name, values in found.items():
        assert torch.equal(values, again[name])
        if values.ndim == 4:  # a convolution
            assert float(values.std()) == pytest.approx(float(timms[name].std()), rel=0.1)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("shape", [(8, 8), (7, 9), (10, 3), (1, 6)])
def test_the_first_layer_averages_down_as_pooling_does(lite0, factor, shape):
    network = copy.deepcopy(lite0.network).double()
    network.average([factor])
    x = torch.rand(2, 3, *(factor * side for side in shape), dtype=torch.float64) - 0.5
    found, wanted = network.averaging[str(factor)](x), network.conv_stem(F.avg_pool2d(x, factor))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_sizes_that_do_not_divide_the_largest_are_resampled(lite0):
    module, x = build(sections.Backbone(sizes=(96, 64))), images(96, 1)
    assert not module.network.factors
    assert lite0.network.factors == {2}
    by_hand = F.interpolate((x - 127) / 128, size=(64, 64), mode="bilinear", align_corners=False)
    wanted = module.network(by_hand)[0].mean(dim=(2, 3))
    torch.testing.assert_close(module(x)[:, 192:], wanted)


def test_it_is_frozen(lite0):
    assert not lite0.training
    assert not any(parameter.requires_grad for parameter in lite0.parameters())


def test_any_timm_name_with_a_stage():
    module = build(sections.Backbone(backbone="resnet10t", stages=(3,), sizes=(64, 32)), "random")
    assert module.width == 2 * timm.create_model("resnet10t", features_only=True).feature_info.channels()[3]
    assert module.mean.flatten().tolist() == pytest.approx([255 * m for m in (0.485, 0.456, 0.406)], rel=1e-5)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_timm_model_from_a_weights_file(tmp_path, suffix):
    from safetensors.torch import save_file

    torch.manual_seed(9)
    network = timm.create_model("resnet10t", pretrained=False)
    file = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)(network.state_dict(), file)
    module = build(sections.Backbone(backbone="resnet10t", stages=(2,), sizes=(64,)), str(file))
    torch.testing.assert_close(
        dict(module.network.named_parameters())["network.conv1.0.weight"], network.conv1[0].weight
    )
    assert module.origin == "file"


def test_the_digest_tells_weights_apart(tmp_path, lite0):
    again = build(sections.Backbone(sizes=(64, 32)))
    assert again.digest == lite0.digest
    assert build(SMALL, "random").digest != lite0.digest
    assert build(SMALL, "random").digest == build(SMALL, "random").digest


def test_bad_names_and_stages_are_explained():
    with pytest.raises(ConfigError, match="no backbone 'resnet10x'"):
        build(sections.Backbone(backbone="resnet10x"), "random")
    with pytest.raises(ConfigError, match="stages 0 to 6"):
        build(sections.Backbone(stages=(7,)), "random")
    with pytest.raises(ConfigError, match="no such feature map"):
        build(sections.Backbone(backbone="resnet10t", stages=(17,)), "random")


def test_weights_files_that_cannot_be_used(tmp_path):
    import pickle

    with pytest.raises(WeightsError, match="no such weights file"):
        build(SMALL, str(tmp_path / "none.pth"))
    evil = tmp_path / "evil.pth"
    evil.write_bytes(pickle.dumps({"x": print}))
    with pytest.raises(WeightsError):
        weights.read_state(evil)
    alien = tmp_path / "alien.pth"
    torch.save({"a": torch.zeros(3)}, alien)
    with pytest.raises(WeightsError, match="do not fit"):
        build(SMALL, str(alien))
    with pytest.raises(WeightsError, match="lacks 10 entries"):
        build(presets.PAPER.backbone, str(alien))
    with pytest.raises(WeightsError, match="lacks .* entries"):
        build(sections.Backbone(backbone="resnet10t", stages=(2,)), str(alien))


def test_a_failed_download_says_what_to_do():
    def fetch():
        raise OSError("no route to host")

    with pytest.raises(WeightsError, match=r"alexnet could not be downloaded .*no route.*weights=FILE"):
        weights.download("alexnet", fetch)
