"""API keys: of each the SHA-256 is in a file, and the key itself is shown once. With the standard library alone."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from differnet.data.files import read_text
from differnet.errors import ConfigError

_LINE = re.compile(r"(?P<digest>[0-9a-fA-F]{64})(?:\s+(?P<name>\S.*))?")


def read(path: Path) -> dict[str, str]:
    """Read a file of keys: a line each, the SHA-256 of the key in hexadecimal digits and a name; ``#`` begins a note.

    Returns names by digests. Raises :class:`ConfigError` for anything else, for no key at all, and for a file that
    others may write to.
    """
    text = read_text(path, "a file of keys, as 'differnet make-key NAME' prints them,")
    if path.stat().st_mode & 0o022:
        raise ConfigError(f"{path}: others may write to it, and so let themselves in; chmod 600 {path}")
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ConfigError(
                f"{path}:{number}: a SHA-256 in 64 hexadecimal digits and a name were wanted, as "
                "'differnet make-key NAME' prints them; the key itself must not stand here"
            )
        found[match["digest"].lower()] = match["name"] or f"key {number}"
    if not found:
        raise ConfigError(f"{path}: has no key; 'differnet make-key NAME' makes one")
    return found


def make() -> tuple[str, str]:
    """Return a new key of 256 random bits, and its SHA-256."""
    key = secrets.token_urlsafe(32)
    return key, hashlib.sha256(key.encode()).hexdigest()


def owner(known: Mapping[str, str], key: str) -> str | None:
    """Return whose key it is; every digest is compared, each in constant time."""
    digest, found = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest(), None
    for one, name in known.items():
        if hmac.compare_digest(one, digest):
            found = name
    return found
