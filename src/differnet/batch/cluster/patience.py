"""What is read from afar is tried a few times: networks fail for moments."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
TRIES = 3
PAUSE = 0.5  # seconds before the second try, twice as long before the next


def patiently(work: Callable[[], Result]) -> Result:
    """Return what ``work`` returns; the :class:`OSError` of the last try, and at once one of what is not there."""
    for attempt in range(TRIES):
        try:
            return work()
        except FileNotFoundError:
            raise
        except OSError:
            if attempt == TRIES - 1:
                raise
        time.sleep(PAUSE * 2**attempt)
    raise AssertionError("never gets here")
