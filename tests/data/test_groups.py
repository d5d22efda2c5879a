"""Groups by names of files and by a table."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from differnet.data.groups import by_column, by_pattern, hold_out, of_paths
from differnet.errors import ConfigError, LayoutError
from support.tiny import touch


def test_a_pattern_groups_by_its_brackets():
    paths = [Path("a/part1-x.png"), Path("b/part1-y.png"), Path("a/part2-x.png")]
    assert by_pattern(paths, r"part(\d+)") == ["1", "1", "2"]
    assert by_pattern(paths, r"(a|b)/part(\d+)") == ["a\x001", "b\x001", "a\x002"]


def test_a_bracket_that_matched_nothing_is_no_group_of_its_own():
    assert by_pattern([Path("x7.png"), Path("7.png")], r"(x)?(\d)") == ["x\x007", "\x007"]


def test_a_pattern_looks_below_the_folder_alone():
    root = Path("/data/part9/good")
    paths = [root / "part1-x.png", root / "day2" / "part2-x.png"]
    assert by_pattern(paths, r"part\d", root) == of_paths(paths, r"part\d", root=root) == ["part1", "part2"]
    assert by_pattern(paths, r"part\d") == ["part9", "part9"]
    assert by_pattern([paths[0]], r"part\d", paths[0]) == ["part1"]
    with pytest.raises(ConfigError, match="matches not in 2"):
        by_pattern(paths, "data", root)


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


def test_a_row_of_another_folder_names_no_image_here(table, tmp_path):
    other = table("path,group\nday1/a.png,x\n")
    assert by_column([tmp_path / "day1" / "a.png"], other, "group") == ["x"]
    with pytest.raises(LayoutError, match="no row"):
        by_column([tmp_path / "day2" / "a.png"], other, "group")


def test_a_row_without_a_group_is_one_of_its_own(table, tmp_path):
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    groups = by_column(paths, table("path,group\na.png,\nb.png,\nc.png,x\n"), "group")
    assert len(set(groups)) == 3
    assert groups[2] == "x"


def test_tables_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.csv").write_bytes("path,group\nä.png,1\n".encode("latin-1"))
    (tmp_path / "long.csv").write_text(f"path,group\na.png,{'x' * 140_000}\n")
    for name in ("latin.csv", "long.csv"):
        with pytest.raises(LayoutError, match=f"{name}: not a CSV file in UTF-8"):
            by_column([tmp_path / "a.png"], tmp_path / name, "group")


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
    with pytest.raises(LayoutError, match="no such file; a table in CSV"):
        by_column(paths, tmp_path / "none.csv", "group")
    with pytest.raises(ConfigError, match="one of them"):
        of_paths(paths, "a", tmp_path / "none.csv")


@given(st.lists(st.sampled_from("abcdefg"), min_size=2), st.floats(0.05, 0.9), st.integers(0, 5))
def test_groups_stay_together(groups, share, seed):
    if len(set(groups)) < 2:
        with pytest.raises(ConfigError, match="at least two groups"):
            hold_out(groups, share, seed)
        return
    fit, held = hold_out(groups, share, seed)
    assert sorted(fit + held) == list(range(len(groups)))
    assert fit
    assert held
    assert not {groups[i] for i in fit} & {groups[i] for i in held}
    assert hold_out(groups, share, seed) == (fit, held)


def test_a_table_of_groups_with_semicolons_or_backslashes_says_so(tmp_path):
    touch(tmp_path, "a/0.png")
    table = tmp_path / "groups.csv"
    table.write_text("path;group\na/0.png;1\n")
    with pytest.raises(LayoutError, match="separated by semicolons"):
        by_column([tmp_path / "a/0.png"], table, "group")
    table.write_text("path,group\na\\0.png,1\n")
    with pytest.raises(LayoutError, match="no row.; some have backslashes"):
        by_column([tmp_path / "a/0.png"], table, "group")
