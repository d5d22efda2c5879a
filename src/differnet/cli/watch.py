"""The command that judges what arrives, without anybody's hand."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from differnet.cli.console import err, guarded, out, printable, side
from differnet.cli.line.options import Modbus, Mqtt, Resend, Webhook, WebhookKey
from differnet.cli.options import (
    AuditShare,
    PartPattern,
    Store,
    StorePasswordFile,
    check_one_of,
    count_of,
    with_password,
)
from differnet.cli.settings_file import Settings
from differnet.errors import MissingExtraError

_DRAIN = {True: 60.0, False: 5.0}  # seconds for what waits to be told, at the end: with --once, without
Source = Annotated[
    str,
    typer.Argument(
        envvar="DIFFERNET_WATCH_SOURCE",
        help="Folder of images, video file, or camera (rtsp://, http://, /dev/video0).",
    ),
]
Model = Annotated[Path, typer.Option("--model", help="Folder of a station, from differnet export.")]
Name = Annotated[str | None, typer.Option(help="Name of the model in the record (the folder unless given).")]
Label = Annotated[
    str | None, typer.Option(help="Name of the source in the record (its absolute path, or URL).")
]
Every = Annotated[int, typer.Option(min=1, help="Judge every n-th frame of a video or camera.")]
Views = Annotated[
    str | None, typer.Option(help="Views an image: a number, or auto to stop when the verdict is certain.")
]
Maps = Annotated[str, typer.Option(help="Heat maps: none, flagged (review and NG) or all.")]
KeepImages = Annotated[
    str, typer.Option(help="Images kept beside the record: none, flagged (review, NG, error) or all.")
]
Images = Annotated[
    Path | None, typer.Option("--images", help="Folder of kept images (beside the file of the record).")
]
MaxAgeDays = Annotated[float | None, typer.Option(help="Forget inspections that are older.")]
MaxBytes = Annotated[int | None, typer.Option(help="Remove the oldest kept images beyond that.")]
Once = Annotated[bool, typer.Option("--once", help="Judge what is there, then stop.")]
OnlyNew = Annotated[
    bool, typer.Option("--only-new", help="Leave alone what was in the folder before the first start.")
]
Settle = Annotated[
    float, typer.Option(min=0.0, help="Seconds without a change after which a file is complete.")
]
Patience = Annotated[float, typer.Option(min=0.0, help="Seconds that a file has to become readable.")]
Drift = Annotated[bool, typer.Option(help="Watch for a change of light, focus or parts.")]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON for each event.")]
_COLOURS = {"OK": "green", "review": "yellow", "NG": "bold red", "error": "magenta"}


def watch(
    source: Source,
    model: Model,
    name: Name = None,
    label: Label = None,
    store: Store = "sqlite:///differnet.sqlite3",
    store_password_file: StorePasswordFile = None,
    every: Every = 1,
    views: Views = None,
    maps: Maps = "none",
    keep_images: KeepImages = "none",
    images: Images = None,
    max_age_days: MaxAgeDays = None,
    max_bytes: MaxBytes = None,
    webhook: Webhook = None,
    webhook_key: WebhookKey = None,
    mqtt: Mqtt = None,
    resend: Resend = False,
    modbus: Modbus = None,
    once: Once = False,
    only_new: OnlyNew = False,
    settle: Settle = 1.0,
    patience: Patience = 10.0,
    drift: Drift = True,
    audit_share: AuditShare = 0.0,
    part_pattern: PartPattern = None,
    json: Json = False,
    settings: Settings = None,  # noqa: ARG001  its callback has read it
) -> None:
    """Judge each image that arrives in a folder, a video or from a camera, once; Ctrl-C finishes the one in hand.

    After --once, exits with 2 for a camera that is not there, with 3 when images or messages are left undone."""
    kept = _which("--maps", maps), _which("--keep-images", keep_images), drift, max_age_days, max_bytes
    with guarded(), Telling(json) as telling:
        label, parts = label or _place(source), _parts()
        given, inspector = _Input(source, label, telling, every, settle, patience), parts.Inspector(model)
        wishes = parts.Wishes(count_of(views), *kept, audit_share, parts.pattern_of(part_pattern))
        record = parts.Store.open(with_password(store, store_password_file), images)
        memory = parts.StoreMemory(record, name or model.resolve().name, label)
        found = given.opened(memory, only_new, inspector.station)
        outgoing = _outgoing(parts, record, memory, (webhook, webhook_key, mqtt, modbus), telling)
        work = parts.Watch(inspector, memory, wishes, telling.tell, outgoing.outbox, outgoing.recorded)
        with _until_signal() as stop, _sending(outgoing, resend, once) as left:
            telling.rows(work, found, stop, once)
        telling.end(work.tally, left, record)
    _end(once, found, work.tally, left)


def _outgoing(parts: Any, record: Any, memory: Any, told: tuple[Any, ...], telling: Telling) -> Any:
    """Return what tells others: ``told`` are a webhook, its key, a broker and a controller."""
    wanted = parts.Wanted(*told, memory.watch[:12])
    return parts.opened(record, memory.watch, wanted, telling.tell, [memory.model])


def _end(once: bool, found: Any, tally: Any, left: dict[str, int]) -> None:
    """Exit as what came of it says, where it was to end by itself."""
    if once and getattr(found, "is_unreachable", False):
        raise typer.Exit(2)
    if once and (tally["error"] or any(left.values())):
        raise typer.Exit(3)


def _parts() -> Any:
    """Import what does the work; raises :class:`MissingExtraError` where the database's packages are missing."""
    from types import SimpleNamespace

    from differnet.runtime.inspector import Inspector

    try:
        from differnet.service.delivery.outgoing import Wanted, opened
        from differnet.service.record.part import pattern_of
        from differnet.service.record.store import Store
        from differnet.service.watch.loop import Watch, Wishes
        from differnet.service.watch.memory import StoreMemory
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"a watch needs {error.name}: pip install 'differnet[watch]'") from error
    known = (Store, StoreMemory, Wanted, Watch, Wishes, Inspector, opened, pattern_of)
    return SimpleNamespace(**{one.__name__: one for one in known})


def _which(option: str, value: str) -> str:
    return check_one_of(option, value, ("none", "flagged", "all"))


def _place(source: str) -> str:
    from differnet.service.delivery.addresses import without_password

    return without_password(source) if "://" in source else str(Path(source).resolve())


class _Input:
    """Where images come from, and how: a source that is none is refused when this is made."""

    def __init__(
        self, source: str, label: str, telling: Telling, every: int, settle: float, patience: float
    ) -> None:
        from differnet.service.watch.sources import kind_of

        self.kind = kind_of(source)
        self.source, self.label, self.telling = source, label, telling
        self.every, self.settle, self.patience = every, settle, patience

    def opened(self, memory: Any, only_new: bool, scale: Any) -> Any:
        """Open it for a watch with that ``memory``; ``scale``: which level is white beyond eight bits."""
        from differnet.service.watch.folder import Folder
        from differnet.service.watch.video import Camera, Video

        tell = self.telling.tell
        if only_new and self.kind != "folder":
            raise typer.BadParameter("--only-new is for folders")
        if self.kind == "camera":
            return Camera(self.source, self.label, tell, self.every)
        if self.kind == "video":
            return Video(Path(self.source), memory, tell, self.every)
        return Folder(
            Path(self.source), self.label, memory, tell,
            settle=self.settle, patience=self.patience, only_new=only_new, scale=scale,
        )  # fmt: skip


@contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """Give what is set by the first Ctrl-C or SIGTERM; a second Ctrl-C breaks off."""
    from differnet.service.watch.file_events import ask_for_leases

    stop = threading.Event()

    def on_signal(number: int, _frame: Any) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    ask_for_leases()
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _sending(outgoing: Any, resend: bool, once: bool) -> Iterator[dict[str, int]]:
    """Send while the block runs, and for a while afterwards; what is left then is in the dictionary that it gives."""
    left: dict[str, int] = {}
    outgoing.start(resend)
    try:
        yield left
    finally:
        left.update(outgoing.close(_DRAIN[once]))


class Telling:
    """What a person, or with ``as_json`` a program, is told: inspections on stdout, other things on stderr or there."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._lock = threading.Lock()
        is_shown = side.is_terminal and not side.quiet and not as_json
        self._status = side.status("waiting for images") if is_shown else None
        self._count = 0

    def __enter__(self) -> Telling:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def rows(self, work: Any, found: Any, stop: threading.Event, once: bool) -> None:
        """Let a watch work, and tell of each inspection that it recorded."""
        for row in work.run(found, stop, once):
            self.row(row, found.left, work.drift)

    def row(self, row: Any, left: int | None, drift: str | None) -> None:
        """Tell of an inspection that was recorded."""
        from differnet.decision.words.sentences import of_limit
        from differnet.service.delivery.outbox import document

        if self.as_json:
            self._line({"event": "inspection", **document(row)})
            return
        self._count += 1
        verdict = row.verdict or "-"
        colour = _COLOURS.get(verdict, "default")
        said = of_limit(row.verdict, row.score, row.threshold, row.review_threshold)
        figures = "" if said is None else f" {said}"
        figures += "" if row.score is None else f", score {row.score:.4g}"
        figures += "" if row.p_value is None else f", p {row.p_value:.3g}"
        text = f"{row.time.astimezone():%H:%M:%S} [{colour}]{verdict:<6}[/]{figures} "
        out.print(text + _plain(row.error or row.file_name or ""))
        if self._status is not None:
            waiting = "" if left is None else f", {left} waiting"
            self._status.update(f"{self._count} judged{waiting}{', drift' if drift else ''}")

    def tell(self, event: str, text: str) -> None:
        """Tell of anything else; from any thread."""
        if self.as_json:
            self._line({"event": event, "text": text})
        else:
            err.print(f"[yellow]{event}:[/] {_plain(text)}")

    def end(self, tally: Any, left: dict[str, int], record: Any) -> None:
        """Tell what was done, and let go of the record."""
        record.close()
        counts = {kind: tally[kind] for kind in ("OK", "review", "NG", "error", "none") if tally[kind]}
        if self.as_json:
            self._line({"event": "stopped", "inspections": tally.total(), **counts, "undelivered": left})
            return
        said = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing arrived"
        side.print(f"stopped: {tally.total()} judged ({said})")
        for destination, count in left.items():
            if count:
                side.print(f"{_plain(destination)}: {count} to be delivered at the next start")

    def _line(self, document: dict[str, Any]) -> None:
        with self._lock:
            sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
            sys.stdout.flush()


def _plain(text: str) -> str:
    return printable(text).replace("[", r"\[")
