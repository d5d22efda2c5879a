"""The benchmark of many sets: goes on where it was broken off, says why a cell failed, and means what it says."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from support.tiny import ROOT, SMALL

sys.path.append(str(ROOT / "benchmarks"))
suite, suite_cell, suite_page = map(importlib.import_module, ("suite", "suite_cell", "suite_page"))

TINY_PRESET = [f"--set={name}={json.dumps(value)}" for name, value in (SMALL | {"epochs": 1}).items()]
FIGURES = suite_cell.Figures(0.5, 0.2, None, None, 0.1, 0.05, 10.0, 20.0, 1.0, 0.0, "a machine")


@pytest.fixture(scope="module")
def sets(categories, tmp_path_factory):
    """Two sets, and one of which an image to fit to is no image."""
    root = tmp_path_factory.mktemp("sets")
    for name in ("bottle", "screw"):
        shutil.copytree(categories / name, root / name)
    shutil.copytree(categories / "bottle", root / "broken")
    (root / "broken/train/good/0.png").write_bytes(b"no image")
    (root / "notes").mkdir()
    return root


@pytest.fixture
def calls(monkeypatch):
    """Measure in this process, which is faster, and note the cells that were measured."""
    measured = []

    def launch(command, log, seconds):
        monkeypatch.setattr(sys, "argv", command[1:])
        measured.append(json.loads(Path(command[2]).read_text()))
        log.write_text("")
        suite_cell.main()
        return 0

    monkeypatch.setattr(suite, "launch", launch)
    monkeypatch.setattr(suite_cell, "keep_large_tables_apart", lambda: None)
    return measured


def arguments(sets, folder, *more):
    return [
        "--suite",
        str(sets),
        "--work",
        str(folder),
        "--out",
        str(folder),
        "--weights=random",
        *TINY_PRESET,
        *more,
    ]


def run(sets, folder, *more):
    code = suite.main(arguments(sets, folder, "--methods", "differnet", "--seeds=1", *more))
    return code, (folder / "suite.md").read_text()


def test_a_run_that_was_broken_off_goes_on_and_gives_the_same_rows(sets, tmp_path, calls, monkeypatch):
    code, page = run(sets, tmp_path, "--only=bottle")
    assert (code, len(calls)) == (0, 1)
    assert page.count("Not measured yet.") == 2
    rows = [line for line in page.splitlines() if line.startswith("| differnet")]
    code, page = run(sets, tmp_path, "--only=bottle", "--only=screw")
    assert (code, [call["place"]["name"] for call in calls]) == (0, ["bottle", "screw"])
    assert rows[1] in page
    assert run(sets, tmp_path, "--no-maps", "--only=bottle", "--only=screw") == (0, page)
    assert len(calls) == 2
    monkeypatch.setattr(suite_cell, "_sources", lambda method: "others")
    run(sets, tmp_path, "--no-maps", "--only=bottle")
    assert len(calls) == 3


def test_a_failed_cell_is_a_row_that_says_why_and_is_tried_again(sets, tmp_path, calls, capsys):
    code, page = run(sets, tmp_path, "--no-maps", "--only=broken")
    assert code == 1
    (row,) = [line for line in page.splitlines() if line.startswith("| differnet")]
    assert "seed 0: broken/train/good/0.png" in row
    assert str(sets) not in page
    assert "notes: no train/good in it" in capsys.readouterr().err
    assert run(sets, tmp_path, "--no-maps", "--only=broken") == (1, page)
    assert len(calls) == 2


def test_each_cell_is_measured_in_a_process_of_its_own(sets, tmp_path):
    code, page = run(sets, tmp_path, "--only=screw")
    assert code == 0
    (kept,) = (tmp_path / "cells").iterdir()
    cell = suite_cell.Cell.revived({k: v for k, v in json.loads(kept.read_text()).items() if k != "kept"})
    assert cell.figures.pixel_aupro is not None
    assert 0.05 < cell.figures.peak_gib < 16
    assert "defaults were chosen by these very sets" in page


def test_what_does_not_end_in_time_is_not_tried_with_other_seeds(sets, tmp_path, monkeypatch):
    tried = []

    def never_ends(command, log, seconds):
        tried.append(seconds)
        raise subprocess.TimeoutExpired(command, seconds)

    monkeypatch.setattr(suite, "launch", never_ends)
    options = arguments(sets, tmp_path, "--only=screw", "--methods", "mahalanobis", "--seeds=3")
    assert suite.main([*options, "--limit=15"]) == 0
    assert suite.main([*options, "--limit=15"]) == 0
    assert tried == [900]
    assert "| mahalanobis |  |" in (tmp_path / "suite.md").read_text()
    assert "seed 0: did not end in 15 minutes" in (tmp_path / "suite.md").read_text()
    suite.main([*options, "--limit=20"])
    assert tried == [900, 1200]


def test_a_process_that_ends_without_a_cell_is_told(sets, tmp_path, monkeypatch):
    def killed(command, log, seconds):
        log.write_text("out of memory\n")
        return -9

    monkeypatch.setattr(suite, "launch", killed)
    code, page = run(sets, tmp_path, "--only=screw")
    assert code == 1
    assert "seed 0: the process ended with -9: out of memory" in page


def test_cells_of_changed_sources_are_refused(sets, tmp_path):
    place = suite_cell.Place("screw", str(sets), "mvtec", "screw")
    job = suite_cell.Job(place, "differnet", 0, False, dict(SMALL), "random", str(tmp_path))
    assert "have changed since the run began" in suite_cell.run(job, "the key of before").failure


def test_peers_look_at_our_size_where_they_can(sets, tmp_path):
    options = suite.read_options(arguments(sets, tmp_path, "--only=screw"))
    whole = suite.Suite(options, suite.places(options, tmp_path))
    (place,) = [place for place in whole.found if place.name == "screw"]
    assert [whole.job(place, method, 0, False).size for method in ("padim", "patchcore")] == [448, 448]
    assert [suite_cell.size_for("patchcore", count) for count in (150, 151)] == [448, 256]
    assert suite_cell.size_for("padim", 1000) == 448


def shown(name, **methods):
    cells = {
        method: tuple(suite_cell.Cell(name, method, seed, one) for seed, one in enumerate(found))
        for method, found in methods.items()
    }
    return suite_page.Shown(name, name.startswith("demo"), (5, 3, 3, 3), cells)


def at(auroc, **changes):
    return replace(FIGURES, auroc=auroc, **changes)


def test_each_set_counts_once_in_a_mean_and_only_where_there_is_a_figure():
    sets = [
        shown("a", differnet=[at(0.8), at(0.9, peak_gib=3.0), at(1.0)]),
        shown("b", differnet=[at(0.5, pixel_auroc=0.7)]),
        shown("c", padim=[at(0.1)]),
    ]
    found = suite_page.over_sets(sets, "differnet")
    assert found["auroc"] == pytest.approx((0.9 + 0.5) / 2)
    assert found["pixel_auroc"] == 0.7
    assert found["pixel_aupro"] is None
    assert found["peak_gib"] == 3.0


def test_the_page_has_means_over_common_sets_and_leaves_the_demo_out(tmp_path):
    sets = [
        shown("a", differnet=[at(0.8)], padim=[at(0.6)]),
        shown("b", differnet=[at(0.6)], padim=[None]),
        shown("demo_grass", differnet=[at(0.1, others=1.5)]),
    ]
    options = suite.read_options(["--demo", f"--out={tmp_path}"])
    suite_page.write(options, sets)
    means, textures = (tmp_path / "suite.md").read_text().split("## Textures of the demo")
    rows = [line.split(" | ")[:2] for line in means.split("## a")[0].splitlines() if "**0" in line]
    assert rows == [
        ["| differnet", "**0.7000**"],
        ["| padim", "**0.6000**"],
        ["| differnet", "**0.8000**"],
        ["| padim", "**0.6000**"],
    ]
    assert "Over the sets on which all of these were measured: a." in means
    assert "| 10.0* | 20.0* | 1.0 | 1.50 |" in textures


@pytest.mark.parametrize(
    ("given", "said"),
    [([], "no data"), (["--demo", "--seeds=0"], "at least 1"), (["--mtd=tiles"], "belong together")],
)
def test_what_cannot_be_measured_is_refused(given, said, capsys):
    with pytest.raises(SystemExit):
        suite.read_options(given)
    assert said in capsys.readouterr().err


def test_a_set_that_is_not_there_is_named(sets, tmp_path, capsys):
    assert suite.main(arguments(sets, tmp_path, "--only=bolt")) == 2
    assert "--only bolt: no such set; there are: bottle, broken, screw" in capsys.readouterr().err


def test_a_process_is_ended_after_its_time(tmp_path):
    with pytest.raises(subprocess.TimeoutExpired):
        suite.launch([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", 0.2)
