"""A connection to Ray, and work spread over it: nothing else of the package starts it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from differnet import errors
from differnet.batch.cluster import locations
from differnet.errors import ClusterError, DifferNetError, MissingExtraError
from differnet.runtime import threads

Item = TypeVar("Item")
Result = TypeVar("Result")
STORE_BYTES = 400 * 2**20  # of shared memory for blocks between processes, on a machine of its own
BLOCK_BYTES = 12 * 2**20  # of what one process hands to another
RETRIES = 3  # of a task whose worker was lost
_STARTS = 3
_OURS = re.compile(r"differnet\.errors\.(\w+): (.*)")


@contextmanager
def connected(address: str | None = None) -> Iterator[Any]:
    """Yield Ray, connected to the cluster at ``address`` (``auto``: the one on this machine), or to one of its own.

    One of its own listens on 127.0.0.1 (where Ray was not imported before), has no dashboard, and ends with the block.
    Raises :class:`MissingExtraError` without Ray, and :class:`ClusterError` when there is no cluster.
    """
    if address is None:  # Ray then takes 127.0.0.1 for its address and listens there alone
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    ray = _import_ray()
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    own = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    was_there = ray.is_initialized()
    try:
        if not was_there and address:
            ray.init(address, **options)
        elif not was_there:
            _start(ray, options | own)
    except Exception as error:  # Ray raises whatever it stumbles over
        where = f"no Ray cluster at {address}" if address else "Ray could not be started"
        raise ClusterError(f"{where} ({str(error).partition(chr(10))[0]}); see docs/scale.md") from error
    try:
        yield ray
    except ray.exceptions.RayError as error:
        raise _ours(error) from error
    finally:
        if not was_there:
            ray.shutdown()


def _start(ray: Any, options: dict[str, Any]) -> None:
    """Start Ray here, anew where a busy machine was too slow for the 15 seconds that it gives its own processes."""
    import psutil  # Ray brings it along

    for attempt in range(_STARTS):
        before = set(psutil.Process().children())
        try:
            ray.init("local", **options)
            return
        except Exception:
            ray.shutdown()
            for child in set(psutil.Process().children()) - before:
                child.kill()
                child.wait(10)
            if attempt == _STARTS - 1:
                raise


def each(
    ray: Any, work: Callable[[Item], Result], items: Sequence[Item], cores: float = 1, gpus: float = 0
) -> Iterator[tuple[int, Result | Exception]]:
    """Yield the result of every item as it comes, by its position, or the error when a few tries came to nothing."""
    remote = ray.remote(max_retries=RETRIES, num_cpus=cores, num_gpus=gpus)(_on_worker)
    shared = ray.put(work)
    waiting = {remote.remote(shared, max(1, int(cores)), item): index for index, item in enumerate(items)}
    while waiting:
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        index = waiting.pop(ready)
        try:
            yield index, ray.get(ready)
        except ray.exceptions.RayError as error:
            yield index, _ours(error)


def _on_worker(work: Callable[[Item], Result], cores: int, item: Item) -> Result:
    threads.use(cores)
    return work(item)


@contextmanager
def data_context(ray: Any) -> Iterator[None]:
    """Have Ray Data keep blocks small and say nothing; the settings are this process's and are put back."""
    context = ray.data.DataContext.get_current()
    wanted = {
        "target_max_block_size": BLOCK_BYTES,
        "enable_progress_bars": False,
        "print_on_execution_start": False,
    }
    before = {name: getattr(context, name) for name in wanted if hasattr(context, name)}
    data_log = logging.getLogger("ray.data")
    level = data_log.level
    data_log.setLevel(logging.ERROR)
    try:
        for name in before:
            setattr(context, name, wanted[name])
        yield
    finally:
        data_log.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)


def _import_ray() -> Any:
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported over the network
        "RAY_BACKEND_LOG_LEVEL": "fatal",  # what it says on stderr of arguments that Ray Data keeps
        "RAY_worker_niceness": "0",  # as the local engine has; workers would make way for everything else
        "RAY_idle_worker_killing_time_threshold_ms": "600000",  # decoding waits longer than a second, and starts slowly
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError(f"--engine ray needs Ray: {locations.PIP}") from error
    locations.pyarrow_or_advice()
    return ray


def _ours(error: BaseException) -> Exception:
    """Return the error of differnet that Ray wrapped, or one that says what Ray said."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, DifferNetError | OSError) and not hasattr(one, "cause"):
            return one
        waiting += [getattr(one, "cause", None), one.__cause__, one.__context__]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for kind, text in reversed(
        _OURS.findall(str(error))
    ):  # of an actor that could not begin there is the text alone
        found = getattr(errors, kind, None)
        if isinstance(found, type) and issubclass(found, DifferNetError):
            return found(text)
    return ClusterError(f"Ray gave the work up: {lines[-1] if lines else type(error).__name__}")
