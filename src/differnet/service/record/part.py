"""Which part an inspection is of: serial, lot, station and free fields, as a sender or the name of a file says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from differnet.errors import ConfigError

NAMES = ("serial", "lot", "station")
MOST_FIELDS = 16
LONGEST_NAME, LONGEST = 40, 200  # characters of the name of a field, and of a value
_LONGEST_FILE = 1000  # characters of the name of a file that are looked at
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part; ``fields``: whatever else is known of it, by name."""

    serial: str | None = None
    lot: str | None = None
    station: str | None = None
    fields: dict[str, str] = field(default_factory=dict)

    def over(self, other: Part) -> Part:
        """Return this part with what it lacks taken from another.

        >>> Part(serial="7").over(Part(serial="8", lot="L"))
        Part(serial='7', lot='L', station=None, fields={})
        """
        named = {name: getattr(self, name) or getattr(other, name) for name in NAMES}
        return replace(self, **named, fields=other.fields | self.fields)


NO_PART = Part()
LONGEST_KIND = 100  # characters of the kind of a defect
_GOOD = ("good", "ok")  # which no kind of defect is


def checked(values: Mapping[str, Any]) -> Part:
    """Return the part of ``serial``, ``lot``, ``station`` and ``fields``, each a text or a number, or nothing.

    Raises :class:`ConfigError` for what is none, has control characters, is longer than 200 characters, or too much:
    at most 16 fields with names of at most 40 characters.

    >>> checked({"serial": 17, "fields": {"fixture": "A"}})
    Part(serial='17', lot=None, station=None, fields={'fixture': 'A'})
    """
    fields = values.get("fields")
    if fields is None:
        fields = {}
    if not isinstance(fields, Mapping):
        raise ConfigError("fields: an object of names and values was wanted")
    if len(fields) > MOST_FIELDS:
        raise ConfigError(f"fields: {len(fields)} of them; at most {MOST_FIELDS} were wanted")
    found = {}
    for name, value in fields.items():
        if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME or _CONTROL.search(name):
            raise ConfigError(
                f"fields: {str(name)[:80]!r}: a name of 1 to {LONGEST_NAME} characters was wanted"
            )
        text = _checked_text(f"fields.{name}", value)
        if text is not None:
            found[name.strip()] = text
    return Part(**{name: _checked_text(name, values.get(name)) for name in NAMES}, fields=found)


def _checked_text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(f"{name}: a text or a number was wanted, and found {type(value).__name__}")
    text = str(value).strip()
    if len(text) > LONGEST or _CONTROL.search(text):
        raise ConfigError(f"{name}: at most {LONGEST} characters without control characters were wanted")
    return text or None


class PartPattern:
    """Finds a part in the name of a file by a regular expression: its named groups are the serial, lot and so on.

    Raises :class:`ConfigError` for an expression that is none, or that names nothing.

    >>> PartPattern("(?P<serial>[^_]+)_(?P<lot>[^_.]+)(_(?P<side>left|right))?").part("A7_L3.png")
    Part(serial='A7', lot='L3', station=None, fields={})
    """

    def __init__(self, text: str) -> None:
        try:
            self._pattern = re.compile(text)
        except re.error as error:
            raise ConfigError(f"--part-pattern {text!r}: no regular expression ({error})") from error
        names = list(self._pattern.groupindex)
        if not names:
            raise ConfigError(
                f"--part-pattern {text!r}: names no group; (?P<serial>...), (?P<lot>...), (?P<station>...) or any "
                "other name was wanted"
            )
        if len(set(names) - set(NAMES)) > MOST_FIELDS:
            raise ConfigError(f"--part-pattern {text!r}: more than {MOST_FIELDS} fields")

    def part(self, name: str | None) -> Part:
        """Return what the name of a file says, its folders left out; nothing where it does not fit."""
        match = self._pattern.search((name or "").replace("\\", "/").rpartition("/")[2][:_LONGEST_FILE])
        if match is None:
            return NO_PART
        cut = {one: _CONTROL.sub(" ", text)[:LONGEST].strip() for one, text in match.groupdict("").items()}
        given = {one: text for one, text in cut.items() if text}
        named = {one: given.pop(one, None) for one in NAMES}
        return Part(**named, fields=given)


def pattern_of(text: str | None) -> PartPattern | None:
    """Return the pattern that was given, if any."""
    return None if text is None else PartPattern(text)


def checked_kind(text: str | None, known: Sequence[str] = ()) -> str | None:
    """Return the kind of a defect in one line, nothing for none; ``known``: the ones that there are, if given.

    Raises :class:`ConfigError` for another, for one of more than 100 characters, and for one that says "good".
    """
    kind = " ".join((text or "").split())
    if not kind:
        return None
    if known and kind not in known:
        raise ConfigError(f"no kind of defect {kind[:LONGEST_KIND]!r}; there are {', '.join(known)}")
    if len(kind) > LONGEST_KIND or _CONTROL.search(kind) or kind.lower() in _GOOD:
        raise ConfigError(
            f"kind of defect {kind[:LONGEST_KIND]!r}: at most {LONGEST_KIND} characters were wanted, and not 'good'"
        )
    return kind
