"""Folders of stations from elsewhere: what does not fit together is refused before it judges."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from differnet import Inspector
from differnet.errors import (
    ModelFileError,
    NumericalError,
)
from differnet.runtime import folder as folders
from differnet.runtime.engines import OnnxEngine
from support.stations import pictures

DECISION = {"order": "upright", "rate": 0.2, "confidence": None, "review_rate": 0.4, "folds": 0}


@pytest.fixture
def copied(fixed, tmp_path):
    """A folder of its own, to spoil."""
    shutil.copytree(fixed, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "weights.bin").unlink(), "missing"),
        (lambda root: (root / "weights.bin").write_bytes(b"short"), "5 bytes where"),
        (lambda root: flip(root / "weights.bin"), "digest is not the one"),
        (lambda root: flip(root / "calibration.json"), "digest is not the one"),
        (lambda root: (root / "manifest.json").unlink(), "has no manifest.json"),
        (lambda root: (root / "manifest.json").write_text("{"), "not JSON"),
        (lambda root: (root / "manifest.json").write_text("[1]"), "not the folder of a station"),
        (lambda root: edit(root, kind="detector"), "not the folder of a station"),
        (lambda root: edit(root, format=99), "format 99; this version reads formats 1 to 3"),
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


def test_a_folder_of_before_judges_the_same(fixed, copied):
    """In format 1 every graph had a file of weights of its own."""
    weights = copied / "weights.bin"
    for graph in copied.glob("*.xml"):
        shutil.copy(weights, graph.with_suffix(".bin"))
    weights.unlink()
    (copied / "good.png").unlink()
    edit(copied, format=1)
    resign(copied)
    picture = pictures()[0]
    found, wanted = (Inspector(one).predict(picture, heat_map=True) for one in (copied, fixed))
    assert found.score == wanted.score
    np.testing.assert_array_equal(found.heat_map, wanted.heat_map)


def test_a_table_of_weights_that_are_not_there_is_refused():
    with pytest.raises(ModelFileError, match="cannot read the graph: buffer is smaller"):
        OnnxEngine(b"", None, b'{"w": ["<f4", [4], 0]}', bytes(15))
    with pytest.raises(ModelFileError, match="cannot read the graph"):
        OnnxEngine(b"", None, b'{"w": ["O", [1], 0]}', bytes(15))


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


def test_a_machine_that_computes_otherwise_is_refused(copied):
    path = copied / folders.CALIBRATION
    values = json.loads(path.read_text())
    values["probe"] = [1.1 * value for value in values["probe"]]
    path.write_text(json.dumps(values))
    resign(copied)
    with pytest.raises(NumericalError, match="differ by 9.1%"):
        Inspector(copied)
