"""The 8-bit network of a model file: those of real backbones are taken, and others refused before they are built."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from differnet.config import presets
from differnet.decision.early_stop import GROUP
from differnet.errors import ModelFileError
from differnet.features.backbone import openvino_runtime
from differnet.features.backbone.network import build
from differnet.features.backbone.openvino_runtime import Graph
from differnet.runtime import engines

EMPTY = '<net name="a" version="11"><layers/></net>'


@pytest.mark.parametrize(
    ("backbone", "stage", "layer"), [("test_resnet", 2, b"ReLU"), ("test_convnext", 1, b"MVN")]
)
def test_networks_of_other_kinds_are_read_again(backbone, stage, layer):
    from differnet.features.backbone.quantize import quantize

    asked = {"backbone": backbone, "stages": [stage], "sizes": [64], "precision": "int8"}
    module = build(presets.resolve("default", asked).backbone, "random")
    noise = torch.Generator().manual_seed(0)
    graph = quantize(
        module, lambda _: 255 * torch.rand(GROUP, 3, 64, 64, generator=noise), 2, lambda done: None
    )
    assert b'type="' + layer + b'"' in graph.xml
    again = openvino_runtime.run_graph(Graph.from_tensors(graph.to_tensors()))
    assert torch.isfinite(again.features([torch.zeros(2, 3, 64, 64)])).all()


SIGNALS = """
import gc, signal, sys
from test_graph_check import test_networks_of_other_kinds_are_read_again as use
seen = []
signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
for _ in range(2):
    use("test_resnet", 2, b"ReLU")
    gc.collect()
    signal.raise_signal(signal.SIGTERM)
print(len(seen))
"""


def test_a_signal_after_networks_are_gone_is_handled():
    """On processors with AMX, OpenVINO's plugins set a stack for signals, and leave it behind when they end."""
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SIGNALS],
        capture_output=True, text=True, check=False, cwd=here,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split()[-1] == "2"


@pytest.mark.parametrize(
    "xml",
    [
        EMPTY.encode("utf-16"),
        b"\xef\xbb\xbf" + EMPTY.encode(),
        b"<?xml version='1.0' encoding='utf-7'?>" + EMPTY.encode(),
        b"<net>\xff</net>",
    ],
)
def test_only_utf_8_is_taken(xml):
    with pytest.raises(ModelFileError, match="not in .*UTF-8"):
        openvino_runtime.run_graph(Graph(xml, b""))


def graph_of(make):
    openvino = engines.import_openvino()
    given = openvino.opset13.parameter([1, 3, 8, 8], np.float32, name="given")
    return Graph.of(openvino.Model([make(openvino.opset13, given)], [given]))


def test_layers_that_blow_up_a_constant_are_refused():
    for make in (
        lambda ops, x: ops.tile(x, np.array([1, 1, 99, 99])),
        lambda ops, x: ops.broadcast(x, [9, 3, 8, 8]),
    ):
        with pytest.raises(ModelFileError, match="layer of type"):
            openvino_runtime.run_graph(graph_of(make))


def test_sizes_that_the_file_does_not_declare_are_seen():
    """The file says 1 x 3 x 8 x 8 of a layer that makes it a billion."""
    wide = np.array([0, 0, 20_000, 20_000])
    graph = graph_of(lambda ops, x: ops.pad(x, np.zeros(4, np.int64), wide, "constant", np.float32(0)))
    small = Graph(re.sub(rb"<dim>20008</dim>", b"<dim>8</dim>", graph.xml), graph.constants)
    assert small.xml != graph.xml
    with pytest.raises(ModelFileError, match="numbers"):
        openvino_runtime.run_graph(small)
