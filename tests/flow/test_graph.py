"""Flows as a graph of OpenVINO, beside the same flows in PyTorch."""

import gc
import itertools
import threading
import weakref
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from differnet.detector.scoring import view_scores
from differnet.errors import NumericalError, ShapeError
from differnet.features.backbone.row_runtime import RowRuntime
from differnet.features.backbone.torch_runtime import lanes
from differnet.features.pooling import reading
from differnet.flow import graph
from differnet.flow.flow import CouplingBlock, Flow
from differnet.flow.fusion import Fusion
from differnet.flow.graph import FusionGraph, fastest
from differnet.flow.neighbours import Neighbours
from differnet.runtime import threads

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO")
OPENVINO, TORCH = SimpleNamespace(name="openvino"), SimpleNamespace(name="torch")


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def flow_of(width, start="gaussian", flows=1, blocks=2, seed=3):
    """A flow that does something: every weight is drawn, the last layers too."""
    flow = Flow(width, blocks=blocks, hidden=16, depth=2, seed=seed, start=start, flows=flows)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in (step for chain in flow.chains for step in chain if isinstance(step, CouplingBlock)):
            for weight in block.parameters():
                weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
        if flow.whitening is not None:
            upper = 0.2 * torch.randn(width, width, generator=generator).triu(1)
            flow.whitening.set(torch.randn(width, generator=generator), upper + torch.eye(width))
    return flow.eval().requires_grad_(False)


def fusion_of(tiles=1, grid=3, channels=(3, 4), flows=1, starts=("gaussian", "random"), kept=10):
    """A whole image and its parts, two flows."""
    whole = reading(channels, 2, grid, (0, 1), "whole", tiles)
    parts = reading(channels, 2, grid, (0, 1), "largest", tiles, read_sizes=(1,))
    made = [
        flow_of(read.features, start, flows, seed=seed)
        for seed, (read, start) in enumerate(zip((whole, parts), starts, strict=True))
    ]
    near = {1: Neighbours(numbers(kept, flows * parts.features, seed=5), flows)} if kept else None
    return Fusion(made, (whole, parts), near)


@pytest.mark.parametrize("views", [1, 3])
def test_with_one_thread_graphs_run_one_after_the_other(monkeypatch, views):
    fusion = fusion_of()
    wanted = FusionGraph(fusion)(rows_of(fusion, views))
    monkeypatch.setenv(threads.VARIABLE, "1")
    monkeypatch.delattr(RowRuntime, "_beside")
    made = FusionGraph(fusion)
    made.runtime._queues.clear()
    assert torch.equal(made(rows_of(fusion, views)), wanted)


def rows_of(fusion, views, seed=1):
    return numbers(views, fusion.reads[0].width, seed=seed)


def several(blocks, near):
    """Flows of the whole image and of parts at two sizes, of so many blocks each; some have good parts at hand."""
    reads = [
        reading((3, 4), 2, 3, (0, 1), "whole"),
        reading((3, 4), 2, 3, (0, 1), "largest", read_sizes=(0,)),
        reading((3, 4), 2, 3, (0, 1), "average", read_sizes=(1,)),
    ]
    made = [
        flow_of(read.features, blocks=count, seed=seed)
        for seed, (read, count) in enumerate(zip(reads, blocks, strict=True))
    ]
    kept = {place: Neighbours(numbers(9, reads[place].features, seed=place), 1) for place in near}
    return Fusion(made, reads, kept)


@pytest.mark.parametrize("blocks", [(0, 2, 2), (3, 1, 1), (1, 3, 1), (1, 1, 4)])
@pytest.mark.parametrize("near", [(), (0,), (2,), (1, 2), (0, 1, 2)])
def test_readings_are_in_order_however_flows_are_dealt_to_graphs(blocks, near):
    fusion = several(blocks, near)
    halves = graph._halves(fusion)
    assert len(halves) == 2
    assert sorted(number for half in halves for number in half) == [0, 1, 2]
    rows = rows_of(fusion, 5)
    wanted, made = fusion(rows), FusionGraph(fusion)
    torch.testing.assert_close(made(rows), wanted, rtol=1e-4, atol=1e-4)
    assert wanted.shape == (1, 5, 3 + len(near))
    alone = torch.cat([made(row[None]) for row in rows], dim=1)
    with lanes(2) as pool:
        beside = torch.cat(list(pool.map(lambda row: made(row[None]), rows)), dim=1)
    assert torch.equal(made(rows), alone)
    assert torch.equal(beside, alone)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tiles": 2},
        {"flows": 3},
        {"flows": 2, "tiles": 3, "starts": ("random", "gaussian")},
        {"kept": 0},
        {"kept": 1},
        {"kept": 1999},
        {"channels": (1, 2), "grid": 1, "kept": 0},
        {"grid": 2, "channels": (5,)},
    ],
    ids=str,
)
@pytest.mark.parametrize("views", [1, 2, 7])
def test_readings_are_those_of_torch(settings, views):
    if settings.get("channels") == (5,):
        read = reading((5,), 1, 2, (0,), "mean")
        fusion = Fusion([flow_of(5)], (read,))
    elif settings.get("grid") == 1:
        read = reading((1, 2), 1, 1, (0, 1), "whole")
        fusion = Fusion([flow_of(3, "random")], (read,))
    else:
        fusion = fusion_of(**settings)
    rows = rows_of(fusion, views)
    found, wanted = FusionGraph(fusion)(rows), fusion(rows)
    assert found.dtype == torch.float64
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, rtol=2e-5, atol=1e-6)


def test_a_gaussian_without_blocks():
    read = reading((6,), 1, 1, (0,), "whole")
    fusion = Fusion([flow_of(6, blocks=0)], (read,))
    rows = rows_of(fusion, 4)
    torch.testing.assert_close(FusionGraph(fusion)(rows), fusion(rows), rtol=2e-5, atol=1e-6)


def test_a_copy_of_a_kept_part_is_as_far_as_noise_is_though_norms_are_large():
    """Norms of 70,000, of which 32 bits know hundredths: taken from each other they would leave those."""
    read = reading((384,), 1, 3, (0,), "largest")
    flow = flow_of(read.features, blocks=0)
    flow.whitening.set(torch.zeros(read.features), torch.eye(read.features))
    rows = numbers(20, read.width).mul(20).half().float()
    fusion = Fusion([flow], (read,), {0: Neighbours(read.rows(rows))})
    found = FusionGraph(fusion)(rows)
    assert found[0, :, -1].tolist() == [read.features / 2] * 20
    torch.testing.assert_close(found, fusion(rows), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kept", [10, 2000])
def test_a_view_has_the_same_bits_alone_among_others_and_in_a_lane(kept):
    fusion = fusion_of(tiles=2, kept=kept)
    ready, rows = FusionGraph(fusion), rows_of(fusion, 9)
    together = ready(rows)
    alone = torch.cat([ready(row) for row in rows.split(1)], dim=1)
    with lanes() as pool:
        in_lanes = torch.cat(
            [one.result() for one in [pool.submit(ready, row) for row in rows.split(3)]], dim=1
        )
    assert torch.equal(together, alone)
    assert torch.equal(together, in_lanes)


def test_threads_share_a_graph():
    fusion = fusion_of()
    ready, rows = FusionGraph(fusion), rows_of(fusion, 40)
    wanted, found = ready(rows), {}

    def work(number):
        some = rows[5 * number : 5 * number + 5]
        found[number] = [ready(some) for _ in range(30)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, one in itertools.product(range(8), range(30)):
        assert torch.equal(found[number][one], wanted[:, 5 * number : 5 * number + 5])


@pytest.mark.parametrize("value", [1e30, float("inf"), float("nan")])
@pytest.mark.parametrize("place", [0, 7, -1])
@pytest.mark.parametrize("kept", [10, 2000])
def test_a_latent_that_is_not_finite_is_named_and_no_other_view_hurt(value, place, kept):
    fusion = fusion_of(kept=kept)
    ready, rows = FusionGraph(fusion), rows_of(fusion, 3)
    wanted = ready(rows)
    rows[1, place] = value
    found = ready(rows)
    assert not torch.isfinite(found[:, 1]).any()
    assert torch.equal(found[:, [0, 2]], wanted[:, [0, 2]])
    with pytest.raises(NumericalError, match=r"odd\.png: the score of a view is not finite"):
        view_scores(ready, rows, "cpu", "odd.png")


def test_a_graph_that_disagrees_with_torch_is_refused():
    fusion = fusion_of()
    ready, rows = FusionGraph(fusion), rows_of(fusion, 2)
    with torch.no_grad():
        fusion.parts[1][0].steps[1].subnet2.layers[-1].bias.add_(0.5)
    for _ in range(3):
        with pytest.raises(NumericalError, match="differ by .* from those of PyTorch"):
            ready(rows)


def test_readings_that_are_not_finite_do_not_pass_as_compared():
    fusion = fusion_of()
    ready, rows = FusionGraph(fusion), rows_of(fusion, 2)
    assert not torch.isfinite(ready(torch.full_like(rows, 1e30))).any()
    with torch.no_grad():
        fusion.parts[1][0].steps[1].subnet2.layers[-1].bias.add_(0.5)
    with pytest.raises(NumericalError, match="differ by"):
        ready(rows)


@pytest.mark.parametrize("views", [1, 3])
def test_features_of_other_flows_are_refused_and_nothing_waits(views):
    fusion = fusion_of()
    ready, rows = FusionGraph(fusion), rows_of(fusion, views)
    wanted = ready(rows)
    others = [rows[:, :5], rows[0], rows[:0], rows.double(), rows.half(), torch.cat((rows, rows), dim=1)]
    for other in others:
        with pytest.raises(ShapeError, match=rf"expected features \(B, {rows.shape[1]}\) in float32"):
            ready(other)
    assert torch.equal(ready(rows), wanted)


def test_a_graph_goes_with_its_flows():
    fusion = fusion_of()
    ready = weakref.ref(fastest(fusion, OPENVINO, "cpu"))
    assert ready() is not None
    del fusion
    gc.collect()
    assert ready() is None


def test_small_flows_have_one_graph_where_openvino_runs():
    fusion, other = fusion_of(), fusion_of()
    ready = fastest(fusion, OPENVINO, "cpu")
    assert isinstance(ready, FusionGraph)
    assert fastest(fusion, OPENVINO, "cpu") is ready
    assert fastest(other, OPENVINO, "cpu") is not ready
    assert fastest(fusion, TORCH, "cpu") is fusion
    assert fastest(fusion, OPENVINO, "cuda") is fusion


def test_large_flows_stay_in_torch(monkeypatch):
    fusion = fusion_of()
    count = sum(one.numel() for one in fusion.state_dict().values())
    monkeypatch.setattr(graph, "_LARGEST", count - 1)
    assert fastest(fusion, OPENVINO, "cpu") is fusion
    monkeypatch.setattr(graph, "_LARGEST", count)
    assert isinstance(fastest(fusion_of(), OPENVINO, "cpu"), FusionGraph)


def test_scores_of_a_detector_come_from_the_graph(detector, good_images):
    features = detector.describe(good_images[0])
    wanted = view_scores(detector.model.fusion, features, "cpu")
    found = view_scores(fastest(detector.model.fusion, detector.describer.runtime, "cpu"), features, "cpu")
    assert np.array_equal(detector.view_scores(features), found)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
