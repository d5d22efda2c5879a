"""Every target end to end on miniatures of the published layouts; what is kept, what is refused, what is counted."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from typer.testing import CliRunner

from differnet.cli.app import app
from differnet.config import presets
from differnet.evaluation.metrics import auroc
from differnet.evaluation.paper import cells, published, targets
from support.tiny import SMALL, defective_image, good_image, save

RUN = CliRunner()
OPTIONS = ["--weights", "random"] + [
    x for name, value in SMALL.items() for x in ("--set", f"{name}={json.dumps(value)}")
]


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """A miniature of Magnetic Tile Defects: 14 good tiles of which 10 are for training, 4 defective ones."""
    root = tmp_path_factory.mktemp("mtd")
    for i in range(14):
        save(root / f"MT_Free/Imgs/good{i:02}.jpg", good_image(i, 40))
    for i, kind in enumerate(("Blowhole", "Break", "Crack", "Fray")):
        pixels, mask = defective_image(i, 40)
        save(root / f"MT_{kind}/Imgs/bad{i}.jpg", pixels)
        save(root / f"MT_{kind}/Imgs/bad{i}.png", mask.astype(np.uint8) * 255)
    (root / "MT_Uneven/Imgs").mkdir(parents=True)
    (root / "split.txt").write_text("".join(f"good{i:02}.jpg\n" for i in range(10)))
    return root


def reproduce(target, data, out, *options):
    done = RUN.invoke(app, ["reproduce", target, str(data), "--out", str(out), "--json", *OPTIONS, *options])
    assert done.exit_code == 0, done.output
    with (out / f"{target}.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    return json.loads(done.stdout), rows, (out / f"{target}.md").read_text()


def kept(out):
    return {path.name: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")}


def test_tiles_share_their_cells_between_table_2_and_figures_5_to_7(tiles, tmp_path):
    split = ("--split", str(tiles / "split.txt"), "--seeds", "2")
    document, rows, page = reproduce("table2", tiles, tmp_path, *split, "--shots", "4")
    by_method = {row[0]: row for row in rows}
    assert by_method["GANomaly"][1:3] == ["76.6", ""]
    assert by_method["DifferNet, 10 images"][1] == "97.7"
    own, spread, best = map(float, by_method["DifferNet, 10 images"][2:5])
    assert 0 <= own <= best <= 100
    assert spread >= 0
    assert by_method["DifferNet, 4 images drawn by each seed"][1] == ""
    assert document["columns"] == rows[0]
    assert "chosen by them: not a result" in page
    assert "a stand-in for the paper's AlexNet" in page
    assert f"differnet reproduce table2 {tiles.name} --out" in page
    assert str(tiles) not in page
    cell = json.loads(next((tmp_path / "cells").glob("*.json")).read_text())
    assert cell["machine"].endswith("on cpu")
    assert f"maybe shared with other work, on {cell['machine']}." in page
    first = kept(tmp_path)
    assert len(first) == 4

    _, rows, page = reproduce("fig5", tiles, tmp_path, *split)
    assert rows[1][:2] == ["AUROC", "97.7"]
    assert float(rows[1][2]) == pytest.approx(own)
    assert rows[2][:2] == ["recall at false alarms of 0 %", "about 50"]
    assert [float(row[2]) for row in rows[2:]] == sorted(float(row[2]) for row in rows[2:])
    _, rows, _ = reproduce("fig6", tiles, tmp_path, *split)
    assert (sum(int(row[2]) for row in rows[1:]), sum(int(row[3]) for row in rows[1:])) == (4, 4)
    assert kept(tmp_path) == first  # nothing was computed again

    document, rows, _ = reproduce(
        "fig7", tiles, tmp_path, *split, "--count", "4", "--count", "6", "--count", "99"
    )
    assert [row[0] for row in rows[1:]] == ["4", "6", "10"]
    assert float(rows[3][1]) == pytest.approx(own)
    assert first.items() < kept(tmp_path).items()
    assert len(kept(tmp_path)) == 6
    for name in ("fig5", "fig6", "fig7"):
        assert Image.open(tmp_path / f"{name}.png").size[0] > 300
    assert not (tmp_path / "table2.png").exists()


def test_a_broken_off_run_goes_on_and_ends_with_the_same_figures(tiles, tmp_path, monkeypatch):
    split = ("--split", str(tiles / "split.txt"), "--seeds", "2", "--shots", "4")
    whole, _, _ = reproduce("table2", tiles, tmp_path / "whole", *split)
    compute, seen = cells._compute, []

    def stop_at_third(plan, *rest):
        seen.append(plan)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return compute(plan, *rest)

    monkeypatch.setattr(cells, "_compute", stop_at_third)
    arguments = ["reproduce", "table2", str(tiles), "--out", str(tmp_path / "cut"), *OPTIONS, *split]
    assert RUN.invoke(app, arguments).exit_code == 130
    assert len(kept(tmp_path / "cut")) == 2
    assert not (tmp_path / "cut" / "table2.md").exists()
    again = RUN.invoke(app, arguments)
    assert again.exit_code == 0, again.output
    assert len(seen) == 5  # two, the one that was stopped, and the two that were missing
    assert "kept from before" in again.stderr
    cut, _, _ = reproduce("table2", tiles, tmp_path / "cut", *split)
    assert cut["rows"] == whole["rows"]


def test_figure_8_measures_and_draws_heat_maps(tiles, tmp_path):
    split = ("--split", str(tiles / "split.txt"), "--seeds", "1")
    _, rows, page = reproduce("fig8", tiles, tmp_path, *split)
    figures = {row[0]: float(row[1]) for row in rows[1:]}
    assert list(figures) == ["AUROC of images", "AUROC of pixels", "AUPRO up to 30 % false positives"]
    assert 0 < figures["AUROC of pixels"] < 100 > figures["AUPRO up to 30 % false positives"] > 0
    assert "4 masks" in page
    picture = (tmp_path / "fig8.png").read_bytes()
    (gallery,) = (tmp_path / "cells").glob("*.png")
    assert gallery.read_bytes() == picture
    gallery.unlink()  # a cell without its picture is not finished
    reproduce("fig8", tiles, tmp_path, *split)
    assert (tmp_path / "fig8.png").read_bytes() == gallery.read_bytes()


def test_table_3_has_seven_rows_from_four_fits(tiles, tmp_path):
    sizes = ("--set", "sizes=[48,32]", "--seeds", "1", "--split", str(tiles / "split.txt"))
    many = ("--set", "score_views=64", "--set", "epochs=1", "--set", "hidden=8", "--set", "blocks=1")
    _, rows, page = reproduce("table3", tiles, tmp_path, *sizes, *many)
    assert [row[:4] for row in rows[1:]] == [
        ["A", "48", "no", "1"],
        ["B", "48, 32", "no", "1"],
        ["C", "48", "yes", "64"],
        ["D", "48, 32", "yes", "1"],
        ["E", "48, 32", "yes", "4"],
        ["F", "48, 32", "yes", "16"],
        ["G", "48, 32", "yes", "64"],
    ]
    assert len(kept(tmp_path)) == 4
    assert all(0 <= float(row[4]) <= 100 for row in rows[1:])
    assert [bool(row[6]) for row in rows[1:]] == [True, True, True, False, False, False, True]
    assert "could not be checked" in page


def test_table_1_by_category_and_with_few_images(categories, tmp_path):
    options = ("--seeds", "2", "--shots", "3")
    _, rows, page = reproduce("table1", categories, tmp_path, *options)
    assert [row[0] for row in rows[1:]] == ["bottle", "screw", "mean"]
    assert rows[0][6].startswith("3 images: ")
    values = [float(row[3]) for row in rows[1:]]
    assert values[2] == pytest.approx(np.mean(values[:2]), abs=1e-3)
    assert len(kept(tmp_path)) == 8
    assert all(row[2] == "" for row in rows[1:])  # two categories are not the fifteen of the published mean
    assert published.TABLE1_1NN in page


def test_one_model_for_all_categories(categories, tmp_path):
    _, rows, page = reproduce("multimodal", categories, tmp_path, "--seeds", "1")
    assert [row[:2] for row in rows[1:]] == [
        ["bottle", "6"],
        ["screw", "6"],
        ["mean", "12"],
        ["all test images as one", "12"],
    ]
    (cell,) = [json.loads(path.read_text()) for path in (tmp_path / "cells").glob("*.json")]
    assert (cell["n_train"], len(cell["scores"])) == (12, 12)
    first, second = np.array(cell["scores"][:6]), np.array(cell["scores"][6:])
    labels = np.array([defect != "good" for defect in cell["defects"][:6]])
    assert float(rows[1][3]) == pytest.approx(100 * auroc(first, labels), abs=1e-3)
    assert float(rows[2][3]) == pytest.approx(100 * auroc(second, labels), abs=1e-3)
    assert targets.TARGETS["multimodal"].settings == {"blocks": 12}
    assert '"blocks": 2' in page  # --set has the last word


def test_btad_by_the_protocol_of_the_report(tmp_path):
    root = tmp_path / "btad"
    for name in ("01", "02"):
        for i in range(4):
            save(root / name / f"train/ok/{i}.bmp", good_image(i, 40))
        save(root / name / "test/ok/0.bmp", good_image(77, 40))
        pixels, mask = defective_image(3, 40)
        save(root / name / "test/ko/0.bmp", pixels)
        save(root / name / "ground_truth/ko/0.png", mask.astype(np.uint8) * 255)
    _, rows, page = reproduce("btad-report", root, tmp_path / "out", "--seeds", "1")
    assert [row[:3] for row in rows[1:]] == [["01", "4", "95.53"], ["02", "4", "79.53"], ["mean", "", ""]]
    assert "student report" in page
    protocol = presets.resolve("paper", targets.TARGETS["btad-report"].settings)
    assert (protocol.backbone.sizes, protocol.training.epochs) == ((448,), 40)
    assert (protocol.backbone.backbone, protocol.training.length) == ("alexnet", 1.0)
    assert (
        "Here: test_efficientnet, 32 pixels, 4 epochs." in page
    )  # --set has the last word, and the page says so


def test_the_paper_preset_runs_from_a_local_file_of_alexnet(categories, tmp_path):
    file = tmp_path / "alexnet.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), file)
    small = {"blocks": 1, "hidden": 8, "epochs": 1, "score_views": 2, "sizes": [64]}
    options = [x for name, value in small.items() for x in ("--set", f"{name}={json.dumps(value)}")]
    arguments = ["--category", "bottle", "--weights", str(file), "--seeds", "1", "--shots", "3"]
    out = tmp_path / "out"
    done = RUN.invoke(app, ["reproduce", "table1", str(categories), "--out", str(out), *arguments, *options])
    assert done.exit_code == 0, done.output
    page = (out / "table1.md").read_text()
    assert "Preset `paper`. Backbone: alexnet, weights: file, f32." in page
    assert "stand-in" not in page
    assert "--weights alexnet.pth" in page
    file.write_bytes(b"")
    other = RUN.invoke(app, ["reproduce", "table1", str(categories), "--out", str(out), *arguments, *options])
    assert other.exit_code == 2  # other weights are other cells
    assert "not readable as weights" in other.stderr


def test_what_cannot_be_reproduced_is_said(categories, tiles, tmp_path):
    def refused(*arguments):
        done = RUN.invoke(app, ["reproduce", *map(str, arguments), "--out", str(tmp_path), *OPTIONS])
        assert done.exit_code == 2, done.output
        return done.stderr

    assert "'table9' is not one of table1, table2" in refused("table9", tiles)
    assert "one category was wanted, found bottle, screw: name one with --category" in refused(
        "fig7", categories
    )
    assert "several categories are wanted" in refused("multimodal", tiles)
    assert "expected MT_Free" in refused("table2", categories, "--layout", "mtd")
    for i in range(3):
        save(tmp_path / f"plain/good/{i}.png", good_image(i, 40))
    assert "both good and defective test images, are needed" in refused("table2", tmp_path / "plain")
    save(tmp_path / "plain/dent/0.png", defective_image(0, 40)[0])
    assert "no masks of defects" in refused("fig8", tmp_path / "plain")
    assert not (tmp_path / "cells").exists()


def test_what_cannot_be_written_is_refused_before_a_fit(tiles, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "_compute", None)
    (tmp_path / "file").write_text("")
    (tmp_path / "out" / "fig6.md").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cells").write_text("")
    for out, message in (("file", "cannot write"), ("out", "it is a folder"), ("other", "cannot write")):
        done = RUN.invoke(app, ["reproduce", "fig6", str(tiles), "--out", str(tmp_path / out), *OPTIONS])
        assert done.exit_code == 2, done.output
        assert message in done.stderr


def test_options_that_a_target_does_not_take_are_refused(tiles, tmp_path):
    for target, option, message in (("fig7", "--shots", "--count"), ("fig5", "--count", "for fig7")):
        done = RUN.invoke(app, ["reproduce", target, str(tiles), "--out", str(tmp_path), option, "4"])
        assert done.exit_code == 2
        assert message in done.stderr
