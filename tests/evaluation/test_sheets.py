"""Contact sheets and histograms: what was judged wrongly comes first, words beside colours, masks as outlines."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from differnet.evaluation import plots
from differnet.evaluation.drawing.bins import bin_edges
from differnet.evaluation.drawing.outline import COLOUR, outline, over


def panel(word="", is_right=None, mask=None, title="part"):
    pixels = np.full((120, 120, 3), 128, np.uint8)
    return plots.Panel(pixels, np.zeros((120, 120), np.float32), mask, title, is_right, word)


def test_an_outline_lies_on_the_edge_of_the_mask_and_leaves_its_inside_free():
    mask = np.zeros((400, 600), bool)
    mask[100:200, 150:350] = True
    drawn = outline(mask)
    line = (drawn[..., 3] == 255) & (drawn[..., :3] == COLOUR).all(axis=2)
    assert not (line & ~mask).any()
    assert line[100:103, 150:350].all()
    assert line[197:200, 150:350].all()
    assert drawn[104:196, 154:346].max() == 0
    assert drawn[:95].max() == drawn[:, 360:].max() == 0


@pytest.mark.parametrize("place", [(0, 0), (20, 30), (39, 59)])
def test_a_defect_of_one_pixel_is_seen_also_at_the_frame(place):
    mask = np.zeros((40, 60), bool)
    mask[place] = True
    assert tuple(outline(mask)[place]) == (*COLOUR, 255)
    assert outline(np.zeros((40, 60), bool)).max() == 0
    grey = np.full((40, 60, 3), 100, np.uint8)
    assert tuple(over(grey, mask)[place]) == COLOUR
    assert (over(grey, np.zeros((40, 60), bool)) == grey).all()


def test_misses_come_first_with_a_word_and_a_frame(tmp_path, monkeypatch):
    drawn = []
    own = plots._draw_panel

    def draw(axes, one):
        own(axes, one)
        sides = [axis.spines["top"] for axis in axes]
        is_dashed = {side.get_linestyle() == "--" for side in sides}
        drawn.append((axes[0].get_title(loc="left"), sides[0].get_visible(), is_dashed))

    monkeypatch.setattr(plots, "_draw_panel", draw)
    shown = [panel("accepted", True), panel("MISSED", False), panel(), panel("FALSE ALARM", False)]
    plots.contact_sheet(tmp_path / "sheet.png", shown, "title")
    assert drawn == [
        ("MISSED · part", True, {True}),
        ("FALSE ALARM · part", True, {True}),
        ("accepted · part", True, {False}),
        ("part", False, {True}),
    ]


def test_the_legend_is_said_once_and_only_of_what_is_there(tmp_path, monkeypatch):
    said = []
    own = Figure.text
    monkeypatch.setattr(
        Figure, "text", lambda self, *all, **more: said.append(all[2]) or own(self, *all, **more)
    )
    mask = np.zeros((120, 120), bool)
    mask[10:50, 10:50] = True
    plots.contact_sheet(tmp_path / "sheet.png", [panel("found", True, mask)] * 3, "title")
    assert said.count("true mask") == said.count("dashed frame: judged wrongly") == 1
    said.clear()
    plots.contact_sheet(tmp_path / "sheet.png", [panel()], "title")
    assert "true mask" not in said
    assert "dashed frame: judged wrongly" not in said
    colours = {
        tuple(one) for one in np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).reshape(-1, 3)
    }
    assert len(colours) > 40  # the bar of heat


def test_a_gallery_keeps_those_that_were_judged_wrongly(monkeypatch):
    monkeypatch.setattr(plots, "load", lambda path: np.zeros((8, 8, 3), np.uint8))
    gallery = plots.Gallery(lambda sample, prediction: sample.path)
    for index, said in enumerate([True, True, True, True, False, True, False]):
        sample = SimpleNamespace(path=str(index), defect="scratch", mask=None, is_defective=True)
        gallery.on_map(sample, np.zeros((8, 8), np.float32), SimpleNamespace(verdict="NG" if said else "OK"))
    kept = gallery.panels["scratch"]
    assert [one.title for one in kept] == ["0", "1", "4", "6"]
    assert [one.word for one in kept] == ["found", "found", "MISSED", "MISSED"]


def test_the_histogram_chooses_its_bins_by_the_rule():
    values = np.random.default_rng(0).normal(size=2000)
    edges = bin_edges(values)
    assert len(edges) == len(np.histogram_bin_edges(values, "auto"))
    assert np.allclose(edges, np.histogram_bin_edges(values, "auto"))
    wide = bin_edges(values, values.min() - 1, values.max() + 1)
    assert (wide[0], wide[-1]) == (values.min() - 1, values.max() + 1)
    assert np.diff(wide)[0] <= np.diff(edges)[0] < 1.1 * np.diff(wide)[0]


@pytest.mark.parametrize(
    ("values", "count"),
    [(np.zeros(5), 8), (np.array([1.0]), 8), (np.r_[np.zeros(500), np.linspace(0, 1, 500), 1e6], 60)],
)
def test_there_are_8_to_60_bins_whatever_the_scores(values, count):
    edges = bin_edges(values)
    assert len(edges) == count + 1
    assert np.histogram(values, edges)[0].sum() == len(values)
    assert (np.diff(edges) > 0).all()
