"""Finished cells: read as they were written, told from those of another key, and named where they are damaged."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from differnet.errors import DifferNetWarning, ModelFileError
from differnet.evaluation.kept import Kept


@dataclass(frozen=True)
class Finished:
    score: float
    key: str = ""
    name: str = ""
    scores: np.ndarray | None = None


def revived(values):
    return Finished(**(values | {"scores": np.array(values["scores"])}))


def test_a_cell_is_read_as_it_was_written(tmp_path):
    kept = Kept(tmp_path / "cells", Finished, revived)
    assert kept.find("a", "key") is None
    scores = np.random.default_rng(0).normal(size=100) * 10.0 ** np.arange(-50, 50)
    kept.add("a", "key", Finished(0.1 + 0.2, "of the cell itself", "ü", scores))
    found = Kept(tmp_path / "cells", Finished, revived).find("a", "key")
    assert (found.score, found.key, found.name) == (0.1 + 0.2, "of the cell itself", "ü")
    assert found.scores.tobytes() == scores.tobytes()
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["a.json"]
    kept.add("a", "other", found)
    assert kept.find("a", "key") is None
    assert kept.find("a", "other").score == found.score


@pytest.mark.parametrize("change", ["kept", "score", None])
def test_what_is_no_finished_cell_is_named(tmp_path, change):
    kept = Kept(tmp_path, Finished)
    kept.add("a", "key", Finished(1.0))
    text = kept.file("a").read_text()
    values = {name: value for name, value in json.loads(text).items() if name != change}
    kept.file("a").write_text(json.dumps(values) if change else text[:-5])
    with pytest.raises(ModelFileError, match=r"a\.json: not a finished cell of this version .* remove it"):
        kept.find("a", "key")
    with pytest.warns(DifferNetWarning, match=r"a\.json: .*; it is computed again now"):
        assert kept.find_whole("a", "key") is None


def test_cells_of_another_format_are_refused(tmp_path, monkeypatch):
    kept = Kept(tmp_path, Finished)
    with monkeypatch.context() as patch:
        patch.setattr("differnet.evaluation.kept.FORMAT", 99)
        kept.add("a", "key", Finished(1.0))
    with pytest.raises(ModelFileError, match="another format"):
        kept.find("a", "key")


def test_what_cannot_be_written_is_said_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write"):
        Kept(tmp_path / "file", Finished).check("a")
    with pytest.raises(ValueError, match="JSON"):
        Kept(tmp_path, Finished).add("a", "key", Finished(float("nan")))
    assert not (tmp_path / "a.json").exists()


def test_without_a_folder_nothing_is_kept():
    kept = Kept(None, Finished)
    kept.check("a")
    kept.add("a", "key", Finished(1.0))
    assert kept.find("a", "key") is None
