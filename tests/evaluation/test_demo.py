"""The demo's data are what they claim, and its defects are found with the embedded backbone."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from differnet.data import datasets
from differnet.data.images import load, load_mask
from differnet.evaluation import demo

pytest.importorskip("skimage")


def test_defects_are_where_the_masks_say():
    rng = np.random.default_rng(0)
    tile = demo._cut(demo._cells(demo._photograph("gravel"))[0], rng)
    for name, draw in demo.DEFECTS.items():
        for strength in demo.STRENGTHS:
            changed, mask = draw(tile, strength, rng)
            difference = np.abs(changed.astype(int) - tile).sum(axis=2)
            assert 20 < mask.sum() < 0.35 * mask.size, name
            assert difference[mask].mean() > 3 * difference[~mask].mean(), name
            assert difference[mask].mean() > 10, name


def test_training_and_test_tiles_share_no_pixel(tmp_path, monkeypatch):
    y, x = np.meshgrid(np.arange(512), np.arange(512), indexing="ij")
    coded = np.stack([x // 2, y // 2, (x // demo.CELL) * 4 + y // demo.CELL], axis=2).astype(np.uint8)
    monkeypatch.setattr(demo, "_photograph", lambda name: coded)
    demo.write_demo_data(tmp_path, textures=("coded",))
    data = datasets.read(tmp_path)[0]
    train = [set(np.unique(load(s.path)[..., 2])) for s in data.train]
    test = [set(np.unique(load(s.path)[..., 2])) for s in data.test if not s.is_defective]
    assert all(len(cells) == 1 for cells in train + test)
    assert not set.union(*train) & set.union(*test)
    groups = {demo.cell_of(s.path) for s in data.train}
    assert len(groups) == len(set.union(*train)) == 10
    defective = [s for s in data.test if s.is_defective]
    assert len(defective) == len(demo.DEFECTS) * len(demo.STRENGTHS)
    assert all(load_mask(s.mask).any() for s in defective)


def test_the_data_are_the_same_as_ever(tmp_path):
    """Figures that were published rest on these pixels, under these names."""
    demo.write_demo_data(tmp_path)
    digest = hashlib.sha256()
    paths = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for path in paths:
        digest.update(path.relative_to(tmp_path).as_posix().encode() + load(path).tobytes())
    assert len(paths) == 4 * (10 * demo.TRAIN_TILES_A_CELL + demo.GOOD_TEST_TILES + 2 * 20)
    assert digest.hexdigest() == "172f0f2d6655d53c524a7450d545680077d2768fa7d4ebb50fb0a30445f33676"
