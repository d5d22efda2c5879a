"""One table for several methods, and nothing measured twice."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from conftest import TINY, good_image
from differnet import compare as module
from differnet import comparison_table, config, datasets
from differnet.baselines import catalogue
from differnet.baselines.dsebm import Dsebm
from differnet.cli import app
from differnet.compare import Cell, Result, compare
from differnet.errors import ConfigError, DifferNetWarning, LayoutError, NumericalError

RUN = CliRunner()
QUICK = config.resolve("default", TINY)
NAMES = ["differnet", "mahalanobis", "1nn", "ocsvm", "dsebm"]


@pytest.fixture(autouse=True)
def _short_training(monkeypatch):
    quick = {
        "dsebm": lambda preset, weights: Dsebm(side=16, epochs=1, batch=16, least_steps=5, width=4, hidden=8)
    }
    monkeypatch.setattr(catalogue, "METHODS", dict(catalogue.METHODS) | quick)


@pytest.fixture
def tables(mvtec_root):
    return datasets.read(mvtec_root)


def measured(tables, names, directory=None, seeds=(0, 1), shots=None):
    told = []
    results = compare(
        tables,
        names,
        seeds,
        shots,
        directory,
        QUICK,
        "random",
        on_result=lambda *told_of: told.append(told_of),
    )
    assert [result for result, _ in told] == results
    return results, [was_kept for _, was_kept in told]


def test_the_table_has_a_row_for_every_method(tables, tmp_path):
    results, kept = measured(tables, NAMES, tmp_path)
    assert not any(kept)
    assert len(results) == 2 * len(NAMES)
    assert {result.train_count for result in results} == {24}
    rows = comparison_table.rows(results)
    assert [row.method for row in rows] == NAMES
    ours = rows[0]
    each = [result.image_auroc for result in results[:2]]
    assert (ours.auroc, ours.auroc_spread) == pytest.approx((np.mean(each), np.std(each, ddof=1)))
    assert ours.auroc > 0.9
    assert 0.5 < ours.pixel_auroc <= 1
    assert all(row.pixel_auroc is None for row in rows[1:])
    assert all(row.fit_seconds > 0 < row.milliseconds_an_image for row in rows)
    comparison_table.write(tmp_path, results)
    with (tmp_path / "comparison.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["method"] for row in written] == NAMES
    assert float(written[0]["auroc"]) == ours.auroc
    assert written[1]["pixel_auroc"] == ""
    page = (tmp_path / "comparison.md").read_text()
    assert all(f"| stripes | {name} |" in page for name in NAMES)
    assert "seeds 0, 1" in page
    assert "all training images (24)" in page


def test_what_is_finished_is_not_measured_again(tables, tmp_path, monkeypatch):
    first, _ = measured(tables, ["mahalanobis"], tmp_path)
    measure = module.measure
    monkeypatch.setattr(module, "measure", None)
    again, kept = measured(tables, ["mahalanobis"], tmp_path)
    assert kept == [True, True]
    assert again == first
    monkeypatch.setattr(module, "measure", measure)
    _, kept = measured(tables, ["mahalanobis", "dsebm"], tmp_path)
    assert kept == [True, True, False, False]
    _, kept = measured(tables, ["mahalanobis"], tmp_path, shots=6)
    assert kept == [False, False]
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 6


def test_other_images_or_settings_are_measured_anew(tables, tmp_path, mvtec_root):
    measured(tables, ["dsebm"], tmp_path, seeds=[0])
    _, kept = measured(tables, ["dsebm"], tmp_path, seeds=[0])
    assert kept == [True]
    path = tmp_path / "other.png"
    Image.fromarray(good_image(77)).save(path)
    samples = (datasets.Sample(path, "train"), *tables[0].samples[1:])
    _, kept = measured([datasets.Dataset("stripes", samples)], ["dsebm"], tmp_path, seeds=[0])
    assert kept == [False]
    other = config.resolve(QUICK, {"hidden": 16})
    compare(tables, ["mahalanobis"], [0], None, tmp_path, QUICK, "random")
    told = []
    compare(
        tables, ["mahalanobis"], [0], None, tmp_path, other, "random", on_result=lambda _, k: told.append(k)
    )
    assert told == [False]


def test_a_line_that_was_cut_off_is_said_and_measured_again(tables, tmp_path):
    measured(tables, ["dsebm"], tmp_path)
    cells = tmp_path / "cells.jsonl"
    cells.write_text(cells.read_text()[:-20])
    with pytest.warns(DifferNetWarning, match=r"cells\.jsonl: line 2 is no finished cell"):
        _, kept = measured(tables, ["dsebm"], tmp_path)
    assert kept == [True, False]
    with pytest.warns(DifferNetWarning, match="line 2"):
        _, kept = measured(tables, ["dsebm"], tmp_path)
    assert kept == [True, True]


def test_scores_are_reproducible_and_shots_are_drawn_by_the_seed(tables):
    first, _ = measured(tables, ["mahalanobis", "dsebm"], shots=5)
    again, _ = measured(tables, ["mahalanobis", "dsebm"], shots=5)
    assert [result.image_auroc for result in first] == [result.image_auroc for result in again]
    assert {result.train_count for result in first} == {5}
    assert "5 training images, drawn by each seed" in comparison_table.notes(first)[0]


def test_several_categories_have_a_mean():
    def result(category, seed, value):
        depends = {"machine": "m", "versions": "v"}
        return Result(Cell("1nn", category, seed, None), value, None, 1.0 + seed, 10.0, 4, depends)

    found = [result("a", 0, 0.8), result("a", 1, 1.0), result("b", 0, 0.6), result("b", 1, None)]
    table = comparison_table.rows(found)
    assert [(row.data, row.seeds, row.auroc) for row in table] == [
        ("a", 2, pytest.approx(0.9)),
        ("b", 2, pytest.approx(0.6)),
        ("mean", 2, pytest.approx(0.75)),
    ]
    assert table[1].auroc_spread is None
    assert table[2].auroc_spread == pytest.approx(np.std([0.7, 1.0], ddof=1))
    assert table[2].fit_seconds == pytest.approx(1.5)
    assert table[1].cells() == ("b", "1nn", "0.6000", "", "", "1.5", "10.0")


def test_what_cannot_work_is_refused_before_anything_is_measured(tables, monkeypatch):
    monkeypatch.setattr(module, "measure", None)
    with pytest.raises(ConfigError, match="no method 'svm'; there are: differnet, ocsvm, 1nn"):
        measured(tables, ["mahalanobis", "svm"])
    with pytest.raises(ConfigError, match="0 methods and 2 seeds"):
        measured(tables, [])
    with pytest.raises(LayoutError, match="99 shots asked of 24 training images"):
        measured(tables, ["1nn"], shots=99)
    no_test = datasets.Dataset("none", tuple(tables[0].train))
    with pytest.raises(LayoutError, match="training and test images are both needed"):
        measured([no_test], ["1nn"])


def test_a_score_that_is_no_number_is_an_error(tables):
    class Broken:
        def fit(self, paths, seed, progress):
            pass

        def score(self, path):  # noqa: ARG002
            return float("nan")

    with pytest.raises(NumericalError, match=r"broken, seed 0: the score of .*png is nan"):
        module.measure(Broken(), tables[0], Cell("broken", "stripes", 0, None), {})


def test_the_command_prints_and_writes_one_table(mvtec_root, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "PRESETS", {"default": QUICK})
    options = [
        "--methods",
        "mahalanobis, dsebm",
        "--seeds",
        "2",
        "--weights",
        "random",
        "--out",
        str(tmp_path),
    ]
    done = RUN.invoke(app, ["compare", str(mvtec_root), *options])
    assert done.exit_code == 0, done.output
    assert "mahalanobis" in done.stdout
    assert "ms an" in done.stdout
    assert "stripes, dsebm, seed 1: AUROC" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cells.jsonl",
        "comparison.csv",
        "comparison.md",
    ]
    again = RUN.invoke(app, ["compare", str(mvtec_root), *options, "--json"])
    document = json.loads(again.stdout)
    assert [row["method"] for row in document["rows"]] == ["mahalanobis", "dsebm"]
    assert len(document["cells"]) == 4
    assert again.stderr.count("measured before") == 4
    unknown = RUN.invoke(app, ["compare", str(mvtec_root), "--methods", "knn"])
    assert unknown.exit_code == 2
    assert "There is no method 'knn'; there are: differnet" in unknown.stderr
