"""Maps brought to the size of their pictures: two pixels count for each, and memory goes by the picture alone."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from differnet import Inspector
from differnet.data import images
from differnet.errors import ImageError
from differnet.runtime.enlarge import enlarge
from support import hostile, stations

DRAWN = np.random.default_rng(0)


def in_between(values, count):
    """Return a row of values at ``count`` places, centres on centres, in floats of 64 bits."""
    at = (np.arange(count) + 0.5) * (len(values) / count) - 0.5
    return np.interp(at, np.arange(len(values)), values)


@pytest.mark.parametrize("found", [(1, 1), (7, 5), (64, 48)])
@pytest.mark.parametrize("wanted", [(1, 1), (3, 200), (7, 5), (300, 2), (1, 10_000), (900, 1200)])
def test_it_is_bilinear(found, wanted):
    part = DRAWN.random(found, dtype=np.float32)
    enlarged = enlarge(part, wanted)
    wide = np.stack([in_between(row, wanted[1]) for row in part.astype(np.float64)])
    reference = np.stack([in_between(column, wanted[0]) for column in wide.T], axis=1)
    assert (enlarged.dtype, enlarged.shape) == (np.float32, wanted)
    np.testing.assert_allclose(enlarged, reference, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3_000_000), (3_000_000, 1)], ids=str)
def test_a_long_side_costs_no_table_of_it(shape):
    """A dense table of the longer side alone has 5 GB."""
    tracemalloc.start()
    enlarge(np.ones((448, 448), np.float32), shape)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 200 * 10**6  # 12 MB of them are the map


def test_thin_pictures_are_judged_alike_up_to_the_limit_and_refused_beyond(upright, fixed, tmp_path):
    inspector = Inspector(fixed)
    for shape in ((10_000, 1), (1, 10_000), (3, 9_000)):
        drawn = DRAWN.integers(0, 256, (*shape, 3), dtype=np.uint8)
        found, wanted = inspector.predict(drawn, heat_map=True), upright.predict(drawn, heat_map=True)
        assert found.heat_map.shape == wanted.heat_map.shape == shape
        stations.agree(found, wanted, heat=True)
    path = tmp_path / "thin.png"
    path.write_bytes(hostile.png(1, 3_000_000, 8, 2, bytes(1000)))
    for judge in (inspector, upright):
        tracemalloc.start()
        with pytest.raises(ImageError, match="1 x 3000000: one side is more than 10,000 times the other"):
            judge.predict(path, heat_map=True)
        assert tracemalloc.get_traced_memory()[1] < 10 * 10**6
        tracemalloc.stop()
    assert images.shape_of(path) == (3_000_000, 1)
    Image.fromarray(drawn).save(tmp_path / "as long.png")
    assert images.load(tmp_path / "as long.png").shape == (3, 9_000, 3)
