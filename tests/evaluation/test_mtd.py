"""Magnetic Tile Defects as published; skips without the data (see CONTRIBUTING)."""

from __future__ import annotations

import os

import pytest

from differnet.data import datasets
from differnet.data.images import load, load_mask

ROOT = os.environ.get("DIFFERNET_MTD")
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not ROOT, reason="set DIFFERNET_MTD to the folder that holds MT_Free"),
]


def test_the_published_counts_and_the_papers_split():
    (data,) = datasets.read(ROOT, split_file=os.environ.get("DIFFERNET_MTD_SPLIT"))
    defects = [sample.defect for sample in data.test if sample.is_defective]
    counts = {name: defects.count(name) for name in sorted(set(defects))}
    assert counts == {"blowhole": 115, "break": 85, "crack": 57, "fray": 32, "uneven": 103}
    assert len(data.samples) == 1344
    assert len(data.train) == (761 if "DIFFERNET_MTD_SPLIT" in os.environ else 762)
    assert all(sample.mask for sample in data.test if sample.is_defective)
    for sample in [data.train[0], data.test[-1]]:
        assert load(sample.path).shape[2] == 3
    assert load_mask(data.test[-1].mask).any()
