"""Ray, for more images or models than one machine has time for: nothing else of the package knows it.

Scoring is a stream of Ray Data: parts of the inventory -> decoding tasks, blocks of squares -> judging actors, which
hold a detector each -> rows, which this process puts together and writes part by part. A worker or machine that is lost
costs what it was at, which Ray has done again elsewhere; when this process is lost, ``--resume`` makes the parts that
are missing. Only what is being worked on is in memory, whatever the number of images.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from differnet import __version__, errors, inventory, parts, places
from differnet.config.sections import Views
from differnet.errors import ClusterError, ConfigError, DifferNetError, MissingExtraError
from differnet.inventory import Entry
from differnet.journal import Row
from differnet.runtime import threads

if TYPE_CHECKING:  # what decodes needs no torch
    from differnet.data.stream import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")
STORE_BYTES = 400 * 2**20  # of shared memory for blocks between processes, on a machine of its own
_BLOCK_BYTES = 12 * 2**20
_WAVE = 2048  # parts that are handed to Ray at a time
_SHARE = 0.9  # of a core for a judging actor; the rest is for decoding
_RETRIES = 3
_STARTS = 3
_OURS = re.compile(r"differnet\.errors\.(\w+): (.*)")


@dataclass(frozen=True)
class Crew:
    """How work is spread: judging actors, and the threads, cores and GPUs that each has."""

    actors: int
    threads: int
    device: str

    @property
    def gpus(self) -> int:
        """GPUs an actor."""
        return int(self.device.startswith("cuda"))


@dataclass(frozen=True)
class Task:
    """What an actor and a decoding task need to know; ``parcel``: a reference to a :class:`judging.Parcel`."""

    parcel: Any
    views: Any
    crew: Crew
    side: int
    frame: Views
    version: str = __version__


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


def crew_of(ray: Any, device: str, actors: int | None = None) -> Crew:
    """Return one actor a GPU, or one for so many cores as ``--threads`` says (1), or as many as are asked for."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    each = threads.limit() or 1
    if device.startswith("cuda"):
        count = int(sum(node.get("GPU", 0) for node in alive))
        if not count and actors is None:
            raise ConfigError(f"--device {device}: the cluster has no GPU; 'cpu' always works")
    else:
        count = int(sum(node.get("CPU", 0) // each for node in alive))
    return Crew(max(1, actors or count), each, device)


def begin(
    ray: Any, folder: str, entries: Sequence[Entry], made_with: dict[str, Any], size: int, resume: bool
) -> parts.Parts:
    """Begin or go on with a run, whose shards are looked into by tasks: see :func:`differnet.parts.opened`."""
    unpack = ray.remote(max_retries=_RETRIES, num_cpus=1)(inventory.unpacked)

    def over(shards: list[Entry]) -> Iterator[list[Entry]]:
        for start in range(0, len(shards), _WAVE):
            yield from ray.get([unpack.remote(shard) for shard in shards[start : start + _WAVE]])

    return parts.opened(folder, entries, made_with, size, resume, over)


def score(ray: Any, run: parts.Parts, task: Task, progress: Progress) -> None:
    """Make the parts of ``run`` that are missing; raises :class:`ClusterError` when some still are."""
    missing = run.missing()
    done = run.images - sum(map(run.length, missing))
    progress("judging", done, run.images)
    with _context(ray):
        for start in range(0, len(missing), _WAVE):
            wave = missing[start : start + _WAVE]
            for part, rows in _whole(_blocks(ray, run, wave, task), run):
                run.write(part, rows)
                done += len(rows)
                progress("judging", done, run.images)
    left = run.missing()
    if left:
        raise ClusterError(f"{run.folder}: {len(left)} of {len(run)} parts are missing; --resume makes them")


def each(
    ray: Any, work: Callable[[Item], Result], items: Sequence[Item], cores: float = 1, gpus: float = 0
) -> Iterator[tuple[int, Result | Exception]]:
    """Yield the result of every item as it comes, by its position, or the error when a few tries came to nothing."""
    remote = ray.remote(max_retries=_RETRIES, num_cpus=cores, num_gpus=gpus)(_on_worker)
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


def _blocks(ray: Any, run: parts.Parts, wave: Sequence[int], task: Task) -> Iterator[Any]:
    """Yield tables of rows with part and position, in any order."""
    items = [{"part": part, "entries": _to_bytes(run.entries(part))} for part in wave]
    crew = task.crew
    decoders = (
        {"num_cpus": 1.0} if crew.gpus else {"num_cpus": 1 - _SHARE, "concurrency": max(1, crew.actors)}
    )
    return (  # type: ignore[no-any-return]
        ray.data.from_items(items, override_num_blocks=len(items))
        .map_batches(_decode, batch_size=1, fn_args=(task.side, task.frame), **decoders)
        .map_batches(
            Judges,
            batch_size=None,
            fn_constructor_args=(task,),
            concurrency=crew.actors,
            num_cpus=_SHARE if crew.gpus else _SHARE * crew.threads,
            num_gpus=crew.gpus,
        )
        .iter_batches(batch_size=None, batch_format="pyarrow")
    )


def _decode(batch: dict[str, Any], side: int, frame: Views) -> Iterator[dict[str, Any]]:
    """Turn a part into blocks of squares, a few images at a time."""
    threads.use(1)
    from differnet.intake import squares

    together = max(1, _BLOCK_BYTES // (3 * side * side))
    for part, content in zip(batch["part"], batch["entries"], strict=True):
        some: list[Any] = []
        for position, taken in enumerate(squares(_from_bytes(content), side, frame)):
            some.append((part, position, taken))
            if len(some) == together:
                yield _block(some, side)
                some = []
        if some:
            yield _block(some, side)


def _block(some: Sequence[Any], side: int) -> dict[str, Any]:
    nothing = np.zeros((3, side, side), np.uint8)
    return {
        "part": np.array([part for part, _, _ in some], np.int64),
        "position": np.array([position for _, position, _ in some], np.int64),
        "name": np.array([taken.name for *_, taken in some], object),
        "reason": np.array([taken.reason or "" for *_, taken in some], object),
        "square": np.stack([nothing if taken.square is None else taken.square for *_, taken in some]),
    }


class Judges:
    """An actor: loads the detector once, and turns blocks of squares into rows."""

    def __init__(self, task: Task) -> None:
        import ray

        from differnet.judging import Judge

        threads.use(task.crew.threads)
        if task.version != __version__:
            raise ConfigError(
                f"differnet {__version__} on a worker and {task.version} here; install one everywhere"
            )

        self._judge = Judge(ray.get(task.parcel).load(task.crew.device), task.views)

    def __call__(self, block: dict[str, Any]) -> Any:
        """Judge a block; return a ``pyarrow.Table`` of rows with part and position."""
        from differnet.intake import Taken

        rows = [
            self._judge.row(Taken(str(name), None if reason else square, str(reason) or None))
            for name, reason, square in zip(block["name"], block["reason"], block["square"], strict=True)
        ]
        table = parts.to_table(rows)
        return table.append_column("part", [block["part"]]).append_column("position", [block["position"]])


def _whole(blocks: Iterable[Any], run: parts.Parts) -> Iterator[tuple[int, list[Row]]]:
    """Put blocks of rows together to parts; a row that comes twice counts once."""
    from differnet.rows import COLUMNS

    begun: dict[int, dict[int, Row]] = {}
    for block in blocks:
        for row in block.to_pylist():
            part, position = row.pop("part"), row.pop("position")
            found = begun.setdefault(part, {})
            found[position] = {name: row[name] for name in COLUMNS}
            if len(found) == run.length(part):
                del begun[part]
                yield part, [found[index] for index in range(len(found))]


def _to_bytes(entries: Sequence[Entry]) -> bytes:
    """Return part of an inventory as Arrow writes it."""
    arrow = places.pyarrow_or_advice()
    table, sink = inventory.table_of_rows(entries), arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _from_bytes(content: bytes) -> list[Entry]:
    return inventory.entries_in(places.pyarrow_or_advice().ipc.open_stream(content).read_all())


@contextmanager
def _context(ray: Any) -> Iterator[None]:
    """Have Ray Data keep blocks small and say nothing; the settings are this process's and are put back."""
    context = ray.data.DataContext.get_current()
    wanted = {
        "target_max_block_size": _BLOCK_BYTES,
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
        raise MissingExtraError(f"--engine ray needs Ray: {places.PIP}") from error
    places.pyarrow_or_advice()
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
