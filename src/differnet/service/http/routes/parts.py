"""Which part an image is of, as its sender says: in headers, in the fields of a form, or in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Header, HTTPException

from differnet.errors import ConfigError
from differnet.service.record.part import NAMES, NO_PART, Part, checked

_LONGEST = 2000  # characters of a header, in which each may stand as %XX
Text = Annotated[str | None, Header(max_length=_LONGEST, description="UTF-8, or %XX as in an address.")]
Json = Annotated[str | None, Header(max_length=8 * _LONGEST, description="An object as JSON, or with %XX.")]
SCHEMA: dict[str, Any] = {
    **{name: {"type": ["string", "null"], "maxLength": 200} for name in NAMES},
    "fields": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
}
FORM_SCHEMA: dict[str, Any] = {
    **{name: {"type": "string", "maxLength": 200} for name in NAMES},
    "fields": {"type": "string", "description": "An object as JSON."},
}


def from_headers(
    x_part_serial: Text = None,
    x_part_lot: Text = None,
    x_part_station: Text = None,
    x_part_fields: Json = None,
) -> Part:
    """Return the part that the headers of a request name; answers 422 for what is none."""
    given = {"serial": x_part_serial, "lot": x_part_lot, "station": x_part_station, "fields": x_part_fields}
    return part_of({name: _decoded(name, text) for name, text in given.items() if text is not None})


def part_of(values: Mapping[str, Any]) -> Part:
    """Return the part that ``serial``, ``lot``, ``station`` and ``fields`` name, the last also as JSON; answers 422."""
    found = {name: values[name] for name in (*NAMES, "fields") if values.get(name) is not None}
    if not found:
        return NO_PART
    try:
        if isinstance(found.get("fields"), str):
            found["fields"] = json.loads(found["fields"] or "{}")
        return checked(found)
    except ConfigError as error:
        raise HTTPException(422, str(error)) from error
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, f"fields: no JSON ({error}); an object was wanted") from error


def parts_of(text: Any, count: int) -> list[Part]:
    """Return the parts of a batch from a JSON list of as many objects, or as many of which nothing is known."""
    if text is None:
        return [NO_PART] * count
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise HTTPException(422, f"parts: no JSON ({error}); a list of objects was wanted") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found) or len(found) != count:
        raise HTTPException(422, f"parts: a list of {count} objects, one for each image, was wanted")
    return [part_of(one) for one in found]


def _decoded(name: str, text: str) -> str:
    with suppress(UnicodeError):  # then it is Latin-1, as headers are by their standard
        text = text.encode("latin-1").decode()
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise HTTPException(422, f"X-Part-{name.capitalize()}: %XX of UTF-8 was wanted") from error
