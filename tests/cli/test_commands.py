"""The command line as a person and a machine use it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from differnet import DifferNet
from differnet.cli.app import app
from support.tiny import TINY

RUN = CliRunner()
QUICK = [x for name, value in TINY.items() for x in ("--set", f"{name}={json.dumps(value)}")]
TINY_OPTIONS = [*QUICK, "--weights", "random"]


@pytest.fixture(scope="module")
def model(tmp_path_factory, mvtec_root):
    path = tmp_path_factory.mktemp("cli") / "model.safetensors"
    done = RUN.invoke(
        app,
        ["fit", str(mvtec_root / "stripes/train/good"), "--out", str(path), "--rate", "0.2", *TINY_OPTIONS],
    )
    assert done.exit_code == 0, done.output
    assert "Threshold" in done.stdout
    return path


def test_score_tells_writes_and_draws(model, mvtec_root, tmp_path):
    maps, table = tmp_path / "maps", tmp_path / "rows.csv"
    test = mvtec_root / "stripes" / "test"
    done = RUN.invoke(
        app,
        [
            "score",
            str(model),
            str(test / "good"),
            str(test / "square"),
            "--out",
            str(table),
            "--maps",
            str(maps),
        ],
    )
    assert done.exit_code == 0, done.output
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [
        str(p) for d in ("good", "square") for p in sorted((test / d).iterdir())
    ]
    assert sum(row["is_defective"] == "True" for row in rows[8:]) >= 6
    overlay, raw = Image.open(rows[9]["overlay"]), np.load(rows[9]["map"])
    assert overlay.size == (64, 64)
    assert raw.shape == (64, 64)
    assert len({row["map"] for row in rows}) == 16  # equal file names do not overwrite each other


def test_json_is_one_document_alone_on_stdout(model, mvtec_root, tmp_path):
    square = mvtec_root / "stripes/test/square"
    lines = tmp_path / "rows.jsonl"
    done = RUN.invoke(app, ["score", str(model), str(square), "--json", "--out", str(lines)])
    document = json.loads(done.stdout)
    assert len(document["images"]) == 8
    assert [json.loads(line) for line in lines.read_text().splitlines()] == document["images"]
    info = json.loads(RUN.invoke(app, ["info", str(model), "--json"]).stdout)
    assert info["threshold"] == document["threshold"]
    assert info["config"]["training"]["epochs"] == TINY["epochs"]


def test_views_can_be_few_or_as_many_as_it_takes(model, mvtec_root):
    square = str(mvtec_root / "stripes/test/square")

    def views(*options):
        done = RUN.invoke(app, ["score", str(model), square, "--json", *options])
        assert done.exit_code == 0, done.output
        return [row["views"] for row in json.loads(done.stdout)["images"]]

    assert set(views()) == {8}
    assert set(views("--views", "3")) == {3}
    judge = DifferNet.load(model)
    assert views("--views", "auto") == [
        judge.predict(path, views="auto").views
        for path in sorted((mvtec_root / "stripes/test/square").iterdir())
    ]
    for odd in ("0", "many", "-2"):
        done = RUN.invoke(app, ["score", str(model), square, "--views", odd])
        assert done.exit_code == 2
        assert "a number from 1, or auto" in done.stderr.replace("\n", " ").replace("│", "")
    assert RUN.invoke(app, ["score", str(model), square, "--views", "9"]).exit_code == 2


def test_a_table_that_breaks_off_leaves_the_old_one(model, mvtec_root, tmp_path):
    images, table = tmp_path / "images", tmp_path / "rows.csv"
    images.mkdir()
    for source in sorted((mvtec_root / "stripes/test/square").iterdir())[:2]:
        (images / source.name).write_bytes(source.read_bytes())
    (images / "zz.png").write_bytes(b"no image")
    table.write_text("old")
    done = RUN.invoke(app, ["score", str(model), str(images), "--out", str(table)])
    assert done.exit_code == 2
    assert "zz.png" in done.stderr
    assert table.read_text() == "old"
    partial = tmp_path / "rows.csv.partial"  # what was judged is kept
    assert sorted(tmp_path.iterdir()) == [images, table, partial]
    assert len(partial.read_text().splitlines()) == 1 + 2
    assert "--resume goes on from there" in done.stderr


def test_quantize_passes_or_refuses_with_figures(model, mvtec_root, tmp_path, monkeypatch):
    from differnet.detector import integers
    from differnet.detector.detector import DifferNet

    small = tmp_path / "small.safetensors"
    good = str(mvtec_root / "stripes/train/good")
    figures = integers.Gate(count=24, shift=0.01, correlation=0.99, flagged=0, rate=0.1)
    monkeypatch.setattr(DifferNet, "quantize", lambda self, images, progress, groups: figures)
    done = RUN.invoke(app, ["quantize", str(model), good, "--out", str(small), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["correlation"] == 0.99
    assert small.exists()
    few = ["quantize", str(model), str(mvtec_root / "stripes/test/good"), "--out", str(tmp_path / "none")]
    monkeypatch.undo()
    refused = RUN.invoke(app, few)
    assert refused.exit_code == 2
    assert "8 good images, of which 4 give the ranges" in refused.stderr
    assert not (tmp_path / "none").exists()


def test_exit_codes(model, mvtec_root, tmp_path):
    square, good = mvtec_root / "stripes/test/square", mvtec_root / "stripes/train/good"
    assert RUN.invoke(app, ["score", str(model), str(square), "--fail-on-defect"]).exit_code == 1
    assert RUN.invoke(app, ["score", str(model), str(square)]).exit_code == 0
    missing = RUN.invoke(app, ["score", str(model), str(tmp_path / "none")])
    assert missing.exit_code == 2
    assert "no such file or folder" in missing.stderr
    assert missing.stdout == ""
    wrong = RUN.invoke(app, ["score", str(model), str(good), "--out", str(tmp_path / "rows.txt")])
    assert wrong.exit_code == 2
    assert "ending in .csv or .jsonl" in wrong.stderr
    unknown = RUN.invoke(app, ["fit", str(good), "--out", "m", "--set", "epoch=3"])
    assert unknown.exit_code == 2
    assert "did you mean 'epochs'" in unknown.stderr


def test_evaluate_reports_what_it_must(mvtec_root, tmp_path):
    out = tmp_path / "out"
    done = RUN.invoke(
        app,
        [
            "evaluate",
            str(mvtec_root),
            "--seeds",
            "2",
            "--json",
            "--out",
            str(out),
            "--set",
            "rate=0.2",
            *TINY_OPTIONS,
        ],
    )
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert len(document["image_auroc"]) == 2
    assert document["image_auroc_mean"] == pytest.approx(np.mean(document["image_auroc"]))
    assert document["image_auroc_spread"] == pytest.approx(np.std(document["image_auroc"], ddof=1))
    assert document["image_auroc_mean"] > 0.9
    assert (document["n_train"], document["n_good"], document["n_defective"]) == (24, 8, 8)
    assert 0.5 < document["pixel_auroc_mean"] <= 1
    assert 0 < document["pixel_aupro_mean"] <= 1
    assert len(document["pixel_aupro"]) == 2
    assert document["fit_seconds"] > 0 < document["score_seconds_per_image"]
    assert 0 <= document["recall_without_false_alarms_mean"] <= 1
    assert document["recall_mean"] >= 0.8
    assert document["n_with_mask"] == 8
    assert document["config"]["flow"]["hidden"] == TINY["hidden"]
    assert sorted(p.name for p in out.iterdir()) == [
        "evaluation.json",
        "gallery.png",
        "histogram.png",
        "roc.png",
        "scores.csv",
    ]
    with (out / "scores.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * 16


def test_evaluate_shots_and_plain_output(mvtec_root):
    done = RUN.invoke(
        app, ["evaluate", str(mvtec_root / "stripes"), "--shots", "6", "--no-maps", *TINY_OPTIONS]
    )
    assert done.exit_code == 0, done.output
    assert "image_auroc" in done.stdout
    assert "pixel_" not in done.stdout
    assert "standard deviation over seeds" in done.stdout
    assert [f"seed {seed}" in done.stderr for seed in range(4)] == [True, True, True, False]


def test_evaluate_several_categories_and_plain_folders(mvtec_root, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "many").mkdir(exist_ok=True)
        (tmp_path / "many" / name).symlink_to(mvtec_root / "stripes")
    both = RUN.invoke(app, ["evaluate", str(tmp_path / "many"), "--json", "--no-maps", *TINY_OPTIONS])
    document = json.loads(both.stdout)
    assert sorted(document["categories"]) == ["a", "b"]
    assert (document["n_train"], len(document["image_auroc"])) == (48, 1)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "good").symlink_to(mvtec_root / "stripes/train/good")
    (folder / "square").symlink_to(mvtec_root / "stripes/test/square")
    done = RUN.invoke(app, ["evaluate", str(folder), "--json", "--no-maps", *TINY_OPTIONS])
    document = json.loads(done.stdout)
    assert (document["n_train"], document["n_good"], document["n_defective"]) == (19, 5, 8)
    no_good = RUN.invoke(app, ["evaluate", str(mvtec_root), "--shots", "1", "--no-maps", *TINY_OPTIONS])
    assert no_good.exit_code == 0, no_good.output


def test_evaluate_holds_whole_groups_out_together(mvtec_root, tmp_path):
    stripes, rows = mvtec_root / "stripes", ["path,split,label,defect,mask,group"]
    for i in range(24):
        rows.append(f"{stripes}/train/good/{i:03}.png,train,good,,,{i // 8}")
    for i in range(8):
        mask = f"{stripes}/ground_truth/square/{i:03}_mask.png"
        rows.append(f"{stripes}/test/good/{i:03}.png,test,good,,,")
        rows.append(f"{stripes}/test/square/{i:03}.png,test,defective,square,{mask},")

    def evaluated(lines):
        (tmp_path / "parts.csv").write_text("\n".join(lines))
        options = ["--json", "--no-maps", *TINY_OPTIONS]
        done = RUN.invoke(app, ["evaluate", str(tmp_path / "parts.csv"), *options])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    grouped = evaluated(rows)
    assert (grouped["dataset"], grouped["n_train"], grouped["n_with_mask"]) == ("parts", 24, 8)
    assert grouped["promised_false_alarm_rate"] == [pytest.approx(1 / 9)]  # a group of 8, not a fifth of 24
    single = evaluated([row[:-1] + "0" if ",train," in row else row for row in rows])
    assert single["recall"] == [None]  # of one group nothing can be held out
    odd = RUN.invoke(app, ["evaluate", str(tmp_path / "parts.csv"), "--layout", "tables"])
    assert odd.exit_code == 2
    assert "mvtec-ad2" in odd.stderr


def test_the_paper_preset_runs_with_fresh_views(mvtec_root):
    small = {"blocks": 2, "hidden": 8, "epochs": 1, "score_views": 2, "sizes": [64]}
    options = [x for name, value in small.items() for x in ("--set", f"{name}={json.dumps(value)}")]
    done = RUN.invoke(
        app, ["evaluate", str(mvtec_root), "--preset", "paper", "--weights", "random", "--json", *options]
    )
    document = json.loads(done.stdout)
    assert document["config"]["backbone"]["backbone"] == "alexnet"
    assert document["recall"] == [None]
    assert "no second flow" in document["threshold"]


def test_a_gate_without_a_threshold_is_refused(mvtec_root, tmp_path):
    good, model = str(mvtec_root / "stripes/train/good"), str(tmp_path / "m.safetensors")
    done = RUN.invoke(app, ["fit", good, "--out", model, *TINY_OPTIONS, "--set", "holdout=0"])
    assert done.exit_code == 0, done.output
    gate = RUN.invoke(app, ["score", model, good, "--fail-on-defect"])
    assert gate.exit_code == 2
    assert "has no threshold" in gate.stderr


def test_what_cannot_work_is_said_before_the_work(mvtec_root, tmp_path):
    good = str(mvtec_root / "stripes/train/good")
    folder = RUN.invoke(app, ["fit", good, "--out", str(tmp_path), *TINY_OPTIONS])
    assert folder.exit_code == 2
    assert "it is a folder" in folder.stderr
    device = RUN.invoke(app, ["fit", good, "--out", str(tmp_path / "m"), "--device", "warp", *TINY_OPTIONS])
    assert device.exit_code == 2
    assert "device = 'warp' cannot be used here" in device.stderr
    labelled = RUN.invoke(app, ["fit", str(mvtec_root / "stripes"), "--out", str(tmp_path / "m")])
    assert labelled.exit_code == 2
    assert "labelled data set" in labelled.stderr


def test_groups_by_pattern(mvtec_root, tmp_path):
    good = str(mvtec_root / "stripes/train/good")
    options = ["--out", str(tmp_path / "m"), "--group-pattern", r"(\d\d)\d\.png", "--json", *TINY_OPTIONS]
    document = json.loads(RUN.invoke(app, ["fit", good, *options]).stdout)
    assert document["train_count"] + document["calibration_count"] == 24
    assert document["train_count"] in {10, 14, 20}  # tens stay together: 10, 10 and 4 images
    bad = RUN.invoke(app, ["fit", good, "--out", str(tmp_path / "m"), "--group-pattern", "(", *TINY_OPTIONS])
    assert bad.exit_code == 2
    assert "not a regular expression" in bad.stderr


def test_python_dash_m_and_version():
    run = subprocess.run(
        [sys.executable, "-m", "differnet", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("differnet 0.")


def test_timings_are_told_and_kept(mvtec_root, tmp_path):
    """Stage by stage on stderr, and in the model's record; together they are about as long as the fit."""
    good, path = str(mvtec_root / "stripes/train/good"), str(tmp_path / "m.safetensors")
    started = time.perf_counter()
    done = RUN.invoke(app, ["fit", good, "--out", path, "--timings", "--json", *TINY_OPTIONS])
    took = time.perf_counter() - started
    assert done.exit_code == 0, done.output
    kept = json.loads(RUN.invoke(app, ["info", path, "--json"]).stdout)["stage_seconds"]
    assert kept == json.loads(done.stdout)["stage_seconds"]
    assert {"describing training images", "fitting the flow", "scaling heat maps"} <= set(kept)
    assert 0 < sum(kept.values()) <= took
    told = [line.split(maxsplit=3) for line in done.stderr.splitlines() if " s " in line]
    found = {line[3]: float(line[0]) for line in told[:-1]}
    assert found == {stage: pytest.approx(seconds, abs=0.051) for stage, seconds in kept.items()}
