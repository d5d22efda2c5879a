"""API keys: of each the SHA-256 is in a file, and the key itself is shown once. With the standard library alone."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from differnet.data.files import read_text
from differnet.errors import ConfigError
from differnet.service.http.access.roles import ROLES, Caller, Role

_LINE = re.compile(r"(?P<digest>[0-9a-fA-F]{64})(?:\s+roles=(?P<roles>\S*))?(?:\s+(?P<name>\S.*))?")


def read(path: Path) -> tuple[dict[str, Caller], list[str]]:
    """Read a file of keys: a line each, the SHA-256 in hexadecimal digits, ``roles=send,confirm`` and a name.

    ``#`` begins a note. A key without roles may do everything, as keys could before there were any. Returns callers by
    digests, and the names of those without roles. Raises :class:`ConfigError` for anything else, for no key at all, and
    for a file that others may write to.
    """
    text = read_text(path, "a file of keys, as 'differnet make-key NAME' prints them,")
    if path.stat().st_mode & 0o022:
        raise ConfigError(f"{path}: others may write to it, and so let themselves in; chmod 600 {path}")
    found: dict[str, Caller] = {}
    without = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ConfigError(
                f"{path}:{number}: a SHA-256 in 64 hexadecimal digits, roles=... and a name were wanted, as "
                "'differnet make-key NAME --role send' prints them; the key itself must not stand here"
            )
        digest, name = match["digest"].lower(), match["name"] or f"key {number}"
        if digest in found:
            raise ConfigError(
                f"{path}:{number}: the key of {found[digest].name} again; remove one of the lines"
            )
        if match["roles"] is None:
            without.append(name)
            found[digest] = Caller(name)
        else:
            found[digest] = Caller(name, checked_roles(match["roles"].split(","), f"{path}:{number}: "))
    if not found:
        raise ConfigError(f"{path}: has no key; 'differnet make-key NAME' makes one")
    return found, without


def checked_roles(names: Iterable[str], where: str = "") -> frozenset[Role]:
    """Return the roles of these names; raises :class:`ConfigError` for one that there is not."""
    found = set()
    for name in names:
        role = next((one for one in ROLES if one == name), None)
        if role is None:
            raise ConfigError(f"{where}no role {name!r}; there are {', '.join(ROLES)}")
        found.add(role)
    return frozenset(found)


def line_of(digest: str, owner: str, roles: Iterable[Role]) -> str:
    """Return the line of a key for the file; raises :class:`ConfigError` for a name that would be another line."""
    if not owner.strip() or len(owner.splitlines()) > 1:
        raise ConfigError(f"{owner!r}: a name in one line was wanted")
    return f"{digest} roles={','.join(one for one in ROLES if one in set(roles))} {owner.strip()}"


def make() -> tuple[str, str]:
    """Return a new key of 256 random bits, and its SHA-256."""
    key = secrets.token_urlsafe(32)
    return key, hashlib.sha256(key.encode()).hexdigest()


def owner(known: Mapping[str, Caller], key: str) -> Caller | None:
    """Return whose key it is; every digest is compared, each in constant time."""
    digest, found = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest(), None
    for one, caller in known.items():
        if hmac.compare_digest(one, digest):
            found = caller
    return found
