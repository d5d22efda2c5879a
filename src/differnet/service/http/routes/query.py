"""Parameters that a route does not know are refused: one that is misspelt would else be left out in silence."""

from __future__ import annotations

import difflib
from typing import Any

from fastapi import HTTPException, Request


def check_known(request: Request) -> None:
    """Answer 422 for a parameter that the route of the request does not know, with the nearest that it does."""
    given = list(request.query_params)
    if not given:
        return
    known = _query_names(request.scope["route"].dependant)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            there = f"there are: {', '.join(known)}" if known else "there are none"
            said = f"did you mean {near[0]!r}?" if near else there
            raise HTTPException(422, f"query.{name[:100]}: no such parameter; {said}")


def _query_names(dependant: Any) -> list[str]:
    """Return the parameters of a route, also those of what it depends on."""
    own = [one.alias for one in dependant.query_params]
    return own + [name for one in dependant.dependencies for name in _query_names(one)]
