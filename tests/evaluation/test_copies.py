"""One image in two places: what is tested on and was fitted to is said."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from differnet.cli.app import app
from support.tiny import OPTIONS, save_parts


def write(root):
    return save_parts(root, fitted=8, judged=4, first=50)


def linked(root):
    (root / "test/good/again.png").symlink_to(root / "train/good/3.png")


def hard_linked(root):
    (root / "test/good/again.png").hardlink_to(root / "train/good/3.png")


def copied(root):
    shutil.copy(root / "train/good/3.png", root / "test/good/again.png")


def in_another_kind_of_file(root):
    Image.open(root / "train/good/3.png").save(root / "test/good/again.bmp")


def a_linked_folder(root):
    shutil.rmtree(root / "test/good")
    (root / "test/good").symlink_to(root / "train/good")


@pytest.mark.parametrize(
    ("change", "count", "total"),
    [
        (lambda root: None, 0, 8),
        (linked, 1, 9),
        (hard_linked, 1, 9),
        (copied, 1, 9),
        (in_another_kind_of_file, 1, 9),
        (a_linked_folder, 8, 12),
    ],
)
def test_test_images_that_were_fitted_to_are_said(tmp_path, change, count, total):
    change(write(tmp_path / "nut"))
    options = ["--no-maps", *OPTIONS]
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path), "--json", *options])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["n_fitted_to"] == count
    said = re.sub(r"\s+", " ", done.stderr)
    verb = "is" if count == 1 else "are"
    assert (
        f"nut: {count} of {total} test images {verb} pixel for pixel among those fitted to" in said
    ) == bool(count)
    if count == 1:
        assert "such as " + str(tmp_path / "nut/test/good/again") in said
        plain = CliRunner().invoke(app, ["evaluate", str(tmp_path), *options])
        assert "too good: 1 test image was fitted to as well" in plain.stdout
    few = CliRunner().invoke(
        app, ["evaluate", str(tmp_path), "--json", "--shots", "2", "--seeds", "1", *options]
    )
    assert json.loads(few.stdout)["n_fitted_to"] <= count  # of those alone that were drawn


def test_copies_of_more_than_8_bits_are_told_by_the_white_of_the_model(tmp_path):
    """The copied picture is dim: by its own brightest pixel it would have others than those that were fitted to."""
    root = write(tmp_path / "nut")
    for place in (root / "train/good", root / "test/good"):
        for number, path in enumerate(sorted(place.iterdir())):
            grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
            Image.fromarray(grey * (16 if number == 0 else 3)).save(path)
    copied(root)
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path), "--json", "--no-maps", *OPTIONS])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["n_fitted_to"] == 1


@pytest.mark.parametrize(
    ("change", "count"),
    [(lambda root: None, 0), (linked, 1), (in_another_kind_of_file, 1), (a_linked_folder, 8)],
)
def test_compare_says_them_before_it_fits_and_in_its_table(tmp_path, change, count):
    change(write(tmp_path / "nut"))
    asked = ["compare", str(tmp_path / "nut"), "--methods", "1nn", "--seeds", "1", *OPTIONS]
    done = CliRunner().invoke(app, [*asked, "--json", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["n_fitted_to"] == {"nut": count}
    said = re.sub(r"\s+", " ", done.stderr)
    assert ("pixel for pixel among those fitted to" in said) == bool(count)
    page = (tmp_path / "out/comparison.md").read_text()
    verb = "is" if count == 1 else "are"
    assert (
        f"Too good: {count} test image{'s' * (count > 1)} of nut {verb} for training as well" in page
    ) == bool(count)


@pytest.mark.parametrize(("change", "count"), [(lambda root: None, 0), (copied, 1)])
def test_reproduce_says_them_before_it_fits_and_on_its_page(tmp_path, change, count):
    change(write(tmp_path / "nut"))
    asked = ["reproduce", "table2", str(tmp_path / "nut"), "--seeds", "1", "--shots", "4", *OPTIONS]
    done = CliRunner().invoke(app, [*asked, "--json", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    notes = [note for note in json.loads(done.stdout)["notes"] if "among those fitted to" in note]
    assert len(notes) == count
    said = re.sub(r"\s+", " ", done.stderr)
    assert said.count("nut: 1 of 9 test images is pixel for pixel among those fitted to") == count
    page = (tmp_path / "out/table2.md").read_text()
    assert page.count("nut: 1 of 9 test images is pixel for pixel among those fitted to") == count
