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
