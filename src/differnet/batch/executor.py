"""Who computes: this machine, one item after the other, or the tasks of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from differnet.runtime import threads

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Crew:
    """Who does the work; ``ray`` is nothing on this machine alone. A task has the threads of ``--threads``, or one."""

    ray: Any = None
    device: str = "cpu"

    def each(
        self, work: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result | Exception]]:
        """Yield what came of every item by its position, as it comes; on Ray an error that no try went without."""
        if self.ray is None:
            yield from ((index, work(item)) for index, item in enumerate(items))
            return
        from differnet.batch.cluster import session

        yield from session.each(
            self.ray, work, items, threads.limit() or 1, int(self.device.startswith("cuda"))
        )


@contextmanager
def manned(engine: str, address: str | None, device: str) -> Iterator[Crew]:
    """Yield who does the work; raises as :func:`differnet.batch.cluster.session.connected` does for a cluster."""
    if engine != "ray":
        yield Crew(None, device)
        return
    from differnet.batch.cluster import session

    with session.connected(address) as ray:
        yield Crew(ray, device)
