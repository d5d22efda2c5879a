"""A folder for the line: its graphs judge as the detector does, or it is not written."""

from __future__ import annotations

import json
import math
import re
import warnings
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from differnet import DifferNet, DifferNetWarning, Inspector
from differnet.config.settled import SettledViews
from differnet.decision import verdict
from differnet.decision.calibration import Standard
from differnet.detector import export, scoring
from differnet.detector.graphs import Head, HeatMapping, Rendering, Scoring
from differnet.errors import (
    ConfigError,
    ExportError,
    NotFittedError,
)
from differnet.features import tiles
from differnet.features.backbone.onnx_runtime import to_onnx
from differnet.features.backbone.openvino_runtime import Graph, convert, stacked, to_openvino
from differnet.features.views import even_views, random_views, render
from differnet.flow import localize
from differnet.flow.neighbours import Neighbours
from differnet.flow.score import latent_norm
from differnet.runtime.engines import OnnxEngine, OpenVinoEngine
from support.stations import TURNED, UPRIGHT, agree, fit, pictures
from support.tiny import good_image


def test_onnx_judges_as_the_detector(upright, upright_onnx):
    place, found = upright_onnx
    assert (found.images, found.synthetic, found.verdicts) == (4, False, 0)
    inspector = Inspector(place, threads=1)
    assert {type(one) for one in inspector._engines.values()} == {OnnxEngine}
    agree(inspector.predict(pictures()[1]), upright.predict(pictures()[1]))
    assert sorted(path.name for path in place.iterdir()) == [
        "calibration.json",
        "manifest.json",
        "map.json",
        "map.onnx",
        "score.json",
        "score.onnx",
        "weights.bin",
    ]


def test_weights_that_graphs_share_are_kept_once(upright_onnx, fixed):
    """The backbone is in the graph of the score and in that of the maps."""
    place = upright_onnx[0]
    score, maps = (json.loads((place / f"{role}.json").read_text()) for role in ("score", "map"))
    taken = [
        {start: size_of(kind, shape) for kind, shape, start in table.values()} for table in (score, maps)
    ]
    assert taken[0].keys() & taken[1].keys()
    once = sum((taken[0] | taken[1]).values())
    assert once < sum(taken[0].values()) + sum(taken[1].values())
    assert once <= (place / "weights.bin").stat().st_size < once + 64 * len(taken[0] | taken[1])
    xmls = [(fixed / f"{role}.xml").read_text() for role in ("score", "map")]
    starts = [set(re.findall(r'offset="(\d+)" size="\d{4,}"', text)) for text in xmls]
    assert starts[0] & starts[1]


class KeptParts(torch.nn.Module):
    """What one of the graphs of a station takes of the good parts that are kept."""

    def __init__(self, role):
        super().__init__()
        self.near = Neighbours(torch.randn(600, 64, generator=torch.Generator().manual_seed(0)))
        self.role = role

    def forward(self, z):
        return self.near.slopes(z) if self.role == "map" else self.near(z, latent_norm(z).view(-1, 8))


@pytest.mark.parametrize("role", ["score", "map"])
def test_graphs_have_the_kept_parts_once_and_one_way(role):
    """The table of 6 MB lies the same way in both, so that they can share it."""
    known = KeptParts(role), {"z": torch.randn(16, 64)}, ("found",), ()
    graph = onnx.load_from_string(to_onnx(*known)).graph
    assert [list(one.dims) for one in graph.initializer if 600 in one.dims and 64 in one.dims] == [[600, 64]]
    text = Graph.of(to_openvino(*known)).xml.decode()
    assert re.findall(r'element_type="f32" shape="(600, 64|64, 600)"', text) == ["600, 64"]


def size_of(kind, shape):
    return np.dtype(kind).itemsize * math.prod(shape)


def test_tiles_and_frames_and_masks_come_along(good_images, tmp_path):
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:20, :30] = 255
    settings = UPRIGHT | {"frame": "pad", "tiles": 2, "ignore": mask, "sizes": [32, 16]}
    detector = fit(good_images, **settings)
    found = export.export(detector, tmp_path / "tiles", "openvino")
    assert found.synthetic
    inspector = Inspector(tmp_path / "tiles")
    for image in pictures():
        agree(inspector.predict(image, heat_map=True), detector.predict(image, heat_map=True), heat=True)


@pytest.mark.parametrize(
    "settings", [{"holdout": 0.0}, {"folds": 3}, {"confidence": 0.8, "rate": 0.3, "holdout": 0.5}]
)
def test_every_kind_of_calibration_comes_along(good_images, settings, tmp_path):
    """None at all, cross-fitted scores, and a promise with a confidence."""
    detector = fit(good_images, **{**TURNED, "flows": 1, "sizes": [32], "review_rate": 0.6, **settings})
    export.export(detector, tmp_path / "station", "openvino", images=[good_image(1)])
    inspector = Inspector(tmp_path / "station")
    assert inspector.promise == detector.promise
    for image in pictures():
        found, wanted = inspector.predict(image), detector.predict(image)
        assert found.score == pytest.approx(wanted.score, rel=1e-4)
        assert (found.verdict, found.p_value, found.threshold, found.review_threshold) == (
            wanted.verdict,
            wanted.p_value,
            wanted.threshold,
            wanted.review_threshold,
        )
    if detector.promise is None:
        assert found.verdict is None
        with pytest.raises(NotFittedError, match="held-out good images"):
            inspector.predict(good_image(1), views="auto")
        with pytest.raises(ConfigError, match="how bright and sharp"):
            inspector.drift_monitor()


def test_a_folder_that_judges_otherwise_is_not_kept(upright, tmp_path, monkeypatch):
    """A graph that renders another flow: the figures are in the error, and nothing is left."""
    other = fit([good_image(i) for i in range(50, 74)], **UPRIGHT)
    original = export.write_graphs
    monkeypatch.setattr(export, "write_graphs", lambda detector, *rest: original(other, *rest))
    with pytest.raises(ExportError, match=r"scores differ by at most \d.*nothing was written"):
        export.export(upright, tmp_path / "wrong", "openvino", images=pictures())
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused(upright, tmp_path):
    with pytest.raises(ConfigError, match="differnet quantize"):
        export.export(upright, tmp_path / "int8", "openvino", int8=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        export.export(upright, tmp_path / "full", "openvino")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_maps_by_the_pixels_are_left_out_and_said(detector, tmp_path):
    export.export(detector, tmp_path / "plain", "openvino", images=[good_image(1)])
    inspector = Inspector(tmp_path / "plain")
    assert inspector.predict(good_image(1)).heat_map is None
    with pytest.raises(ConfigError, match="eq. 7"):
        inspector.predict(good_image(1), heat_map=True)
    with pytest.raises(ConfigError, match="eq. 7"):
        inspector.localize(good_image(1))


@pytest.mark.parametrize("fill", ["zeros", "reflection", "border"])
def test_the_graph_renders_the_same_views(fill):
    views = random_views(5, SettledViews(), torch.Generator().manual_seed(0))
    for channels in (1, 3):
        square = 255 * torch.rand(channels, 24, 24, generator=torch.Generator().manual_seed(1)).expand(
            3, -1, -1
        )
        wanted = render(square, views, fill)
        found = Rendering((24, 24), fill)(square[None], *views)
        torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)


@pytest.mark.parametrize("name", ["upright", "turned"])
def test_maps_without_a_gradient_are_the_detectors(name, request):
    detector = request.getfixturevalue(name)
    model, settings = detector.model, detector.settings
    turned = even_views(settings.maps.map_views, settings.views)
    square = tiles.to_square(pictures()[1], (64, 64))
    known = detector.module, model.fusion, model.cells, settings.maps.blur, turned.angles, (64, 64)
    views = render(square, turned, settings.views.fill)
    wanted = scoring.localizer_of(model, detector.module, detector.describer).of_square(square)
    torch.testing.assert_close(HeatMapping(*known)(views), wanted, rtol=1e-3, atol=1e-3 * float(wanted.max()))
    exact = detector.module(views) * 1.01
    other = localize.contribution_maps(
        views, detector.module, model.fusion, settings.maps.blur, exact, model.cells
    )
    if len(turned) == 1:
        found = HeatMapping(*known, ("features",))(views, exact)
        torch.testing.assert_close(found, other[0], rtol=1e-3, atol=1e-3 * float(other.max()))


def test_images_that_set_the_threshold_are_ties(upright, good_images, tmp_path):
    """A held-out image lies just below the threshold that it set, in one arithmetic; rounding decides in another."""
    found = export.export(upright, tmp_path / "held", "openvino", images=good_images)
    assert (found.images, found.verdicts) == (24, 0)
    assert found.ties <= 2  # one at the threshold, one at that of the review


def test_scores_at_which_an_early_stop_turns_are_ties():
    """A hair below, two low views pass the part; a hair above, the high ones that follow are looked at, and flag it."""
    held_out = np.random.default_rng(0).lognormal(0, 0.1, (199, 8))
    model = SimpleNamespace(standard=Standard(view_scores=held_out, usual_views=8, order="even", rate=0.01))
    rows = np.full(8, 3.0)
    low, high = 0.1, 3.0
    for _ in range(60):
        rows[:2] = (low + high) / 2
        if verdict.judge(model, rows, True).verdict == "OK":
            low = rows[0]
        else:
            high = rows[0]
    assert 0.5 < low < 0.99 * model.standard.threshold().value
    assert export._verdicts_nearby(model, rows, True) == {"OK", "NG"}
    assert export._verdicts_nearby(model, rows, False) == {"NG"}
    for off, said in ((1 - 1e-4, "OK"), (1 + 1e-4, "NG")):
        rows[:2] = high * off
        assert export._verdicts_nearby(model, rows, True) == {said}


def test_a_head_is_put_on_a_network(upright):
    """As with the 8-bit network of a model, here with one in floats."""
    model, views = upright.model, torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    head = Head(model.fusion)
    rows = {"features": torch.zeros(4, head.width)}
    below = Graph.of(convert(upright.module))
    graph = Graph.of(stacked(below, to_openvino(head, rows, ("norms",), tuple(rows))))
    found = OpenVinoEngine(graph.xml, graph.constants).run({"views": views.numpy()})
    norms, features = Scoring(upright.module, model.fusion)(views)
    np.testing.assert_allclose(found["norms"], norms, rtol=1e-4)
    np.testing.assert_allclose(found["features"], features, atol=1e-4 * float(features.max()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "reading",
    [{}, {"pooling": "combined", "plain_first": True, "grid": 2, "neighbours": 50}],
    ids=["the whole image", "parts, and the nearest good one"],
)
def test_integers_come_along(reading, good_images, tmp_path):
    """With the maps of the network in floats at the features in integers, as the detector's."""
    integers = {"backbone": "efficientnet_lite0", "precision": "int8", "runtime": "auto"}
    settings = TURNED | integers | {"stages": [1], "sizes": [32]} | reading
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        detector = DifferNet("default", seed=1, **settings).fit(good_images, scale_maps=False)
    for int8, form, message in ((False, "openvino", "give --int8"), (True, "onnx", "--format openvino")):
        with pytest.raises(ConfigError, match=message):
            export.export(detector, tmp_path / "no", form, int8)
    export.export(detector, tmp_path / "int8", "openvino", int8=True, images=pictures())
    inspector = Inspector(tmp_path / "int8")
    for image in pictures():
        assert inspector.predict(image).score == pytest.approx(detector.predict(image).score, rel=1e-3)
    wanted = detector.localize(pictures()[1])
    np.testing.assert_allclose(inspector.localize(pictures()[1]), wanted, atol=1e-2 * wanted.max())


def test_the_command(upright, tmp_path):
    from typer.testing import CliRunner

    from differnet.cli.app import app

    upright.save(tmp_path / "model.safetensors")
    Image.fromarray(good_image(700)).save(tmp_path / "part.png")
    command = [
        "export",
        str(tmp_path / "model.safetensors"),
        "--to",
        str(tmp_path / "out"),
        "--format",
        "openvino",
    ]
    run = CliRunner().invoke(app, [*command, "--check", str(tmp_path / "part.png"), "--json"])
    assert run.exit_code == 0, run.output
    document = json.loads(run.stdout)
    assert (document["images"], document["synthetic"], document["verdicts"]) == (1, False, 0)
    about = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert about["agreement"]["score"] == document["score"]
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    other = CliRunner().invoke(app, [*command[:-1], "coreml"])
    assert other.exit_code == 2
