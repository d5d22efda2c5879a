"""Which images belong together (same part, same shoot): told by their names, or by a column of a table."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from differnet.data.files import check_file, write_whole
from differnet.data.tables import separated_by, with_backslashes
from differnet.errors import ConfigError, LayoutError, counted

_NAMES = ("path", "image", "file", "filename")


def by_pattern(paths: Sequence[Path], pattern: str, root: Path | None = None) -> list[str]:
    """Return for each path what ``pattern`` matches in it: its groups in brackets, or else the whole match.

    What is looked at is the path from the folder ``root`` on, where one is given, with forward slashes.

    Raises :class:`ConfigError` for what is no regular expression, and when it does not match every path.

    >>> by_pattern([Path("part7-a.png"), Path("part7-b.png")], r"part\\d+")
    ['part7', 'part7']
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--group-pattern {pattern!r} is not a regular expression: {error}") from error
    found = [expression.search(_below(path, root)) for path in paths]
    missing = [path for path, match in zip(paths, found, strict=True) if match is None]
    if missing:
        raise ConfigError(
            f"--group-pattern {pattern!r} matches not in {counted(len(missing), 'path')}, such as {missing[0]}"
        )
    return ["\0".join(match.groups("") or (match.group(),)) for match in found if match]


def _below(path: Path, root: Path | None) -> str:
    below = path.relative_to(root) if root is not None and path.is_relative_to(root) else path
    return below.as_posix() if below.parts else path.name


def by_column(paths: Sequence[Path], table: Path, column: str) -> list[str]:
    """Return for each path what stands in ``column`` of its row of a CSV table with a heading.

    Images are named in the column ``path``, ``image``, ``file`` or ``filename``, as paths from the folder of the table,
    or by file names alone that are not given twice. A row without a group is a group of its own. Raises
    :class:`LayoutError` for a table that cannot be read, for one without such columns and for images that it does not
    name, or names twice.
    """
    check_file(table, "a table in CSV with a heading", LayoutError)
    by_path: dict[Path, set[str]] = {}
    by_name: dict[str, set[str]] = {}
    for name, group in _rows(table, column):
        by_path.setdefault((table.parent / name).resolve(), set()).add(group or f"\0{name}")
        if Path(name).name == name:
            by_name.setdefault(name, set()).add(group or f"\0{name}")
    found = [by_path.get(path.resolve()) or by_name.get(path.name, set()) for path in paths]
    wrong = [(path, groups) for path, groups in zip(paths, found, strict=True) if len(groups) != 1]
    if wrong:
        path, groups = wrong[0]
        said = f"{len(groups)} groups" if groups else "no row"
        raise LayoutError(
            f"{table}: {len(wrong)} of {len(paths)} images have no row or several groups, such as {path} ({said})"
            f"{with_backslashes(list(by_path))}"
        )
    return [next(iter(groups)) for groups in found]


def _rows(table: Path, column: str) -> list[tuple[str, str]]:
    """Return what a table has in its column of names and in ``column``."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            heading = reader.fieldnames or []
            key = next((name for name in _NAMES if name in heading), None)
            if key is None or column not in heading:
                raise LayoutError(
                    f"{table}: has the columns {list(heading)}; {column!r} and one of {list(_NAMES)} were wanted"
                    f"{separated_by(heading)}"
                )
            return [(row[key] or "", row[column] or "") for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise LayoutError(f"{table}: not a CSV file in UTF-8 ({error}); save it as one") from error


def of_paths(
    images: Sequence[str | os.PathLike[str]],
    pattern: str | None,
    table: Path | None = None,
    column: str = "group",
    root: Path | None = None,
) -> list[str] | None:
    """Return the groups by a pattern or by a table, nothing without either; :class:`ConfigError` for both.

    A pattern looks at the paths from the folder ``root`` on, where one is given.
    """
    paths = [Path(image) for image in images]  # of pages, that of their file
    if pattern is not None and table is not None:
        raise ConfigError("--group-pattern and --group-table: one of them was wanted")
    if table is not None:
        return by_column(paths, table, column)
    return None if pattern is None else by_pattern(paths, pattern, root)


def write(table: Path, images: Sequence[str | os.PathLike[str]], groups: Sequence[str]) -> None:
    """Write the group of each image as a CSV table that :func:`by_column` reads, whole or not at all.

    Groups are numbered in the order in which they come.
    """
    numbers: dict[str, int] = {}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("path", "group"))
    for image, group in zip(images, groups, strict=True):
        rows.writerow((os.path.abspath(image), numbers.setdefault(group, len(numbers))))  # noqa: PTH100
    write_whole(table, text.getvalue().encode("utf-8", "surrogateescape"))


def hold_out(groups: Sequence[Hashable], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Split indices into (to fit, to calibrate), keeping each group (same part, same shoot) on one side.

    Groups are drawn at random by ``seed`` until ``share`` of the images are held out. One that would leave less than a
    third of the images to fit to is passed over, unless no other is left; a large group is as likely to be held out as
    a small one. Raises :class:`ConfigError` when there are not two groups.

    >>> fit, held = hold_out(["a", "a", "b", "b", "c", "c"], share=0.3, seed=0)
    >>> len(fit), len(held)
    (4, 2)
    """
    names = list(dict.fromkeys(groups))
    if len(names) < 2:
        raise ConfigError(
            f"{counted(len(groups), 'image')} in {counted(len(names), 'group')}: at least two groups are needed to "
            "hold one out; give more images, or holdout=0 for a detector without a threshold"
        )
    wanted = max(1, round(share * len(groups)))
    most = min(max(2 * len(groups) // 3, wanted), len(groups) - 1)
    order = np.random.default_rng(seed).permutation(len(names))
    sizes = Counter(groups)
    held_groups: set[Hashable] = set()
    count = 0
    for index in order:
        size = sizes[names[index]]
        if count < wanted and count + size <= most:
            held_groups.add(names[index])
            count += size
    if not held_groups:
        held_groups.add(names[order[0]])
    held = [i for i, group in enumerate(groups) if group in held_groups]
    return [i for i, group in enumerate(groups) if group not in held_groups], held


def folds_of(groups: Sequence[Hashable], folds: int, seed: int) -> list[list[int]]:
    """Split indices into ``folds`` parts of about equal size, keeping each group (same part, same shoot) in one.

    Groups come largest first, in random order by ``seed`` among equals, each to the smallest part so far. Raises
    :class:`ConfigError` when there are fewer groups than folds.

    >>> [len(part) for part in folds_of(["a", "a", "b", "c", "d", "d"], folds=3, seed=0)]
    [2, 2, 2]
    """
    names = list(dict.fromkeys(groups))
    if not 2 <= folds <= len(names):
        raise ConfigError(
            f"{counted(folds, 'fold')} of {counted(len(groups), 'image')} in {counted(len(names), 'group')}: from 2 "
            "folds to as many as there are groups were wanted"
        )
    sizes, order = Counter(groups), np.random.default_rng(seed).permutation(len(names))
    fold_of: dict[Hashable, int] = {}
    counts = [0] * folds
    for index in sorted(order, key=lambda index: -sizes[names[index]]):
        fold_of[names[index]] = counts.index(min(counts))
        counts[fold_of[names[index]]] += sizes[names[index]]
    return [[i for i, group in enumerate(groups) if fold_of[group] == fold] for fold in range(folds)]
