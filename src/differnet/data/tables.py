"""A table of samples in CSV or Parquet: one row a picture."""

from __future__ import annotations

import csv
import difflib
import math
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from differnet.data.files import check_file
from differnet.data.samples import GOOD, Dataset, Sample, Split, listing
from differnet.errors import LayoutError, MissingExtraError

SUFFIXES = (".csv", ".parquet")
_NEEDED = ("path", "split", "label")
_OPTIONAL = ("defect", "mask", "group")
_COLUMNS = frozenset({"key", *_NEEDED, *_OPTIONAL})
_GOOD = (
    "good",
    "normal",
    "ok",
    "0",
    "false",
    "no defect",
    "no_defect",
    "pass",
    "passed",
    "io",
    "nominal",
    "0.0",
)
_DEFECTIVE = (
    *(
        "defective",
        "anomaly",
        "anomalous",
        "abnormal",
        "ng",
        "nok",
        "not ok",
        "ko",
        "1",
        "true",
        "bad",
        "defect",
    ),
    *("fail", "failed", "reject", "rejected", "nio", "faulty", "1.0"),
)
_IS_DEFECTIVE = dict.fromkeys(_GOOD, False) | dict.fromkeys(_DEFECTIVE, True)
_SPLITS: dict[str, Split] = dict.fromkeys(("train", "training", "fit"), "train")
_SPLITS |= dict.fromkeys(
    ("val", "valid", "validation"), "train"
)  # good images of it are for training as well
_SPLITS |= dict.fromkeys(("test", "testing", "eval"), "test")
_MOST_ROWS = 1_000_000
_LOOKS_LIKE = 0.6  # the likeness of names from which on a foreign column is taken for a slip

TableRow = dict[str, str]


def read_table(path: Path) -> Dataset:
    """Read a table with the columns path, split and label and, where known, defect, mask and group.

    ``split`` is train or test, or val, which is for training as well; ``label`` good or defective (or another of the
    usual words: OK and NG, normal and anomaly, 0 and 1, false and true), in any case; ``defect`` the kind of
    defect; ``mask`` a picture of its pixels, white where defective; ``group`` what pictures of the same part or shoot
    have in common. Paths are relative to the table's folder, out of which ``..`` may lead, or absolute; other columns
    are not read, and names of columns are taken in any case. Raises :class:`LayoutError` that names the row, or for
    more than a million of them, and :class:`MissingExtraError` for Parquet without pyarrow.
    """
    if path.is_dir():
        raise LayoutError(
            f"{path}: a table in .csv or .parquet was wanted; found a folder of {listing(path)}"
        )
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        what = "another kind of file" if path.is_file() else "no such file"
        raise LayoutError(f"{path}: {what}; a table in .csv or .parquet was wanted")
    return Dataset(path.stem, samples_of(path, path.parent, read_rows(path, _NEEDED, _OPTIONAL)))


def read_rows(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> list[TableRow]:
    """Read the columns of a CSV or Parquet file as texts, one dict a row; nothing is an empty text.

    Raises :class:`LayoutError` for a column that is needed and missing, and for one whose name is nearly that of
    an optional one that is missing.
    """
    check_file(path, "a table in .csv or .parquet", LayoutError)
    wanted = (*needed, *optional)
    names, rows = _parquet(path, wanted) if path.suffix.lower() == ".parquet" else _csv(path)
    missing = [name for name in needed if name not in names]
    if missing:
        beside = f" and, where known, {', '.join(optional)}" if optional else ""
        raise LayoutError(
            f"{path}: no column {', '.join(missing)}; wanted {', '.join(needed)}{beside}; "
            f"found {', '.join(names) or 'nothing'}{separated_by(names)}"
        )
    twice = [name for name in wanted if names.count(name) > 1]
    if twice:
        raise LayoutError(f"{path}: the column {twice[0]!r} stands there twice; one was wanted")
    absent = [name for name in optional if name not in names]
    for name in names:
        close = difflib.get_close_matches(name, absent, n=1, cutoff=_LOOKS_LIKE)
        if close and name not in wanted:
            raise LayoutError(f"{path}: there is no column {name!r}; did you mean {close[0]!r}?")
    if not rows:
        raise LayoutError(f"{path}: a header without rows; one row a picture was wanted")
    return [{name: row.get(name, "") for name in wanted} for row in rows]


def samples_of(
    table: Path, root: Path, rows: Sequence[TableRow], mask_level: int = 128
) -> tuple[Sample, ...]:
    """Turn rows (path, split, label and so on) into samples, whose files lie below ``root``, and check them.

    ``table`` is what errors name; ``mask_level``: see :class:`~differnet.data.samples.Sample`.
    """
    samples = tuple(_sample(table, root, row, mask_level) for row in rows)
    files = [path for sample in samples for path in (sample.path, sample.mask) if path is not None]
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise LayoutError(
            f"{table}: {len(missing)} of {len(files)} files are not there, such as {missing[0]}; "
            f"paths are relative to {root}, or absolute{with_backslashes(missing)}"
        )
    _check_once(table, samples)
    return samples


def separated_by(names: Sequence[str]) -> str:
    """Say by what else than commas the columns of a heading are separated, to be added to an error."""
    for sign, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(names) <= 1 and any(sign in one for one in names):
            return f"; the columns are separated by {name} ({sign!r}), and commas were wanted: save it with commas"
    return ""


def with_backslashes(paths: Sequence[Path]) -> str:
    """Say that paths are written as Windows does, to be added to an error, where that is so."""
    if os.sep == "\\" or not any("\\" in str(path) for path in paths):
        return ""
    return "; some have backslashes (\\), and slashes (/) were wanted: replace them in the table"


def _check_once(table: Path, samples: Sequence[Sample]) -> None:
    """Refuse a file that stands in several rows, also by another path that leads to it."""
    rows: dict[str, list[Sample]] = {}
    for sample in samples:
        rows.setdefault(os.path.realpath(sample.path), []).append(sample)
    twice = [some for some in rows.values() if len(some) > 1]
    if twice:
        first, second = twice[0][:2]
        also = "" if first.path == second.path else f", which is also {second.path}"
        verb = "image is" if len(twice) == 1 else "images are"
        raise LayoutError(
            f"{table}: {len(twice)} {verb} in more than one row, such as {first.path}{also}; one row each was wanted"
        )


def _sample(table: Path, root: Path, row: TableRow, mask_level: int) -> Sample:
    where = f"{table}, row of {row['path']!r}"
    split, label = _SPLITS.get(row["split"].lower()), row["label"].lower()
    if not row["path"]:
        raise LayoutError(f"{table}: a row without a path")
    if split is None:
        raise LayoutError(f"{where}: split {row['split']!r}; train, val (for training) or test was wanted")
    if label not in _IS_DEFECTIVE:
        raise LayoutError(
            f"{where}: label {row['label']!r}; good (or {', '.join(_GOOD[1:6])}) or defective (or "
            f"{', '.join(_DEFECTIVE[1:11])}) was wanted"
        )
    is_defective = _IS_DEFECTIVE[label]
    if is_defective and split == "train":
        raise LayoutError(
            f"{where}: defective, but for training (split {row['split']!r}), which takes good images alone; give it "
            "the split test"
        )
    defect = row.get("defect") or ("defective" if is_defective else GOOD)
    if not is_defective and defect.lower() in _GOOD:
        defect = GOOD
    if is_defective != (defect != GOOD):
        raise LayoutError(f"{where}: label {row['label']!r}, but defect {defect!r}; one of them is wrong")
    return Sample(
        root / row["path"],
        split,
        defect,
        root / row["mask"] if row.get("mask") else None,
        mask_level,
        row.get("group") or None,
    )


def _csv(path: Path) -> tuple[list[str], list[TableRow]]:
    """Return the names of all columns, and the rows with all of them."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            read = ([field.strip() for field in line] for line in csv.reader(file, strict=True) if line)
            lines = list(islice(read, _MOST_ROWS + 2))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LayoutError(f"{path}: not a CSV table in UTF-8 ({error}){_other_text(path)}") from error
    except OSError as error:
        raise LayoutError(f"{path}: the table cannot be read: {error.strerror}") from error
    _check_length(path, len(lines) - 1)
    names = [_lowered(name) for name in lines[0]] if lines else []
    for line in lines:
        if len(line) != len(names):
            if cause := separated_by(names):
                raise LayoutError(f"{path}: found the columns {','.join(names)!r}{cause}")
            raise LayoutError(f"{path}: {len(line)} fields under {len(names)} columns in {','.join(line)!r}")
    return names, [dict(zip(names, line, strict=True)) for line in lines[1:]]


def _parquet(path: Path, wanted: Sequence[str]) -> tuple[list[str], list[TableRow]]:
    """Return the names of all columns, and the rows with those that are wanted."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: a Parquet table needs pyarrow: pip install 'differnet[parquet]'"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            _check_length(path, file.metadata.num_rows)
            names = list(file.schema_arrow.names)
            table = file.read(columns=[name for name in names if _lowered(name) in wanted])
    except (ArrowException, OSError) as error:
        raise LayoutError(f"{path}: not a Parquet table that can be read ({error})") from error
    rows = [{_lowered(name): _text(value) for name, value in row.items()} for row in table.to_pylist()]
    return [_lowered(name) for name in names], rows


def _lowered(name: str) -> str:
    """Return the name of a column in small letters where it is one that is read, else as it is."""
    return name.lower() if name.lower() in _COLUMNS else name


def _other_text(path: Path) -> str:
    """Say that a file is text of another kind, to be added to an error."""
    with path.open("rb") as file:
        is_wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    return "; it is UTF-16, as Excel's 'Unicode text' is: save it as CSV in UTF-8" if is_wide else ""


def _check_length(path: Path, rows: int) -> None:
    if rows > _MOST_ROWS:
        raise LayoutError(f"{path}: more than {_MOST_ROWS} rows; split the table")


def _text(value: Any) -> str:
    """Write a value of Parquet as CSV would have it: 1 for 1.0 and true, nothing for null and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value).strip()
