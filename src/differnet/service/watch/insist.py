"""What is asked of the record is asked until it answers: a database that is away for a while ends no watch."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TypeVar

from differnet.errors import StoreError, in_a_line
from differnet.service.record.inspection import Tell

Result = TypeVar("Result")
_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds between two attempts, the last for ever


def insist(what: Callable[[], Result], stop: Event, tell: Tell) -> Result:
    """Return what ``what`` returns, as soon as the record lets it; each failure is told.

    After ``stop`` the last :class:`StoreError` or :class:`OSError` is raised.
    """
    attempt = 0
    while True:
        try:
            return what()
        except (StoreError, OSError) as error:
            pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
            if stop.is_set():
                raise
            tell("record", f"{in_a_line(error)}; trying again in {pause:g} s")
            if stop.wait(pause):
                raise
            attempt += 1
