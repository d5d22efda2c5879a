"""Every format, depth and layout gives the pixels that a second reader gives, or is refused for a stated reason."""

from __future__ import annotations

import importlib
import sys
from collections import Counter

import pytest

from support.tiny import ROOT

sys.path.append(str(ROOT / "benchmarks"))
loading = importlib.import_module("loading")

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_second_reader_sees_the_same():
    files = loading.made()
    assert len(files) == len({one.name for one in files}) >= 300
    said = {one.name: loading.outcome(one) for one in files}
    assert {name: what for name, what in said.items() if what.startswith("WRONG")} == {}
    assert Counter(what == "equal" for what in said.values())[True] >= 350
    assert {one.kind for one in files} == {"PNG", "JPEG", "TIFF", "WebP", "BMP", "GIF"}


def test_a_picture_that_is_read_otherwise_is_found():
    one = next(one for one in loading.made() if one.name.startswith("miniswhite"))
    other = loading.Made(one.kind, one.name, one.content, one.second, lambda found: 255 - one.seen(found))
    assert loading.outcome(other).startswith("WRONG: apart by")
