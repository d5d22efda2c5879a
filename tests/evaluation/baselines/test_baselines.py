"""Methods to compare with: what each computes, and that it tells what is strange from what is good."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from scipy.special import digamma
from sklearn.covariance import LedoitWolf

from differnet import DifferNet
from differnet.config import presets
from differnet.errors import ConfigError, MissingExtraError, NotFittedError, WeightsError
from differnet.evaluation.baselines import classical, geotrans, peer_flows, peers
from differnet.evaluation.baselines.adgan import AdGan
from differnet.evaluation.baselines.catalogue import METHODS, create
from differnet.evaluation.baselines.dsebm import Dsebm, Energy
from differnet.evaluation.baselines.ganomaly import Ganomaly
from differnet.evaluation.baselines.geotrans import GeoTrans
from differnet.evaluation.baselines.method import Localizer
from differnet.evaluation.baselines.ours import Ours
from differnet.evaluation.baselines.pixels import decoder, encoder, read
from differnet.evaluation.metrics import PixelAuroc, auroc
from support.tiny import TINY, defective_image, good_image

QUICK = presets.resolve("default", TINY)
ON_FEATURES = [Ours, classical.OneClassSvm, classical.NearestNeighbour, classical.Mahalanobis]
SMALL = {"side": 16, "epochs": 1, "batch": 24}
ON_PIXELS = {
    "geotrans": lambda: GeoTrans(**SMALL, least_steps=60),
    "ganomaly": lambda: Ganomaly(**SMALL, least_steps=150, width=8, latent=8),
    "dsebm": lambda: Dsebm(**SMALL, least_steps=60, width=8, hidden=16),
    "adgan": lambda: AdGan(**SMALL, least_steps=60, width=8, latent=8),
}
PEERS = {
    "padim": lambda: peers.Padim(),
    "patchcore": lambda: peers.Patchcore(distances=1e6),
    "cflow": lambda: peer_flows.Cflow(steps=20, batch=128),
    "fastflow": lambda: peer_flows.Fastflow(steps=20, batch=2),
}


@pytest.fixture(scope="module")
def good(mvtec_root):
    return sorted((mvtec_root / "stripes/train/good").iterdir())


@pytest.fixture(scope="module")
def judged(mvtec_root, tmp_path_factory):
    """Six good images that no method learned from, and six of coarse coloured noise."""
    folder = tmp_path_factory.mktemp("strange")
    for i in range(6):
        noise = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((64, 64), Image.Resampling.NEAREST).save(folder / f"{i}.png")
    return [*sorted((mvtec_root / "stripes/test/good").iterdir())[:6], *sorted(folder.iterdir())]


def scores_of(method, good, judged, seed=0):
    method.fit(good, seed)
    return np.array([method.score(path) for path in judged])


def check(make, good, judged):
    """Strange images score above good ones, and the same again by the same seed."""
    first, again = (scores_of(make(), good, judged) for _ in range(2))
    np.testing.assert_allclose(first, again, rtol=1e-6)
    assert auroc(first, np.arange(12) >= 6) >= 0.9, first


@pytest.mark.parametrize("kind", ON_FEATURES)
def test_methods_on_features_tell_what_is_strange(kind, good, judged):
    check(lambda: kind(QUICK, "random"), good, judged)


@pytest.mark.parametrize("name", ON_PIXELS)
def test_methods_on_pixels_tell_what_is_strange(name, good, judged):
    check(ON_PIXELS[name], good, judged)


@pytest.mark.parametrize("name", PEERS)
def test_peers_tell_what_is_strange_and_where(name, good, judged):
    pytest.importorskip("anomalib", reason="needs the extra 'compare'")
    first, again = (PEERS[name]() for _ in range(2))
    scores = scores_of(first, good[:8], judged[2:10])
    np.testing.assert_allclose(scores[3:5], scores_of(again, good[:8], judged[5:7]), rtol=1e-5)
    assert auroc(scores, np.arange(8) >= 4) >= 0.9, scores
    total = PixelAuroc()
    for index in range(2):
        image, mask = defective_image(index)
        Image.fromarray(image).save(judged[-1].parent / "square.png")
        heat = first.localize(judged[-1].parent / "square.png")
        assert heat.shape == mask.shape
        assert heat.dtype == np.float32
        total.add(heat, mask)
    assert total.value() > 0.8


def test_a_peer_names_the_package_it_lacks(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(peers, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"pip install 'differnet\[compare\]'"):
        create("padim")


@pytest.mark.parametrize("name", [name for name in METHODS if name not in PEERS])
def test_nothing_is_scored_before_a_fit(name, good):
    with pytest.raises(NotFittedError, match="call fit"):
        create(name, QUICK, "random").score(good[0])


def test_one_image_is_too_few_for_a_distance(good):
    with pytest.raises(
        ConfigError, match="Mahalanobis: 1 good image to fit to; at least 2 good images are needed"
    ):
        classical.Mahalanobis(QUICK, "random").fit(good[:1], 0)


def test_the_settings_are_in_the_repr():
    assert repr(create("dsebm")) == (
        "Dsebm(side=32, epochs=60, batch=64, least_steps=300, width=32, hidden=128, noise=0.2)"
    )
    assert "hidden=32" in repr(create("1nn", QUICK))


def test_only_methods_with_maps_are_localizers(good):
    assert isinstance(create("differnet", QUICK, "random"), Localizer)
    assert not isinstance(create("mahalanobis", QUICK, "random"), Localizer)
    detector = Ours(QUICK, "random")
    detector.fit(good[:6], 0)
    assert detector.localize(good[0]).shape == (64, 64)


def test_mahalanobis_is_that_of_scikit_learn(good, judged):
    method = classical.Mahalanobis(QUICK, "random")
    method.fit(good, 3)
    detector, read_row, _ = method._fitted
    rows = torch.cat([read_row.rows(detector.describe(path)) for path in good]).double().numpy()
    views = read_row.rows(detector.describe(judged[7])).double().numpy()
    wanted = 0.5 * LedoitWolf().fit(rows).mahalanobis(views).mean()
    assert method.score(judged[7]) == pytest.approx(wanted, rel=1e-3)


def test_a_training_image_is_its_own_nearest_neighbour(good, judged):
    method = classical.NearestNeighbour(QUICK, "random")
    method.fit(good, 0)
    assert method.score(good[3]) == pytest.approx(0, abs=1e-3)
    assert method.score(judged[8]) > 1


def test_many_rows_are_thinned_the_same_way_by_the_same_seed():
    rows = torch.arange(50.0)[:, None]
    first = classical._some(rows, 10, 1)
    assert first.shape == (10, 1)
    assert len(np.unique(first)) == 10
    np.testing.assert_array_equal(first, classical._some(rows, 10, 1))
    np.testing.assert_array_equal(classical._some(rows, 50, 1), rows.numpy())


def test_the_transformations_are_72_different_ones():
    tables = geotrans.transformations(8)
    assert tables.shape == (72, 64)
    assert len({tuple(row.tolist()) for row in tables}) == 72
    image = torch.rand(1, 3, 8, 8)
    moved = geotrans.transform(image.expand(72, -1, -1, -1), tables)
    torch.testing.assert_close(moved[:1], image)
    torch.testing.assert_close(moved[1:2], torch.rot90(image, 1, (2, 3)))
    torch.testing.assert_close(moved[36:37], image.flip(3))
    right = moved[8:9]  # shifted by a quarter, the rim mirrored
    torch.testing.assert_close(right[..., 2:], image[..., :-2])
    torch.testing.assert_close(right[..., 0], image[..., 2])


def test_dirichlet_is_the_likeliest_and_finds_what_was_drawn_from():
    wanted = np.array([[0.3, 2.0, 5.0], [40.0, 1.0, 0.5]])
    rng = np.random.default_rng(0)
    logs = np.log(np.stack([rng.dirichlet(row, 4000) for row in wanted], axis=1))
    alpha = geotrans.dirichlet(logs)
    np.testing.assert_allclose(alpha, wanted, rtol=0.1)
    slope = (
        digamma(alpha.sum(axis=1, keepdims=True)) - digamma(alpha) + logs.mean(axis=0)
    )  # of the likelihood
    np.testing.assert_allclose(slope, 0, atol=1e-3)
    values = np.array([-50.0, -2.3, -2.2, 0.0, 5.0])
    np.testing.assert_allclose(digamma(geotrans.inverse_digamma(values)), values, rtol=1e-9, atol=1e-9)


def test_dirichlet_of_images_that_are_all_the_same_is_finite():
    logs = np.log(np.tile([[[0.5, 0.25, 0.25]]], (4, 1, 1)))
    alpha = geotrans.dirichlet(logs)
    assert np.isfinite(alpha).all()
    np.testing.assert_allclose(alpha / alpha.sum(), [[0.5, 0.25, 0.25]], atol=0.01)


def test_the_energy_rebuilds_by_its_slope():
    torch.manual_seed(0)
    energy = Energy(torch.rand(3, 8, 8), 2, 4).double()
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    rebuilt = energy.rebuilt(image, False).detach()
    step = torch.zeros_like(image)
    for place in ((0, 0, 0, 0), (0, 2, 5, 3)):
        step.zero_()[place] = 1e-5
        slope = (energy(image + step) - energy(image - step)) / 2e-5
        assert float(image[place] - rebuilt[place]) == pytest.approx(
            float(slope.detach()), rel=1e-4, abs=1e-6
        )


def test_searching_longer_comes_nearer(good):
    method = ON_PIXELS["adgan"]()
    method.fit(good, 0)
    at_once = method.score(good[0])
    method.steps = 30
    assert method.score(good[0]) < at_once


@pytest.mark.parametrize("side", [8, 16, 64])
def test_encoder_and_decoder_fit_each_other(side):
    images = torch.rand(2, 3, side, side)
    latents = encoder(side, 4, 5)(images)
    assert latents.shape == (2, 5)
    assert decoder(side, 4, 5)(latents).shape == images.shape


def test_batches_are_full_and_show_every_image_once_an_epoch():
    method = Dsebm(side=8, epochs=2, batch=4, least_steps=3)
    seen = list(method._batches(torch.arange(6.0), 0, lambda *_: None))
    assert [len(batch) for batch in seen] == [4] * 4  # 2 epochs of 2
    assert sorted(torch.cat(seen)[:6].tolist()) == list(range(6))
    assert sorted(torch.cat(seen)[6:12].tolist()) == list(range(6))
    assert len(list(method._batches(torch.arange(2.0), 0, lambda *_: None))) == 3


def test_images_are_read_between_minus_one_and_one(good):
    images = read(good[:2], 64)
    wanted = torch.from_numpy(good_image(1)).permute(2, 0, 1).float() / 127.5 - 1
    torch.testing.assert_close(images[1], wanted)


def test_a_side_that_cannot_be_halved_is_refused():
    with pytest.raises(ConfigError, match="side = 24: a power of two from 8 was wanted"):
        GeoTrans(side=24)


def test_every_method_is_tested_here():
    assert set(METHODS) == {"differnet", "ocsvm", "1nn", "mahalanobis", *ON_PIXELS, *PEERS}


def test_features_are_projected_and_then_standardised():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 80)) * np.linspace(1, 9, 80) + 5
    reduce, reduced = classical._reduce(rows, 0)
    assert reduced.shape == (200, 64)
    np.testing.assert_allclose(reduced.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(reduced.std(axis=0), 1, rtol=1e-9)
    centred = rows - rows.mean(axis=0)
    first = centred @ np.linalg.svd(centred)[2][0]  # of the rows as they are
    assert abs(np.corrcoef(first, reduced[:, 0])[0, 1]) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(reduce(rows[:3]), reduced[:3], atol=1e-9)


def test_ours_holds_no_image_out_and_knows_the_groups(good, monkeypatch):
    def fit(self, paths, groups, **_):
        seen.append((self.config.decision.holdout, self.config.decision.folds, groups))

    seen = []
    monkeypatch.setattr(DifferNet, "fit", fit)
    folded = presets.resolve(QUICK, {"holdout": 0.0, "folds": 3})
    Ours(folded, "random").fit(good[:4], 0, groups=["a", "a", "b", "b"])
    assert seen == [(0.0, 0, ["a", "a", "b", "b"])]


def test_weights_of_another_network_are_put_aside_and_said(tmp_path):
    file = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, file)
    first, wanted = (timm.create_model(peers.BACKBONE, pretrained=False) for _ in range(2))
    remark = peers.give_weights(first, peers.STRIDE_8, str(file))
    assert remark == "other.safetensors is not for EfficientNet-Lite0: ImageNet weights instead"
    assert peers.give_weights(wanted, peers.STRIDE_8, None) == ""
    torch.testing.assert_close(first.state_dict(), wanted.state_dict())
    file.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="not readable as weights"):
        peers.give_weights(wanted, peers.STRIDE_8, str(file))
