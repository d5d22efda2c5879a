"""The station: it judges as the detector does, without torch, and trusts no folder that it should not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import venv
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import differnet
from differnet import DifferNet, DifferNetWarning, Inspector
from differnet.config.settled import SettledViews
from differnet.detector import export
from differnet.detector.graphs import Head, HeatMapping, Rendering, Scoring
from differnet.errors import (
    ConfigError,
    ExportError,
    ImageError,
    MissingExtraError,
    ModelFileError,
    NotFittedError,
    NumericalError,
)
from differnet.features import tiles
from differnet.features.backbone.openvino_runtime import Graph, convert, stacked, to_openvino
from differnet.features.views import even_views, random_views, render
from differnet.flow import localize
from differnet.runtime import engines
from differnet.runtime import folder as folders
from differnet.runtime.engines import OnnxEngine, OpenVinoEngine
from differnet.runtime.inspector import enlarge
from support.tiny import TINY, defective_image, good_image

SMALL = TINY | {"epochs": 2, "hidden": 8, "blocks": 2, "runtime": "torch"}
UPRIGHT = SMALL | {
    "rotation": "none",
    "score_rotations": "even",
    "grid": 2,
    "pooling": "largest",
    "start": "gaussian",
    "review_rate": 0.4,
    "rate": 0.2,
}
TURNED = SMALL | {"start": "gaussian", "rate": 0.2, "fill": "zeros", "flows": 2}
DECISION = {"order": "upright", "rate": 0.2, "confidence": None, "review_rate": 0.4, "folds": 0}
ABSENT = ("torch", "torchvision", "timm", "scipy", "sklearn", "pydantic", "safetensors", "tifffile", "typer")


def fit(images, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return DifferNet("default", seed=1, weights="random", **settings).fit(images)


@pytest.fixture(scope="module")
def upright(good_images):
    return fit(good_images, **UPRIGHT)


@pytest.fixture(scope="module")
def turned(good_images):
    return fit(good_images, **TURNED)


@pytest.fixture(scope="module")
def fixed(upright, tmp_path_factory):
    """The folder of upright views in OpenVINO."""
    place = tmp_path_factory.mktemp("stations") / "fixed"
    export.export(upright, place, "openvino", images=[good_image(i) for i in range(3)])
    return place


@pytest.fixture(scope="module")
def turning(turned, tmp_path_factory):
    """The folder of turned views in OpenVINO."""
    place = tmp_path_factory.mktemp("stations") / "turning"
    export.export(turned, place, "openvino", images=[good_image(i) for i in range(3)])
    return place


@pytest.fixture
def copied(fixed, tmp_path):
    """A folder of its own, to spoil."""
    shutil.copytree(fixed, tmp_path / "copy")
    return tmp_path / "copy"


def pictures():
    wide = np.random.default_rng(5).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    return [good_image(500), defective_image(3)[0], wide, good_image(501, 33)]


def agree(found, wanted, heat=False):
    assert found.score == pytest.approx(wanted.score, rel=1e-4)
    assert (found.verdict, found.views, found.p_value) == (wanted.verdict, wanted.views, wanted.p_value)
    assert found.threshold == pytest.approx(wanted.threshold, rel=1e-12)
    assert found.percent == pytest.approx(wanted.percent, rel=1e-4)
    if heat:
        assert found.heat_map.shape == wanted.heat_map.shape
        np.testing.assert_allclose(found.heat_map, wanted.heat_map, atol=1e-3 * wanted.heat_map.max())


def test_a_folder_of_upright_views_judges_as_the_detector(upright, fixed):
    inspector = Inspector(fixed)
    for image in pictures():
        agree(inspector.predict(image, heat_map=True), upright.predict(image, heat_map=True), heat=True)
    assert (
        inspector.predict(good_image(1)).review_threshold == upright.predict(good_image(1)).review_threshold
    )


def test_a_folder_of_turned_views_judges_as_the_detector(turned, turning):
    inspector = Inspector(turning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)  # few images: the promise of stopping early is weak
        for image, views in zip(pictures(), (None, 3, "auto", "auto"), strict=True):
            agree(inspector.predict(image, True, views), turned.predict(image, True, views), heat=True)
    np.testing.assert_allclose(
        inspector.view_scores(pictures()[2]),
        turned.view_scores(turned.describe(pictures()[2])),
        rtol=1e-4,
    )


def test_onnx_judges_as_the_detector(upright, tmp_path):
    found = export.export(upright, tmp_path / "onnx", "onnx", images=pictures())
    assert (found.images, found.synthetic, found.verdicts) == (4, False, 0)
    inspector = Inspector(tmp_path / "onnx", threads=1)
    assert {type(one) for one in inspector._engines.values()} == {OnnxEngine}
    agree(inspector.predict(pictures()[1]), upright.predict(pictures()[1]))
    assert sorted(path.name for path in (tmp_path / "onnx").iterdir()) == [
        "calibration.json",
        "manifest.json",
        "map.onnx",
        "score.onnx",
    ]


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


def linked(names, target):
    """Link what these distributions and those they need have installed into ``target``, torch's not."""
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found = metadata.distribution(name)
        for top in {
            file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")
        }:
            if not (target / top).exists():
                (target / top).symlink_to(found.locate_file(top))
        needed = [re.match(r"[\w.-]+", line)[0] for line in found.requires or () if "extra" not in line]
        waiting += [one for one in needed if is_installed(one)]
    return seen


def is_installed(name):
    try:
        return metadata.distribution(name) is not None
    except metadata.PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment without pip, into which NumPy, Pillow, an engine and what they need are linked."""

    def make(engine):
        root = tmp_path_factory.mktemp(f"environment-{engine}")
        venv.create(root, with_pip=False, symlinks=True)
        (packages,) = root.glob("lib/python*/site-packages")
        seen = linked(["numpy", "pillow", engine], packages)
        assert not seen & {"torch", "scipy", "pydantic"}
        (packages / "differnet").symlink_to(Path(differnet.__file__).parent)
        return root / "bin" / "python"

    return make


@pytest.mark.skipif(sys.platform == "win32", reason="links files into an environment")
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_it_runs_in_an_environment_without_torch(upright, fixed, environment, engine, tmp_path):
    """In one that has NumPy, Pillow and the engine alone, by the names that the documentation gives."""
    pytest.importorskip(engine)
    place = fixed
    if engine == "onnxruntime":
        place = tmp_path / "onnx"
        export.export(upright, place, "onnx", images=[good_image(1)])
    Image.fromarray(pictures()[1]).save(tmp_path / "part.png")
    code = (
        "import importlib.util as u, sys\n"
        f"print([name for name in {ABSENT!r} if u.find_spec(name) is not None])\n"
        "import differnet\n"
        "from differnet.runtime import Inspector\n"
        "assert Inspector is differnet.Inspector\n"
        f"found = Inspector({str(place)!r}).predict({str(tmp_path / 'part.png')!r}, heat_map=True)\n"
        "print(repr(found.score), found.verdict, found.p_value, found.heat_map.shape)\n"
    )
    python = environment(engine)
    run = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    present, found = run.stdout.splitlines()
    score, verdict, p_value, shape = found.split(maxsplit=3)
    wanted = upright.predict(pictures()[1])
    assert present == "[]"
    assert float(score) == pytest.approx(wanted.score, rel=1e-4)
    assert (verdict, float(p_value), shape) == (wanted.verdict, wanted.p_value, "(64, 64)")
    command = [python, "-m", "differnet", "score"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 1
    assert re.fullmatch(r"The command differnet needs \w+, .* pip install differnet\. .*\n", run.stderr)


def test_without_an_engine_the_command_that_installs_it_is_named(fixed, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    engines.core.cache_clear()
    with pytest.raises(MissingExtraError, match="pip install openvino"):
        Inspector(fixed)


@pytest.mark.parametrize(
    "settings", [{"holdout": 0.0}, {"folds": 3}, {"confidence": 0.8, "rate": 0.3, "holdout": 0.5}]
)
def test_every_kind_of_calibration_comes_along(good_images, settings, tmp_path):
    """None at all, cross-fitted scores, and a promise with a confidence."""
    detector = fit(good_images, **{**TURNED, "review_rate": 0.6, **settings})
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


def test_a_band_for_review_has_all_three_answers(upright, fixed):
    """Also where a part is judged before all of its views were seen."""
    inspector = Inspector(fixed)
    scores = [good_image(i) for i in range(300, 340)]
    wanted = [upright.predict(image).verdict for image in [*scores, defective_image(3)[0]]]
    assert [inspector.predict(image).verdict for image in [*scores, defective_image(3)[0]]] == wanted
    assert set(wanted) == {"OK", "review", "NG"}


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_many_threads_get_the_same_answers(turned, form, tmp_path):
    if form == "onnx":
        pytest.importorskip("onnxscript")
    export.export(turned, tmp_path / "station", form, images=[good_image(1)])
    inspector, images = Inspector(tmp_path / "station"), [good_image(i) for i in range(40, 60)]
    wanted = [inspector.predict(image, heat_map=True) for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: inspector.predict(image, heat_map=True), images))
    assert found == wanted
    for ours, theirs in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(ours.heat_map, theirs.heat_map)


def test_a_stream_and_a_monitor(fixed):
    inspector = Inspector(fixed)
    found = list(inspector.predict_iter(iter(pictures())))
    assert [one.score for one in found] == [inspector.predict(image).score for image in pictures()]
    monitor = inspector.drift_monitor()
    assert monitor.update(found[0].score, 128.0, 1.0).images == 1
    assert "threshold" in repr(inspector)
    assert inspector.promise.rate == 0.2


def test_what_it_cannot_do_is_said(turning, fixed, tmp_path):
    inspector = Inspector(turning)
    for views in (0, 9, "many"):
        with pytest.raises(ConfigError, match="8 random view"):
            inspector.predict(good_image(1), views=views)
    with pytest.raises(ImageError, match="no such file"):
        Inspector(fixed).predict(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "score.bin").unlink(), "missing"),
        (lambda root: (root / "score.bin").write_bytes(b"short"), "5 bytes where"),
        (lambda root: flip(root / "score.bin"), "digest is not the one"),
        (lambda root: flip(root / "calibration.json"), "digest is not the one"),
        (lambda root: (root / "manifest.json").unlink(), "has no manifest.json"),
        (lambda root: (root / "manifest.json").write_text("{"), "not JSON"),
        (lambda root: (root / "manifest.json").write_text("[1]"), "not the folder of a station"),
        (lambda root: edit(root, kind="detector"), "not the folder of a station"),
        (lambda root: edit(root, format=99), "format 99; this version reads format 1"),
        (lambda root: edit(root, engine="pickle"), "engine 'pickle'"),
        (lambda root: edit(root, files={"../../etc/passwd": {"bytes": 1, "sha256": ""}}), "were wanted"),
        (lambda root: edit(root, views=[]), "an empty table"),
        (lambda root: edit(root, views=[[0, 1]]), "a table of shape"),
        (lambda root: edit(root, maps=None), "heat maps without a graph"),
        (lambda root: edit(root, views=[[1.0, 1, 1]]), "no graph that renders"),
        (lambda root: edit(root, square=None), "does not fit together"),
        (lambda root: edit(root, decision=DECISION | {"rate": 2}), "does not fit together.*rate = 2"),
        (lambda root: edit(root, decision=DECISION | {"review_rate": float("nan")}), "does not fit together"),
        (lambda root: edit(root, decision=DECISION | {"confidence": 0.999}), "does not fit together"),
    ],
)
def test_folders_that_cannot_be_trusted_are_refused(copied, spoil, message):
    spoil(copied)
    with pytest.raises(ModelFileError, match=message):
        Inspector(copied)


def flip(path):
    """Change one byte and leave the size as it is."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit(root, **changes):
    path = root / folders.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def resign(root):
    """Write digests that fit, as somebody would who can write to the folder."""
    names = [path.name for path in root.iterdir() if path.name != folders.MANIFEST]
    edit(root, files=folders.describe_files({name: (root / name).read_bytes() for name in names}))


def test_a_foreign_graph_is_refused_whatever_its_digest(copied):
    (copied / "score.xml").write_bytes(b"<html></html>")
    resign(copied)
    with pytest.raises(ModelFileError, match="cannot read the graph"):
        Inspector(copied)


def test_an_onnx_graph_reads_no_other_file(tmp_path, monkeypatch):
    """One whose weights are said to be in a file beside it, of which no digest is known."""
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    np.arange(4, dtype=np.float32).tofile("weights.bin")
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [4], [0.0] * 4)
    weights.ClearField("float_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4]) for name in ("x", "y")]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])], "sum", ends[:1], ends[1:], [weights]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ModelFileError, match="cannot read the graph"):
        OnnxEngine(model.SerializeToString())


@pytest.mark.parametrize("count", [0, -1])
def test_no_threads_are_refused(fixed, count):
    with pytest.raises(ConfigError, match="threads = "):
        Inspector(fixed, threads=count)


def test_a_machine_that_computes_otherwise_is_refused(copied):
    path = copied / folders.CALIBRATION
    values = json.loads(path.read_text())
    values["probe"] = [1.1 * value for value in values["probe"]]
    path.write_text(json.dumps(values))
    resign(copied)
    with pytest.raises(NumericalError, match="differ by 9.1%"):
        Inspector(copied)


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
        found = Rendering(24, fill)(square[None], *views)
        torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)


@pytest.mark.parametrize("name", ["upright", "turned"])
def test_maps_without_a_gradient_are_the_detectors(name, request):
    detector = request.getfixturevalue(name)
    model, settings = detector.model, detector.settings
    turned = even_views(settings.maps.map_views, settings.views)
    square = tiles.to_square(pictures()[1], 64)
    mapping = HeatMapping(detector.module, model.flow, model.reading, settings.maps.blur, turned.angles)
    views = render(square, turned, settings.views.fill)
    wanted = localize.heat_map(square, detector.module, model.flow, model.reading, settings)
    torch.testing.assert_close(mapping(views), wanted, rtol=1e-3, atol=1e-3 * float(wanted.max()))
    exact = detector.module(views) * 1.01
    other = localize.contribution_maps(
        views, detector.module, model.flow, model.reading, settings.maps.blur, exact
    )
    if len(turned) == 1:
        torch.testing.assert_close(mapping(views, exact), other[0], rtol=1e-3, atol=1e-3 * float(other.max()))


def test_maps_are_enlarged_as_torch_does():
    part = np.random.default_rng(0).random((7, 5), dtype=np.float32)
    for shape in ((7, 5), (31, 40), (3, 4), (1, 9)):
        wanted = torch.nn.functional.interpolate(
            torch.from_numpy(part)[None, None], size=shape, mode="bilinear", align_corners=False
        )
        np.testing.assert_allclose(enlarge(part, shape), wanted[0, 0], atol=1e-6)


def test_openvino_takes_any_number_of_views(fixed):
    engine = OpenVinoEngine(*((fixed / name).read_bytes() for name in folders.names_of("score", "openvino")))
    views = np.random.default_rng(0).uniform(0, 255, (3, 3, 64, 64)).astype(np.float32)
    together = engine.run({"views": views})
    one_by_one = [engine.run({"views": views[i : i + 1]})["norms"][0] for i in range(3)]
    np.testing.assert_allclose(together["norms"], one_by_one, rtol=1e-5)
    with pytest.raises(ModelFileError, match="does not take these inputs"):
        engine.run({"pictures": views})


def test_images_that_set_the_threshold_are_ties(upright, good_images, tmp_path):
    """A held-out image lies just below the threshold that it set, in one arithmetic; rounding decides in another."""
    found = export.export(upright, tmp_path / "held", "openvino", images=good_images)
    assert (found.images, found.verdicts) == (24, 0)
    assert found.ties <= 2  # one at the threshold, one at that of the review


def test_a_head_is_put_on_a_network(upright):
    """As with the 8-bit network of a model, here with one in floats."""
    model, views = upright.model, torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    head = Head(model.flow, model.reading)
    rows = {"features": torch.zeros(4, head.read.width)}
    below = Graph.of(convert(upright.module))
    graph = Graph.of(stacked(below, to_openvino(head, rows, ("norms",), tuple(rows))))
    found = OpenVinoEngine(graph.xml, graph.constants).run({"views": views.numpy()})
    norms, features = Scoring(upright.module, model.flow, model.reading)(views)
    np.testing.assert_allclose(found["norms"], norms, rtol=1e-4)
    np.testing.assert_allclose(found["features"], features, atol=1e-4 * float(features.max()))


@pytest.mark.slow
def test_integers_come_along(good_images, tmp_path):
    """With the maps of the network in floats at the features in integers, as the detector's."""
    settings = TURNED | {
        "backbone": "efficientnet_lite0",
        "stages": [3],
        "precision": "int8",
        "runtime": "auto",
    }
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
