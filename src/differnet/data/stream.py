"""Images as a stream: read ahead, in order, with progress and the name of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from differnet.errors import NumericalError

Progress = Callable[[str, int, int], None]
_AHEAD = 2
In = TypeVar("In")
Out = TypeVar("Out")


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def look_ahead(work: Callable[[In], Out], items: Iterable[In]) -> Iterator[tuple[In, Out]]:
    """Yield each item with its result, in order, as soon as it is there; a thread goes on with the next two.

    An exception, of ``work`` or of ``items`` itself, comes where its item's turn is. A source that fills one buffer
    again and again must yield copies.
    """
    source = iter(items)

    def step() -> tuple[In, Out] | None:
        for item in source:
            return item, work(item)
        return None

    pool = ThreadPoolExecutor(1, "differnet-decode")
    try:
        waiting = deque(pool.submit(step) for _ in range(_AHEAD))
        while (found := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(step))
            yield found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def name_of(image: object) -> str:
    """Return a path as text, or say that the image came without one."""
    return (
        str(image) if not hasattr(image, "shape") and not hasattr(image, "mode") else "an array or PIL image"
    )


@contextmanager
def naming(image: object) -> Iterator[None]:
    """Have a :class:`NumericalError` of the block say which image it came from."""
    try:
        yield
    except NumericalError as error:
        raise NumericalError(f"{name_of(image)}: {error}") from error
