"""A watch finds parts in the names of files, and draws OK parts for the review."""

from __future__ import annotations

import pytest

pytest.importorskip("sqlalchemy", reason='pip install "differnet[watch]"')
pytest.importorskip("watchfiles", reason='pip install "differnet[watch]"')

from support.watching import events, put, run


def test_parts_are_found_and_drawn_by_the_command(station, images, tmp_path):
    for number in range(4):
        put(images, f"SN{number}_L7.png", 600 + number)
    options = ("--part-pattern", r"(?P<serial>SN\d+)_(?P<lot>L\d+)", "--audit-share", "1")
    code, lines, _ = run(station, images, tmp_path, "--once", "--keep-images", "flagged", *options)
    assert code == 0
    rows = events(lines, "inspection")
    assert sorted((row["serial"], row["lot"]) for row in rows) == [(f"SN{n}", "L7") for n in range(4)]
    drawn = [row for row in rows if row["verdict"] == "OK"]
    assert drawn
    assert all(row["is_drawn"] and row["image"] for row in drawn)


def test_what_is_no_pattern_and_parts_without_pictures_are_refused(station, images, tmp_path):
    for options, said in (
        (("--part-pattern", "("), "no regular expression"),
        (("--audit-share", "0.1"), "no images are kept"),
    ):
        code, lines, err = run(station, images, tmp_path, "--once", *options)
        assert (code, lines) == (2, [])
        assert said in " ".join(err.split())
