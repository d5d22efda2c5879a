"""What a key may do: each request needs a role, and what no rule names needs that of an administrator."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["send", "confirm", "engineer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
# What each role may do beside its own.
_INCLUDES: dict[Role, frozenset[Role]] = {
    "send": frozenset({"send"}),
    "confirm": frozenset({"confirm"}),
    "engineer": frozenset({"send", "confirm", "engineer"}),
    "admin": frozenset(ROLES),
}
_OPEN = re.compile(r"/|/part|/shift|/page/[^/]*|/page/languages/[^/]*|/health|/ready")
_MODEL = r"/v1/models/[^/]+"
# Method, path, and the role that it needs; none: any key will do.
_RULES: tuple[tuple[str, str, Role | None], ...] = (
    ("GET", r"/metrics|/openapi\.json|/v1/models", None),
    ("POST", rf"{_MODEL}/inspect(-batch)?", "send"),
    ("GET", r"/events|/v1/inspections(/[^/]+(/image|/map)?)?", "confirm"),
    ("GET", rf"{_MODEL}/(rates|counts|good-part)", "confirm"),
    ("PUT", r"/v1/inspections/[^/]+/operator", "confirm"),
    ("POST", rf"{_MODEL}/(rates/preview|drift/reset)", "engineer"),
    ("PUT", rf"{_MODEL}/rates", "engineer"),
    ("PUT", _MODEL, "engineer"),
    ("DELETE", rf"{_MODEL}(/shadow)?", "engineer"),
    ("POST", rf"{_MODEL}/rollback", "engineer"),
    ("GET", rf"/v1/versions|/v1/model-folders|{_MODEL}/(versions|differences)", "engineer"),
    ("GET", rf"{_MODEL}/(good|labelled)-images", "engineer"),
    ("GET", rf"{_MODEL}/(review|escapes|defects|shifts|scores|rates/history)", "confirm"),
    ("GET", r"/v1/(defect-classes|export/inspections\.(csv|parquet))", "confirm"),
    ("GET", r"/v1/inspections/[^/]+/(thumbnail|changes)", "confirm"),
)


@dataclass(frozen=True)
class Caller:
    """Whose key it is, and what it may do."""

    name: str
    roles: frozenset[Role] = frozenset({"admin"})

    def may(self, role: Role) -> bool:
        """Whether one of its roles is ``role`` or includes it.

        >>> Caller("line 3", frozenset({"engineer"})).may("confirm")
        True
        """
        return any(role in _INCLUDES[one] for one in self.roles)


def is_open(path: str) -> bool:
    """Whether a path needs no key: the page, which holds no data, and what is asked by whoever restarts a service."""
    return _OPEN.fullmatch(path) is not None


def needed(method: str, path: str) -> Role | None:
    """Return the role that a request needs, nothing where any key will do.

    >>> needed("PUT", "/v1/models/bolts/rates"), needed("GET", "/v1/models"), needed("GET", "/v1/other")
    ('engineer', None, 'admin')
    """
    method = "GET" if method == "HEAD" else method
    for known, pattern, role in _RULES:
        if method == known and re.fullmatch(pattern, path):
            return role
    return "admin"
