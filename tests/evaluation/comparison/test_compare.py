"""One table for several methods, and nothing measured twice."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from differnet.cli.app import app
from differnet.config import presets
from differnet.data import datasets
from differnet.errors import ConfigError, DifferNetWarning, ImageError, LayoutError
from differnet.evaluation.baselines import catalogue
from differnet.evaluation.baselines.dsebm import Dsebm
from differnet.evaluation.comparison import compare as module
from differnet.evaluation.comparison import table
from differnet.evaluation.comparison.compare import compare
from differnet.evaluation.timing import Stopwatch
from support.tiny import TINY, good_image

RUN = CliRunner()
QUICK = presets.resolve("default", TINY | {"epochs": 8})
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


def measured(tables, names, directory=None, seeds=(0, 1), shots=None, retime=False):
    told = []
    found = compare(
        tables,
        names,
        seeds,
        shots,
        directory,
        QUICK,
        "random",
        retime,
        on_result=lambda *told_of: told.append(told_of),
    )
    assert tuple(result for result, _ in told) == found.results
    return found, [how for _, how in told]


def test_the_table_has_a_row_for_every_method(tables, tmp_path):
    found, how = measured(tables, NAMES, tmp_path)
    assert how == ["measured"] * 2 * len(NAMES)
    assert found.failures == ()
    assert {result.train_count for result in found.results} == {24}
    rows = table.rows(found)
    assert [row.method for row in rows] == NAMES
    ours = rows[0]
    each = [result.image_auroc for result in found.results[:2]]
    pixel = [result.pixel_auroc for result in found.results[:2]]
    assert (ours.auroc, ours.auroc_spread) == pytest.approx((np.mean(each), np.std(each, ddof=1)))
    assert ours.pixel_auroc_spread == pytest.approx(np.std(pixel, ddof=1))
    assert ours.auroc > 0.9
    assert 0.5 < ours.pixel_auroc <= 1
    assert 0.2 < ours.pixel_aupro <= 1
    assert all(row.pixel_auroc is None is row.pixel_aupro for row in rows[1:])
    assert all(row.fit_seconds > 0 < row.milliseconds_an_image for row in rows)
    table.write(tmp_path, found)
    with (tmp_path / "comparison.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["method"] for row in written] == NAMES
    assert float(written[0]["auroc"]) == ours.auroc
    assert written[1]["pixel_auroc"] == ""
    page = (tmp_path / "comparison.md").read_text()
    assert all(f"| stripes | {name} |" in page for name in NAMES)
    assert "seeds 0, 1" in page
    assert "all training images (24)" in page
    assert re.search(r"\| dsebm \|.*32 x 32 pixels", page)


def test_what_is_finished_is_not_measured_again(tables, tmp_path, monkeypatch):
    first, _ = measured(tables, ["mahalanobis"], tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "measure", None)
        again, how = measured(tables, ["mahalanobis"], tmp_path)
    assert how == ["kept"] * 2
    assert again == first
    _, how = measured(tables, ["mahalanobis", "dsebm"], tmp_path)
    assert how == ["kept", "kept", "measured", "measured"]
    _, how = measured(tables, ["mahalanobis"], tmp_path, shots=6)
    assert how == ["measured"] * 2
    assert len(list((tmp_path / "cells").iterdir())) == 6


class Broken:
    """A method that fails, or gives scores that are no numbers."""

    def __init__(self, error=None):
        self.error = error

    def fit(self, paths, seed, progress, groups):  # noqa: ARG002
        if self.error and seed == 1:
            raise self.error

    def score(self, path):  # noqa: ARG002
        return 0.0 if self.error else float("nan")

    def __repr__(self):
        return "Broken()"


class Mended(Broken):
    """The same, in order again."""

    def fit(self, paths, seed, progress, groups):
        pass


class Lost(Mended):
    """A method whose maps fail."""

    remark = "a remark"

    def localize(self, path):
        raise MemoryError(f"no room\nfor {path}")


def test_a_method_that_fails_does_not_lose_the_others(tables, tmp_path, monkeypatch):
    broken = {"broken": lambda *_: Broken(ValueError("a | of\ntwo lines")), "nan": lambda *_: Broken()}
    monkeypatch.setattr(catalogue, "METHODS", dict(catalogue.METHODS) | broken)
    told = []
    found = compare(tables, ["broken", "nan", "dsebm"], [0, 1], None, tmp_path, QUICK, on_failure=told.append)
    assert [result.case.method for result in found.results] == ["broken", "dsebm", "dsebm"]
    assert tuple(told) == found.failures
    assert [(f.case.method, f.case.seed) for f in told] == [("broken", 1), ("nan", 0), ("nan", 1)]
    assert "in fit" in told[0].details
    assert told[1].details == ""
    rows = table.rows(found)
    assert [row.seeds for row in rows] == [1, 0, 2]
    assert rows[0].note == "failed for 1 of 2 seeds: ValueError: a | of"
    assert re.match("failed for 2 of 2 seeds: nan, seed 0: the score of .* is nan", rows[1].note)
    assert rows[1].cells()[2:7] == ("", "", "", "", "")
    table.write(tmp_path, found)
    assert "ValueError: a / of |" in (tmp_path / "comparison.md").read_text()
    broken["broken"] = lambda *_: Mended(ValueError())
    monkeypatch.setattr(catalogue, "METHODS", dict(catalogue.METHODS) | broken)
    told.clear()
    compare(
        tables, ["broken", "dsebm"], [0, 1], None, tmp_path, QUICK, on_result=lambda _, how: told.append(how)
    )
    assert told == ["kept", "measured", "kept", "kept"]


def test_a_map_that_fails_does_not_lose_the_scores(tables, tmp_path, monkeypatch):
    lost = {"lost": lambda *_: Lost(ValueError())}
    monkeypatch.setattr(catalogue, "METHODS", dict(catalogue.METHODS) | lost)
    found, how = measured(tables, ["lost"], tmp_path, seeds=[0])
    assert (found.failures, how) == ((), ["measured"])
    assert (found.results[0].image_auroc, found.results[0].pixel_auroc) == (0.5, None)
    (row,) = table.rows(found)
    assert row.note.startswith("a remark; no figures of pixels: MemoryError: no room")
    assert measured(tables, ["lost"], tmp_path, seeds=[0]) == (found, ["kept"])


def test_groups_reach_the_methods(tables, monkeypatch):
    class Grouped(Mended):
        def fit(self, paths, seed, progress, groups):  # noqa: ARG002
            seen.append(groups)

    seen = []
    grouped = {"grouped": lambda *_: Grouped(ValueError())}
    monkeypatch.setattr(catalogue, "METHODS", dict(catalogue.METHODS) | grouped)
    measured(tables, ["grouped"], seeds=[0])
    samples = tuple(
        dataclasses.replace(sample, group=f"g{i // 2}") for i, sample in enumerate(tables[0].samples)
    )
    of_groups = dataclasses.replace(tables[0], samples=samples)
    measured([of_groups], ["grouped"], seeds=[0])
    measured([of_groups], ["grouped"], seeds=[0], shots=5)
    assert seen == [None, of_groups.groups, of_groups.shots(5, 0).groups]
    assert module.digest_of(of_groups) != module.digest_of(tables[0])


def test_times_of_a_busy_machine_are_marked_and_taken_again(tables, tmp_path, monkeypatch):
    busy = iter([0.5, 0.01, 0.2, 0.0])
    monkeypatch.setattr(Stopwatch, "others", lambda self: next(busy))
    first, _ = measured(tables, ["dsebm"], tmp_path)
    assert [result.times.is_busy for result in first.results] == [True, False]
    row = table.rows(first)[0]
    assert row.others == 0.5
    assert row.note.endswith("; times from a busy machine: others took up to 50% of it")
    again, how = measured(tables, ["dsebm"], tmp_path)
    assert how == ["kept"] * 2
    again, how = measured(tables, ["dsebm"], tmp_path, retime=True)
    assert how == ["timed again", "kept"]
    assert again.results[0].times.others == 0.2
    again, how = measured(tables, ["dsebm"], tmp_path, retime=True)
    assert how == ["timed again", "kept"]
    assert again.results[0].times.others == 0.0
    assert again.results[0].times != first.results[0].times
    assert dataclasses.replace(again.results[0], times=first.results[0].times) == first.results[0]
    assert "busy" not in table.rows(again)[0].note
    _, how = measured(tables, ["dsebm"], tmp_path, retime=True)
    assert how == ["kept"] * 2


def test_another_auroc_when_timed_again_is_said(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(Stopwatch, "others", lambda self: 0.5)
    first, _ = measured(tables, ["dsebm"], tmp_path, seeds=[0])
    (cell,) = (tmp_path / "cells").iterdir()
    values = json.loads(cell.read_text())
    cell.write_text(json.dumps(values | {"image_auroc": values["image_auroc"] - 0.1}))
    with pytest.warns(DifferNetWarning, match="dsebm, seed 0: AUROC .* when it was timed again"):
        again, how = measured(tables, ["dsebm"], tmp_path, seeds=[0], retime=True)
    assert how == ["timed again"]
    assert again.results[0].image_auroc == pytest.approx(first.results[0].image_auroc - 0.1)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux tells what others take")
def test_a_stopwatch_tells_its_own_work_from_that_of_others():
    work = "import time; end = time.time() + 1.2\nwhile time.time() < end: pass"
    watch = Stopwatch()
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        pass
    alone = watch.others()
    watch = Stopwatch()
    other = subprocess.Popen([sys.executable, "-c", work])
    time.sleep(0.8)
    beside = watch.others()
    other.wait()
    assert 0.7 < watch.seconds < 10
    assert 0 <= alone <= 1
    assert beside > 0.25 / os.cpu_count()


def test_other_images_or_settings_are_measured_anew(tables, tmp_path, mvtec_root):
    measured(tables, ["dsebm"], tmp_path, seeds=[0])
    _, how = measured(tables, ["dsebm"], tmp_path, seeds=[0])
    assert how == ["kept"]
    path = tmp_path / "other.png"
    Image.fromarray(good_image(77)).save(path)
    samples = (datasets.Sample(path, "train"), *tables[0].samples[1:])
    _, how = measured([datasets.Dataset("stripes", samples)], ["dsebm"], tmp_path, seeds=[0])
    assert how == ["measured"]
    other = presets.resolve(QUICK, {"hidden": 16})
    compare(tables, ["mahalanobis"], [0], None, tmp_path, QUICK, "random")
    told = []
    compare(
        tables, ["mahalanobis"], [0], None, tmp_path, other, "random", on_result=lambda _, k: told.append(k)
    )
    assert told == ["measured"]


def test_a_cell_that_was_cut_off_is_said_and_measured_again(tables, tmp_path):
    measured(tables, ["dsebm"], tmp_path)
    cell = min((tmp_path / "cells").iterdir())
    cell.write_text(cell.read_text()[:-20])
    with pytest.warns(DifferNetWarning, match=rf"{cell.name}: not a finished cell of this version"):
        _, how = measured(tables, ["dsebm"], tmp_path)
    assert sorted(how) == ["kept", "measured"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", DifferNetWarning)
        _, how = measured(tables, ["dsebm"], tmp_path)
    assert how == ["kept", "kept"]


def test_scores_are_reproducible_and_shots_are_drawn_by_the_seed(tables):
    first, _ = measured(tables, ["mahalanobis", "dsebm"], shots=5)
    again, _ = measured(tables, ["mahalanobis", "dsebm"], shots=5)
    assert [r.image_auroc for r in first.results] == [r.image_auroc for r in again.results]
    assert {result.train_count for result in first.results} == {5}
    assert "5 training images, drawn by each seed" in table.notes(first)[0]


def test_what_cannot_work_is_refused_before_anything_is_measured(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "measure", None)
    with pytest.raises(ConfigError, match="no method 'svm'; there are: differnet, ocsvm, 1nn"):
        measured(tables, ["mahalanobis", "svm"])
    with pytest.raises(ConfigError, match="0 methods and 2 seeds"):
        measured(tables, [])
    with pytest.raises(LayoutError, match="99 shots asked of 24 training images"):
        measured(tables, ["1nn"], shots=99)
    bad = next(sample for sample in tables[0].test if sample.mask)
    Image.fromarray(np.ones((64, 64), np.uint8)).save(tmp_path / "mask.png")
    Image.fromarray(good_image(5)).save(tmp_path / "gone.png")
    ones = dataclasses.replace(bad, mask=tmp_path / "mask.png")
    gone = dataclasses.replace(bad, path=tmp_path / "gone.png", mask=None)
    (tmp_path / "gone.png").unlink()
    second = [datasets.Dataset("second", (*tables[0].samples, sample)) for sample in (ones, gone)]
    with pytest.raises(LayoutError, match="the brightest is 1"):
        measured([tables[0], second[0]], ["differnet"])
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        measured([tables[0], second[1]], ["1nn"])
    no_test = datasets.Dataset("none", tuple(tables[0].train))
    with pytest.raises(LayoutError, match="training and test images are both needed"):
        measured([no_test], ["1nn"])


def test_the_command_prints_and_writes_one_table(mvtec_root, tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "PRESETS", {"default": QUICK})
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
        "cells",
        "comparison.csv",
        "comparison.md",
    ]
    again = RUN.invoke(app, ["compare", str(mvtec_root), *options, "--json"])
    document = json.loads(again.stdout)
    assert [row["method"] for row in document["rows"]] == ["mahalanobis", "dsebm"]
    assert len(document["cells"]) == 4
    assert again.stderr.count("measured before") == 4
    broken = dict(catalogue.METHODS) | {"nan": lambda *_: Broken()}
    monkeypatch.setattr(catalogue, "METHODS", broken)
    failing = RUN.invoke(app, ["compare", str(mvtec_root), "--methods", "nan,dsebm", "--seeds", "1"])
    assert failing.exit_code == 1
    assert "stripes, nan, seed 0: failed: nan, seed 0: the score of" in failing.stderr
    assert "failed for 1 of 1" in failing.stdout.replace("\n", " ")
    unknown = RUN.invoke(app, ["compare", str(mvtec_root), "--methods", "knn"])
    assert unknown.exit_code == 2
    assert "There is no method 'knn'; there are: differnet" in unknown.stderr
