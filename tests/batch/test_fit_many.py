"""One detector for every key of a table: each whole, measured as far as labels allow, and none failing another."""

from __future__ import annotations

import csv
import json

import pytest
from typer.testing import CliRunner

from differnet import DifferNet
from differnet.batch import fit_many
from differnet.cli.app import app
from differnet.config import presets
from differnet.errors import LayoutError
from support.tiny import OPTIONS, SMALL, good_image, save, write_table

RUN = CliRunner()


def test_every_key_has_a_model_and_one_that_fails_fails_no_other(tmp_path):
    table, out = write_table(tmp_path, ["left", "line 4/right", "poisoned"], "poisoned"), tmp_path / "out"
    done = RUN.invoke(app, ["fit-many", str(table), "--out", str(out), *OPTIONS])
    assert done.exit_code == 3, done.output
    found = json.loads((out / "summary.json").read_text())
    assert (found["models"], found["failed"]) == (2, ["poisoned"])
    with (out / "summary.csv").open() as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    assert rows["poisoned"]["model"] == rows["poisoned"]["image_auroc"] == ""
    assert "not an image that can be read" in rows["poisoned"]["error"]
    for key in ("left", "line 4/right"):
        assert 0 <= float(rows[key]["image_auroc"]) <= 1
        assert 0 <= float(rows[key]["pixel_auroc"]) <= 1
        detector = DifferNet.load(out / rows[key]["model"], "random")
        assert detector.threshold == float(rows[key]["threshold"])
    names = {path.name for path in (out / "models").iterdir()}
    assert {name.partition(".")[2] for name in names} == {"safetensors", "json"}
    assert not any("poison" in name for name in names)


def test_it_goes_on_where_it_was_and_fits_again_what_changed(tmp_path, monkeypatch):
    table, folder = write_table(tmp_path, ["a", "b"]), tmp_path / "out"
    settings = presets.resolve("default", SMALL)
    jobs = fit_many.jobs_of(table, folder, fit_many.Wanted(settings, weights="random"))
    first = [fit_many.fit(job) for job in jobs]
    assert [one.error for one in first] == [None, None]
    fits = []
    monkeypatch.setattr(
        fit_many, "_fit", lambda job, data: fits.append(job.key) or fit_many.KeyOutcome(job.key)
    )
    assert [fit_many.fit(job) for job in jobs] == first
    assert fits == []
    save(tmp_path / "images1" / "good0.png", good_image(77, 40))
    fit_many.fit(jobs[1])
    jobs[0].model.unlink()
    fit_many.fit(jobs[0])
    assert fits == ["b", "a"]


def test_without_defects_there_is_no_auroc(tmp_path):
    table = write_table(tmp_path, ["a"])
    lines = [line for line in table.read_text().splitlines() if "defective" not in line]
    table.write_text("\n".join(lines) + "\n")
    wanted = fit_many.Wanted(presets.resolve("default", SMALL), weights="random")
    (job,) = fit_many.jobs_of(table, tmp_path / "out", wanted)
    outcome = fit_many.fit(job)
    assert outcome.error is None
    assert outcome.image_auroc is None
    assert (outcome.n_train, outcome.n_good, outcome.n_defective) == (6, 2, 0)


def test_rows_without_a_key_and_tables_without_the_column_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("key,path,split,label\n,a.png,train,good\n")
    with pytest.raises(LayoutError, match="no key"):
        fit_many.jobs_of(path, tmp_path, fit_many.Wanted(presets.resolve("default", {})))
    path.write_text("path,split,label\na.png,train,good\n")
    with pytest.raises(LayoutError, match="no column key"):
        fit_many.jobs_of(path, tmp_path, fit_many.Wanted(presets.resolve("default", {})))


def test_names_are_safe_and_no_two_are_alike():
    keys = [
        "../../etc/passwd",
        "..",
        ".",
        "a/b",
        "a_b",
        "A_B",
        "con",
        "NUL.txt",
        "ü",
        "x" * 300,
        " ",
        "a\nb",
        "-rf",
    ]
    names = fit_many.safe_names(keys)
    assert len({name.lower() for name in names.values()}) == len(keys)
    for name in names.values():
        assert name
        assert len(name) < 100
        assert not set(name) & set("/\\:\n\0 *?")
        assert not name.startswith(".")
        assert name.partition(".")[0].lower() not in ("con", "nul")
    assert fit_many.safe_names(reversed(keys)) == names
