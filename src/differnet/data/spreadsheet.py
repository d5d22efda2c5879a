"""Cells of a table for people: none is a formula, whatever a file or a key is called."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

# A spreadsheet computes what begins with one of these, the wide forms of East Asian fonts included.
_BEGIN = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def cell(value: Any) -> Any:
    """Return what stands in a cell: a text that a spreadsheet would compute gets an apostrophe before it.

    Numbers stay, also those in a text.

    >>> cell("=1+1.png"), cell("-0.5"), cell(-0.5), cell("a=b"), cell(None)
    ("'=1+1.png", '-0.5', -0.5, 'a=b', None)
    """
    if not isinstance(value, str) or not value.startswith(_BEGIN):
        return value
    with suppress(ValueError):
        float(value)
        return value
    return f"'{value}"


def cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of such cells, by the names of their columns."""
    return {name: cell(value) for name, value in row.items()}
