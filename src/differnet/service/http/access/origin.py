"""Is a request meant for this service, and does it come from a page of its own.

A browser sends ``Host``, and of a page of another origin ``Origin`` or ``Sec-Fetch-Site``, none of which a page can
forge. An origin is scheme, host and port: a page at another port of this machine is another's.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import Scope

from differnet.errors import ConfigError

_LOCAL = ("127.0.0.1", "localhost", "::1")
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]/@\s]+)(?::(?P<port>\d{1,5}))?")
_PORTS = {"http": 80, "https": 443}
Origin = tuple[str, str, int]  # scheme, host, port


class Origins:
    """By which names a service may be called, and pages of which origins may use it beside its own.

    ``hosts``: names beside those of this machine. ``others``: origins, for instance that of a reverse proxy that has
    the certificate. Raises :class:`ConfigError` for what is no origin.
    """

    def __init__(self, hosts: Iterable[str] = (), others: Iterable[str] = ()) -> None:
        self._hosts = frozenset(name.lower().strip("[]") for name in (*_LOCAL, *own_names(), *hosts))
        self._others = frozenset(_checked(text) for text in others)
        self._hosts |= {host for _, host, _ in self._others}

    def is_ours(self, scope: Scope, headers: Headers) -> bool:
        """Whether ``Host`` names this service: by one of its names, or by the address that was connected to."""
        name = host_of(headers.get("host", ""))
        return name is not None and (name in self._hosts or name == (scope.get("server") or ("",))[0])

    def is_foreign(self, scope: Scope, headers: Headers) -> bool:
        """Whether a page of another origin asks; following a link to the operator's page is not asking."""
        given = headers.get("origin")
        if given is not None and _parsed(given) in self._others:
            return False
        site = headers.get("sec-fetch-site")
        if site in ("same-origin", "none"):
            return False
        if site is not None:
            visits = (
                headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            )
            return not (visits and given is None and scope["method"] == "GET" and scope["path"] == "/")
        own = _parsed(f"{scope.get('scheme', 'http')}://{headers.get('host', '')}")
        return given is not None and (own is None or _parsed(given) != own)


def own_names() -> tuple[str, ...]:
    """Return the names by which this machine calls itself, and by which neighbours find it by multicast DNS."""
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return tuple(one for one in (name, short, f"{short}.local") if short)


def host_of(header: str) -> str | None:
    """Return the name in a ``Host`` header without its port; nothing where it is none.

    >>> host_of("Line-3.local:8000"), host_of("[::1]:8000"), host_of("a:b:c")
    ('line-3.local', '::1', None)
    """
    match = _HOST.fullmatch(header.strip())
    return None if match is None else match["name"].strip("[]").lower()


def _parsed(text: str) -> Origin | None:
    """Return scheme, host and port of an origin; nothing for "null", a path, or another scheme."""
    scheme, separator, rest = text.strip().lower().partition("://")
    match = _HOST.fullmatch(rest)
    if not separator or scheme not in _PORTS or match is None:
        return None
    return scheme, match["name"].strip("[]"), int(match["port"] or _PORTS[scheme])


def _checked(text: str) -> Origin:
    found = _parsed(text.rstrip("/"))
    if found is None:
        raise ConfigError(f"--allow-origin {text}: https://HOST or https://HOST:PORT was wanted")
    return found
