"""What stands in the tables of the paper, by cells that are made up."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from differnet.cli import reproduce
from differnet.config import presets
from differnet.config.settled import is_open
from differnet.data.datasets import Dataset, Sample
from differnet.errors import LayoutError
from differnet.evaluation.metrics import recall_without_false_alarms
from differnet.evaluation.paper import figures, files, published, targets
from differnet.evaluation.paper.cells import Cell
from differnet.evaluation.paper.report import Report, Study, Table
from differnet.evaluation.paper.tables import ablated, btad_report, multimodal, table1, table2


def test_rows_of_the_ablation_take_as_many_steps():
    base = presets.resolve("turned", {"score_views": 64})
    plain, turned = (ablated(base, (224,), is_turned) for is_turned in (False, True))
    for settings in (plain, turned):
        assert not is_open(settings)
        assert (settings.backbone.precision, settings.backbone.sizes) == ("f32", (224,))
    assert (plain.views.rotation, plain.views.train_views, plain.views.brightness) == ("none", 1, (1.0, 1.0))
    assert plain.training.epochs * 1 == turned.training.epochs * turned.views.train_views
    paper = ablated(presets.resolve("paper"), (448,), False)
    assert (paper.training.epochs, paper.views.train_views) == (192, 4)  # fresh views are drawn, all alike
    assert (
        ablated(presets.resolve("default"), (224,), True).flow
        == presets.resolve("default", {"blocks": 8, "hidden": 256}).flow
    )


def order_of(names, layout="", shots=None, split_file=None, seeds=(0,)):
    """Ask for something of data sets that are names alone; cells are made up, and kept in the list beside."""
    samples = tuple(Sample(Path(f"{i}.png"), "train") for i in range(20))
    samples += (Sample(Path("x.png"), "test"), Sample(Path("y.png"), "test", "dent", Path("m.png")))
    tables = tuple(Dataset(name, samples, layout, split_file) for name in names)
    plans = []

    def run(plan):
        plans.append(plan)
        scores = [1.0, 2.0] * (len(plan.dataset.test) // 2)
        made = cell_of(scores, [False, True] * (len(scores) // 2))
        by_views = dict.fromkeys(plan.view_counts, made.scores)
        n_train = plan.shots or len(plan.dataset.train)
        return dataclasses.replace(made, shots=plan.shots, n_train=n_train, by_views=by_views)

    return Study(tables, presets.DEFAULT, seeds, shots, (), run), plans


@pytest.mark.parametrize("name", [name for name, target in targets.TARGETS.items() if target.takes_shots])
def test_every_target_draws_as_few_images_as_are_asked_for(name):
    names = ["a", "b"] if name == "multimodal" else ["a"]
    order, plans = order_of(names, shots=4, seeds=(0, 1))
    report = targets.TARGETS[name].make(order)
    few = [plan for plan in plans if 4 in (plan.shots, len(plan.dataset.train) / len(names))]
    if name in ("table1", "table2"):
        assert len(few) == len(plans) / 2
    else:
        assert len(few) == len(plans)
        assert any("Fitted to 4 training images, drawn by each seed" in note for note in report.notes)
    if name == "fig6":
        assert [plan.seed for plan in plans] == [0]  # the one that is drawn
    if name == "multimodal":
        assert plans[0].dataset.train != plans[1].dataset.train


def test_categories_that_say_nothing_are_refused_before_a_fit():
    order, plans = order_of(["a", "b"])
    first, second = order.datasets
    lame = dataclasses.replace(second, samples=second.samples[:-1])
    with pytest.raises(LayoutError, match=r"'b', 20 train, 1 good and 0 defective.* are needed"):
        multimodal(dataclasses.replace(order, datasets=(first, lame)))
    assert plans == []


def cell_of(scores, labels, looks=()):
    defects = tuple("dent" if label else "good" for label in labels)
    return Cell("x", 0, None, 1, defects, np.array(scores), {}, looks, None, None, 1.0, 1.0, None, "", "f32")


def test_a_page_says_what_was_found_out_and_keeps_published_figures_as_printed(tmp_path):
    cell = dataclasses.replace(cell_of([1.0, 2.0], [False, True]), choice="looked at upright", backbone="b")
    table = Table(("a", "b"), (("x|y", 1 / 3), ("94.90", None), ("n", 7)))
    report = Report("A title", table, (cell,), ("A note.",))
    origin = files.Origin("differnet reproduce x", "default", presets.resolve("default"))
    paths = files.write(tmp_path, "t", report, origin)
    assert [path.name for path in paths] == ["t.csv", "t.md"]
    assert (tmp_path / "t.csv").read_bytes() == b"a,b\r\nx|y,0.3333\r\n94.90,\r\nn,7\r\n"
    page = (tmp_path / "t.md").read_text()
    assert "| a | b |\n| --- | --- |\n| x\\|y | 0.33 |\n| 94.90 |  |\n| n | 7 |\n" in page
    assert "- A note.\n" in page
    assert "- x, seed 0, 1 images: looked at upright\n" in page
    assert "Fits: 1, of 1 to 1 s; 1000 to 1000 ms an image" in page
    assert files.to_dict("t", report, origin)["rows"] == [
        ["x|y", 1 / 3],
        ["94.90", None],
        ["n", 7],
    ]


def test_recall_at_a_rate_of_false_alarms_by_hand():
    scores = [*range(1, 11), 8.5, 9.5, 20.0]
    cell = cell_of(scores, [False] * 10 + [True] * 3)
    assert figures.recall_at(cell, 0.0) == pytest.approx(1 / 3) == cell.recall
    assert figures.recall_at(cell, 0.09) == pytest.approx(1 / 3)
    assert figures.recall_at(cell, 0.1) == pytest.approx(2 / 3)  # one of ten good ones may be rejected
    assert figures.recall_at(cell, 0.2) == pytest.approx(1)
    assert cell.recall == recall_without_false_alarms(cell.scores, cell.is_defective)


@pytest.mark.parametrize(
    ("names", "layout", "shots", "wanted"),
    [
        (sorted(published.MVTEC), "mvtec", None, ("94.9", "87.3")),
        (sorted(published.MVTEC), "mvtec", 8, ("94.9", None)),
        (sorted(published.MVTEC), "folder", None, (None, None)),
        ([f"other {i}" for i in range(15)], "mvtec", None, (None, None)),
    ],
)
def test_published_means_stand_beside_the_data_they_are_of(names, layout, shots, wanted):
    (*_, mean) = table1(order_of(names, layout, shots)[0]).table.rows
    assert (mean[2], mean[6]) == wanted


def test_published_figures_of_tiles_and_btad_stand_beside_their_data_alone():
    tiles = table2(order_of(["magnetic tiles"], "mtd", split_file="names.txt")[0])
    assert [row[1] for row in tiles.table.rows[-2:]] == ["97.7", None]
    by_chance = table2(order_of(["magnetic tiles"], "mtd")[0])
    assert [row[1] for row in by_chance.table.rows] == [None, None]
    assert "the paper's split" in by_chance.notes[-1]
    table = table2(order_of(["magnetic tiles"], "table")[0])
    assert [row[1] for row in table.table.rows] == [None, None]
    assert len(table.notes) == 1
    assert figures.fig5(order_of(["magnetic tiles"], "mtd", split_file="n.txt")[0]).table.rows[0][1] == "97.7"
    assert figures.fig5(order_of(["magnetic tiles"], "mtd", 4, "n.txt")[0]).table.rows[0][1] is None
    for layout, shots, known in (("btad", None, "95.53"), ("btad", 4, None), ("mvtec", None, None)):
        assert btad_report(order_of(["01"], layout, shots)[0]).table.rows[0][2] == known
    every = sorted(published.MVTEC)
    for layout, shots, known in (("mvtec", None, "90.2"), ("mvtec", 4, None), ("table", None, None)):
        assert multimodal(order_of(every, layout, shots)[0]).table.rows[15][2] == known


def test_the_best_epoch_is_at_least_the_last():
    labels = [False, False, True]
    assert cell_of([1.0, 2.0, 3.0], labels, ((1, 0.5),)).best_auroc == 1.0
    assert cell_of([1.0, 3.0, 2.0], labels, ((1, 0.9), (2, 0.5))).best_auroc == 0.9
    assert cell_of([1.0, 3.0, 2.0], labels).best_auroc == 0.5


def test_published_figures_have_a_source_and_differnet_leads_what_its_paper_compares():
    paper = [float(figure.value) for figure in published.TABLE2 if figure.source == published.PAPER]
    assert len(paper) == 6
    assert max(paper) < float(published.TABLE2_DIFFERNET)
    assert all(figure.source for figure in published.TABLE2)
    assert ({figure.method: figure.value for figure in published.TABLE2}) == {  # copied a second time
        "PatchCore": "97.9",
        "CS-Flow": "about 99.3",
        "1-NN": "80.0",
        "one-class SVM": "58.7",
        "GANomaly": "76.6",
        "GeoTrans": "75.5",
        "DSEBM": "57.2",
        "ADGAN": "46.4",
    }
    design = (published.TABLE1_MEAN, published.TABLE1_MEAN_16, published.MULTIMODAL_MEAN)
    assert design == ("94.9", "87.3", "90.2")
    assert (published.TABLE1_1NN, published.TABLE1_OCSVM, published.TABLE2_DIFFERNET) == (
        "83.9",
        "71.9",
        "97.7",
    )
    assert published.BTAD_REPORT == {"01": "95.53", "02": "79.53", "03": "92.40"}


def test_what_is_shown_has_zeros_and_brackets(capsys):
    table = Table(("bins [a]", "good"), ((0.0, 0), ("[b]", None)))
    reproduce.tell_table(Report("Scores of parts[1]", table, ()), ())
    shown = capsys.readouterr().out
    assert "bins [a]" in shown
    assert "Scores of parts[1]" in shown
    assert [line.split("│")[1:3] for line in shown.splitlines() if line.startswith("│")] == [
        [" 0.00     ", " 0    "],
        [" [b]      ", "      "],
    ]
