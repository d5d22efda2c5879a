"""Scoring on a cluster, for more images than one machine has time for.

It is a stream of Ray Data: parts of the inventory -> decoding tasks, blocks of squares -> judging actors, which
hold a detector each -> rows, which this process puts together and writes part by part. A worker or machine that is lost
costs what it was at, which Ray has done again elsewhere; when this process is lost, ``--resume`` makes the parts that
are missing. Only what is being worked on is in memory, whatever the number of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from differnet import __version__
from differnet.batch.cluster import inventory, locations, parts, session
from differnet.batch.cluster.inventory import Entry
from differnet.batch.journal import COLUMNS, Row
from differnet.config.sections import Views
from differnet.config.shape import Shape
from differnet.data.square import kind_of
from differnet.errors import ClusterError, ConfigError, NotFittedError
from differnet.runtime import threads

if TYPE_CHECKING:
    from differnet.data.stream import Progress

_WAVE = 2048  # parts that are handed to Ray at a time
_SHARE = 0.9  # of a core for a judging actor; the rest is for decoding


@dataclass(frozen=True)
class Actors:
    """The processes that judge: how many, and the threads, cores and GPUs that each has."""

    count: int
    threads: int
    device: str

    @property
    def gpus(self) -> int:
        """GPUs an actor."""
        return int(self.device.startswith("cuda"))


@dataclass(frozen=True)
class JudgingTask:
    """What an actor and a decoding task need to know.

    ``parcel``: a reference to a :class:`differnet.batch.cluster.worker.Parcel`.
    """

    parcel: Any
    views: Any
    actors: Actors
    canvas: Shape
    frame: Views
    version: str = __version__


def actors_of(ray: Any, device: str, wanted: int | None = None) -> Actors:
    """Return one actor a GPU, or one for so many cores as ``--threads`` says (1), or as many as are asked for."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    each = threads.limit() or 1
    if device.startswith("cuda"):
        count = int(sum(node.get("GPU", 0) for node in alive))
        if not count and wanted is None:
            raise ConfigError(f"--device {device}: the cluster has no GPU; 'cpu' always works")
    else:
        count = int(sum(node.get("CPU", 0) // each for node in alive))
    return Actors(max(1, wanted or count), each, device)


def begin(
    ray: Any, folder: str, entries: Sequence[Entry], made_with: dict[str, Any], size: int, resume: bool
) -> parts.Parts:
    """Begin or go on with a run, whose shards are looked into by tasks: see
    :func:`differnet.batch.cluster.parts.opened`.
    """
    unpack = ray.remote(max_retries=session.RETRIES, num_cpus=1)(inventory.unpacked)

    def over(shards: list[Entry]) -> Iterator[list[Entry]]:
        for start in range(0, len(shards), _WAVE):
            yield from ray.get([unpack.remote(shard) for shard in shards[start : start + _WAVE]])

    return parts.opened(folder, entries, made_with, size, resume, over)


def score(ray: Any, run: parts.Parts, task: JudgingTask, progress: Progress) -> None:
    """Make the parts of ``run`` that are missing; raises :class:`ClusterError` when some still are."""
    missing = run.missing()
    done = run.images - sum(map(run.length, missing))
    progress("judging", done, run.images)
    with session.data_context(ray):
        for start in range(0, len(missing), _WAVE):
            wave = missing[start : start + _WAVE]
            for part, rows in _whole(_blocks(ray, run, wave, task), run):
                run.write(part, rows)
                done += len(rows)
                progress("judging", done, run.images)
    left = run.missing()
    if left:
        raise ClusterError(f"{run.folder}: {len(left)} of {len(run)} parts are missing; --resume makes them")


def _blocks(ray: Any, run: parts.Parts, wave: Sequence[int], task: JudgingTask) -> Iterator[Any]:
    """Yield tables of rows with part and position, in any order."""
    items = [{"part": part, "entries": _to_bytes(run.entries(part))} for part in wave]
    actors = task.actors
    decoders = (
        {"num_cpus": 1.0} if actors.gpus else {"num_cpus": 1 - _SHARE, "concurrency": max(1, actors.count)}
    )
    return (  # type: ignore[no-any-return]
        ray.data.from_items(items, override_num_blocks=len(items))
        .map_batches(_decode, batch_size=1, fn_args=(task.canvas, task.frame), **decoders)
        .map_batches(
            Judges,
            batch_size=None,
            fn_constructor_args=(task,),
            concurrency=actors.count,
            num_cpus=_SHARE if actors.gpus else _SHARE * actors.threads,
            num_gpus=actors.gpus,
        )
        .iter_batches(batch_size=None, batch_format="pyarrow")
    )


def _decode(batch: dict[str, Any], canvas: Shape, frame: Views) -> Iterator[dict[str, Any]]:
    """Turn a part into blocks of squares, a few images at a time."""
    threads.use(1)
    from differnet.batch.cluster.loading import squares

    kind = kind_of(frame)
    together = max(1, session.BLOCK_BYTES // (3 * canvas[0] * canvas[1] * kind.itemsize))
    for part, content in zip(batch["part"], batch["entries"], strict=True):
        some: list[Any] = []
        for position, taken in enumerate(squares(_from_bytes(content), canvas, frame)):
            some.append((part, position, taken))
            if len(some) == together:
                yield _block(some, canvas, kind)
                some = []
        if some:
            yield _block(some, canvas, kind)


def _block(some: Sequence[Any], canvas: Shape, kind: np.dtype[Any]) -> dict[str, Any]:
    nothing = np.zeros((3, *canvas), kind)
    return {
        "part": np.array([part for part, _, _ in some], np.int64),
        "position": np.array([position for _, position, _ in some], np.int64),
        "name": np.array([taken.name for *_, taken in some], object),
        "reason": np.array([taken.reason or "" for *_, taken in some], object),
        "note": np.array([taken.note or "" for *_, taken in some], object),
        "square": np.stack([nothing if taken.square is None else taken.square for *_, taken in some]),
    }


class Judges:
    """An actor: loads the detector once, and turns blocks of squares into rows."""

    def __init__(self, task: JudgingTask) -> None:
        import ray

        from differnet.batch.cluster.worker import Judge

        threads.use(task.actors.threads)
        if task.version != __version__:
            raise ConfigError(
                f"differnet {__version__} on a worker and {task.version} here; install one everywhere"
            )

        self._judge = Judge(ray.get(task.parcel).load(task.actors.device), task.views)

    def __call__(self, block: dict[str, Any]) -> Any:
        """Judge a block; return a ``pyarrow.Table`` of rows with part and position."""
        from differnet.batch.cluster.loading import Taken

        rows = [
            self._judge.row(
                Taken(str(name), None if reason else square, str(reason) or None, str(note) or None)
            )
            for name, reason, note, square in zip(
                *(block[column] for column in ("name", "reason", "note", "square")), strict=True
            )
        ]
        table = parts.to_table(rows)
        return table.append_column("part", [block["part"]]).append_column("position", [block["position"]])


def _whole(blocks: Iterable[Any], run: parts.Parts) -> Iterator[tuple[int, list[Row]]]:
    """Put blocks of rows together to parts; a row that comes twice counts once."""
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
    arrow = locations.pyarrow_or_advice()
    table, sink = inventory.table_of_rows(entries), arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _from_bytes(content: bytes) -> list[Entry]:
    return inventory.entries_in(locations.pyarrow_or_advice().ipc.open_stream(content).read_all())


@dataclass(frozen=True)
class ScoringOrder:
    """What is asked for: ``address`` of a cluster, ``actors`` that judge, images in a ``part``.

    ``fail_on_defect``: a model without a threshold is refused.
    """

    model: Path
    inputs: Sequence[str]
    folder: str
    views: Any
    weights: str | None
    device: str
    address: str | None
    actors: int | None
    part: int
    resume: bool
    fail_on_defect: bool


def score_on_ray(
    order: ScoringOrder, bars: Callable[[], AbstractContextManager[Progress]]
) -> tuple[parts.Counts, float | None]:
    """Judge all inputs into parts; return what came of it, and the threshold. ``bars`` show progress."""
    from differnet.batch.cluster.worker import Parcel
    from differnet.decision.verdict import threshold_for
    from differnet.detector import model_file

    model = model_file.load(order.model)
    promise = threshold_for(model, None if order.views == "auto" else order.views)
    theta = None if promise is None else promise.value
    if order.fail_on_defect and theta is None:
        raise NotFittedError(
            f"--fail-on-defect: {order.model} has no threshold (it was fitted with holdout=0)"
        )
    weights = order.weights or (model.backbone_origin if model.backbone_origin == "random" else None)
    parcel = Parcel.of(order.model, weights)
    made_with = {"rows": 2, "version": __version__, "model": model.file_digest, "views": order.views}
    made_with["device"] = order.device
    with session.connected(order.address) as ray:
        actors = actors_of(ray, order.device, order.actors)
        entries = inventory.entries_of(order.inputs)
        run = begin(ray, order.folder, entries, made_with, order.part, order.resume)
        task = JudgingTask(ray.put(parcel), order.views, actors, model.settings.canvas, model.config.views)
        with bars() as progress:
            score(ray, run, task, progress)
    return run.counts(), theta
