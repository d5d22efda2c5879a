"""Groups by names of files and by a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from differnet.errors import ConfigError, LayoutError
from differnet.groups import by_column, by_pattern, of_paths


def test_a_pattern_groups_by_its_brackets():
    paths = [Path("a/part1-x.png"), Path("b/part1-y.png"), Path("a/part2-x.png")]
    assert by_pattern(paths, r"part(\d+)") == ["1", "1", "2"]
    assert by_pattern(paths, r"(a|b)/part(\d+)") == ["a\x001", "b\x001", "a\x002"]


def test_a_bracket_that_matched_nothing_is_no_group_of_its_own():
    assert by_pattern([Path("x7.png"), Path("7.png")], r"(x)?(\d)") == ["x\x007", "\x007"]


@pytest.mark.parametrize(
    ("pattern", "message"), [("part(", "is not a regular"), (r"part\d", "matches not in 1")]
)
def test_patterns_that_cannot_be_used(pattern, message):
    with pytest.raises(ConfigError, match=message):
        by_pattern([Path("part1.png"), Path("other.png")], pattern)


@pytest.fixture
def table(tmp_path):
    def write(text):
        (tmp_path / "table.csv").write_text(text, encoding="utf-8")
        return tmp_path / "table.csv"

    return write


def test_a_column_groups_by_paths_or_names(table, tmp_path):
    paths = [tmp_path / "day1" / "a.png", tmp_path / "day2" / "a.png", tmp_path / "day2" / "b.png"]
    by_path = table("path,lot\nday1/a.png,7\nday2/a.png,8\nday2/b.png,8\nday3/c.png,9\n")
    assert by_column(paths, by_path, "lot") == ["7", "8", "8"]
    by_name = table("\ufefffile,group\nb.png,x\na.png,y\n")
    assert of_paths(paths[1:], None, by_name) == ["y", "x"]
    assert of_paths(paths, None) is None


def test_tables_that_cannot_be_used(table, tmp_path):
    paths = [tmp_path / "day1" / "a.png", tmp_path / "day2" / "a.png"]
    for text, message in (
        ("file,lot\na.png,1\n", "'group' and one of"),
        ("name,group\na.png,1\n", "'group' and one of"),
        ("", "'group' and one of"),
        ("file,group\nb.png,1\n", "2 of 2 images have no row or several groups, .*no row"),
        ("file,group\na.png,1\na.png,2\n", "2 of 2 .*2 groups"),
    ):
        with pytest.raises(LayoutError, match=message):
            by_column(paths, table(text), "group")
    with pytest.raises(LayoutError, match="no such table"):
        by_column(paths, tmp_path / "none.csv", "group")
    with pytest.raises(ConfigError, match="one of them"):
        of_paths(paths, "a", tmp_path / "none.csv")
