"""A run of ``score`` that is broken off and gone on with: what its rows depend on, its drift monitor, its maps."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from differnet.batch import journal, rows
from differnet.cli.app import app
from differnet.detector import scoring
from differnet.errors import ConfigError
from support.tiny import good_image

RUN = CliRunner()


class Killed(BaseException):
    """What stops a run where it stands."""


@pytest.fixture(scope="module")
def model(tmp_path_factory, detector):
    """A model that was calibrated, so that drift can be watched."""
    root = tmp_path_factory.mktemp("model")
    (root / "good").mkdir()
    for index in range(20):
        Image.fromarray(good_image(700 + index)).save(root / "good" / f"{index:02}.png")
    detector.save(root / "fitted.safetensors")
    done = RUN.invoke(
        app,
        ["calibrate", str(root / "fitted.safetensors"), str(root / "good"), "--rate", "0.1", "--marginal", "--out",
         str(root / "model.safetensors")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return root / "model.safetensors"


@pytest.fixture
def folder(tmp_path):
    """Six images, of which the third is none."""
    (tmp_path / "images").mkdir()
    for index in range(6):
        Image.fromarray(good_image(800 + index)).save(tmp_path / "images" / f"{index}.png")
    (tmp_path / "images" / "2.png").write_bytes(b"no image")
    return tmp_path / "images"


def score(model, folder, table, *options):
    arguments = ["score", str(model), str(folder), "--out", str(table), "--on-error", "skip"]
    return RUN.invoke(app, [*arguments, *map(str, options)])


def killed_at(monkeypatch, where, number, *arguments):
    """Run until ``where`` is called for the ``number``-th time, and stop there as a kill would: nothing tidies up."""
    owner, name = where
    real, calls = getattr(owner, name), []

    def dies(*given, **named):
        calls.append(1)
        if len(calls) == number:
            for folder in [
                Path(arguments[2]).parent
            ]:  # what a kill leaves, put aside before anything tidies up
                shutil.copytree(folder, folder.parent / "left")
            raise Killed
        return real(*given, **named)

    monkeypatch.setattr(owner, name, dies)
    with suppress(Killed):
        score(*arguments)
    monkeypatch.undo()
    target = Path(arguments[2]).parent
    shutil.rmtree(target)
    (target.parent / "left").rename(target)


STEPS = {
    "the third row": ((journal.Journal, "add"), 4),
    "before the state is written": (("watch", "save"), 1),
    "after the state was written": ((rows, "_write"), 1),
    "before the rows are removed": ((journal, "_remove"), 1),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_run_with_a_drift_monitor_goes_on_to_the_same_state(model, folder, tmp_path, monkeypatch, step):
    from differnet.batch import drift_file

    where, number = STEPS[step]
    where = (drift_file.DriftFile, "save") if where[0] == "watch" else where
    whole, part = tmp_path / "whole", tmp_path / "part"
    for place in (whole, part):
        place.mkdir()
        assert (
            RUN.invoke(
                app, ["score", str(model), str(folder / "0.png"), "--drift", str(place / "s.json")]
            ).exit_code
            == 0
        )
    before = (part / "s.json").read_bytes()
    assert score(model, folder, whole / "rows.csv", "--drift", whole / "s.json").exit_code == 3
    options = ("--drift", part / "s.json")
    killed_at(monkeypatch, where, number, model, folder, part / "rows.csv", *options)
    assert journal.partial_of(part / "rows.csv").exists()
    done = score(model, folder, part / "rows.csv", *options, "--resume")
    assert done.exit_code == 3, done.output
    assert (part / "rows.csv").read_bytes() == (whole / "rows.csv").read_bytes()
    assert (part / "s.json").read_bytes() == (whole / "s.json").read_bytes() != before
    assert sorted(path.name for path in part.iterdir()) == ["rows.csv", "s.json"]


def test_a_drift_monitor_that_another_run_moved_is_not_overwritten(model, folder, tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()
    state = place / "s.json"
    killed_at(monkeypatch, (journal.Journal, "add"), 4, model, folder, place / "rows.csv", "--drift", state)
    RUN.invoke(app, ["score", str(model), str(folder / "0.png"), "--drift", str(state)])
    moved = state.read_bytes()
    done = score(model, folder, place / "rows.csv", "--drift", state, "--resume")
    assert done.exit_code == 2
    assert "another run changed it" in " ".join(done.stderr.split())
    assert state.read_bytes() == moved
    without = score(model, folder, place / "rows.csv", "--resume")
    assert without.exit_code == 2
    assert "another" in without.stderr


def test_an_image_that_vanished_before_it_was_judged_has_its_row(model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "load", lambda image, scale: rows_load(image, folder / "4.png"))
    done = score(model, folder, tmp_path / "rows.jsonl", "--drift", tmp_path / "s.json")
    assert done.exit_code == 3, done.output
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert [("no such file" in line) for line in lines] == [False] * 4 + [True, False]
    monkeypatch.undo()
    again = ["score", str(model), str(folder / "4.png"), "--drift", str(tmp_path / "s.json"), "--json"]
    told = json.loads(RUN.invoke(app, again).stdout)
    assert told["drift"]["images"] == 5  # four of the first run, and the one that is there again


def rows_load(image, vanishing):
    from differnet.data.images import load

    if image == vanishing:
        return load(vanishing.with_name("gone.png"))
    return load(image)


def test_the_light_is_that_of_the_page(model, tmp_path):
    bright, dark = (Image.fromarray(good_image(900) // by) for by in (1, 4))
    bright.save(tmp_path / "pages.tif", save_all=True, append_images=[dark])
    import json

    table = tmp_path / "rows.jsonl"
    done = score(model, tmp_path / "pages.tif", table, "--drift", tmp_path / "s.json", "--all-pages")
    assert done.exit_code == 0, done.output
    first, second = (json.loads(line)["brightness"] for line in table.read_text().splitlines())
    assert first > 3 * second


@pytest.mark.parametrize("maps", ["images", "images/maps", "link", "images/../images/deeper/maps"])
def test_maps_are_not_written_among_the_images(model, folder, tmp_path, maps):
    (tmp_path / "link").symlink_to(folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    done = score(model, folder, tmp_path / "rows.csv", "--maps", tmp_path / maps)
    assert done.exit_code == 2
    assert "give a folder apart" in " ".join(done.stderr.split())
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    single = RUN.invoke(app, ["score", str(model), str(folder / "0.png"), "--maps", str(folder)])
    assert single.exit_code == 2
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_maps_beside_the_folder_of_images_are_taken(folder, tmp_path):
    rows.check_maps(tmp_path / "images-maps", [folder], rows.inputs([folder]))
    rows.check_maps(tmp_path / "maps", [folder, Path("none.png")], rows.inputs([folder]))


def test_rows_tell_the_model_that_was_loaded(model, folder, tmp_path, monkeypatch, detector):
    """The file is replaced while the run goes on: its rows are of the one that was loaded."""
    import hashlib

    from differnet import DifferNet

    copy, before = tmp_path / "m.safetensors", hashlib.sha256(model.read_bytes()).hexdigest()
    shutil.copy(model, copy)
    real = DifferNet.load

    def loads_and_is_replaced(*arguments, **named):
        found = real(*arguments, **named)
        detector.save(copy)
        return found

    monkeypatch.setattr(DifferNet, "load", loads_and_is_replaced)
    table = tmp_path / "rows.csv"
    RUN.invoke(app, ["score", str(copy), str(folder), "--out", str(table)])  # stops at the third
    assert journal.head_of(table)["model"] == before
    monkeypatch.undo()
    done = score(copy, folder, table, "--resume")
    assert done.exit_code == 2
    assert "another model" in done.stderr


def test_a_file_that_is_replaced_while_it_is_locked_is_opened_anew(tmp_path, monkeypatch):
    """A run that ends between the opening and the locking of the next takes its file away."""
    import portalocker

    from differnet.data import files

    table, real, seen = tmp_path / "rows.csv", portalocker.lock, []

    def late(file, how):
        if not seen:
            journal.partial_of(table).unlink()
        seen.append(file.fileno())
        return real(file, how)

    monkeypatch.setattr(portalocker, "lock", late)
    with journal.journal(table, {}, True):
        assert os.path.samestat(journal.partial_of(table).stat(), os.fstat(seen[-1]))
        with pytest.raises(files.TakenError):
            files.open_locked(journal.partial_of(table), lambda path: path.open("rb"))
    assert len(seen) == 3


def test_a_run_that_ends_meanwhile_is_not_taken_for_one_that_was_broken_off(tmp_path):
    """An empty file without a lock is what a run leaves that was killed before it wrote anything."""
    table = tmp_path / "rows.csv"
    journal.partial_of(table).write_bytes(b"")
    with journal.journal(table, {}, False) as kept:
        kept.add({"path": "a", "is_defective": None, "error": None})
    assert list(tmp_path.iterdir()) == []


def test_rows_can_be_read_where_an_open_file_cannot_be_removed(tmp_path, monkeypatch):
    """As on Windows."""
    table, real = tmp_path / "rows.csv", Path.unlink
    opened = []

    def unlink(path, missing_ok=False):
        if not all(file.closed for file in opened):
            raise PermissionError(13, "in use", str(path))
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    with journal.journal(table, {}, False) as kept:
        opened.append(kept._file)
        kept.add({"path": "a", "is_defective": None, "error": None})
    assert [row["path"] for row in kept] == ["a"]
    assert list(tmp_path.iterdir()) == []
    with suppress(Killed), journal.journal(table, {}, False) as kept:
        opened.append(kept._file)
        raise Killed
    assert list(tmp_path.iterdir()) == []


def test_two_fits_do_not_share_a_checkpoint(tmp_path):
    from differnet.features.checkpoint import opened

    with (
        opened(tmp_path / "c", []),
        pytest.raises(ConfigError, match="another fit is using"),
        opened(tmp_path / "c", []),
    ):
        pass
    with opened(tmp_path / "c", []):
        pass
