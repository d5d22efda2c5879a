"""The command that judges what arrives, without anybody's hand."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from differnet.console import guarded
from differnet.errors import MissingExtraError
from differnet.options import count_of
from differnet.watch_options import (
    Drift,
    Every,
    Images,
    Json,
    KeepImages,
    Label,
    Maps,
    MaxAgeDays,
    MaxBytes,
    Model,
    Mqtt,
    Name,
    Once,
    OnlyNew,
    Patience,
    Resend,
    Settle,
    Source,
    Store,
    Views,
    Webhook,
    WebhookKey,
)
from differnet.watch_telling import Telling

_DRAIN = {True: 60.0, False: 5.0}  # seconds for what waits to be told, at the end: with --once, without


def watch(
    source: Source,
    model: Model,
    name: Name = None,
    label: Label = None,
    store: Store = "sqlite:///differnet.sqlite3",
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
    once: Once = False,
    only_new: OnlyNew = False,
    settle: Settle = 1.0,
    patience: Patience = 10.0,
    drift: Drift = True,
    json: Json = False,
) -> None:
    """Judge each image that arrives in a folder, a video or from a camera, once; Ctrl-C finishes the one in hand.

    After --once, exits with 3 when images could not be judged or messages are still to be delivered.
    """
    with guarded(), Telling(json) as telling:
        from differnet.service.watch.sources import kind_of

        parts = _parts()
        kind_of(source)  # refuse at once
        wishes = parts.Wishes(
            count_of(views),
            _which("--maps", maps),
            _which("--keep-images", keep_images),
            drift,
            max_age_days,
            max_bytes,
        )
        place = label or _place(source)
        inspector, record = parts.Inspector(model), parts.Store.open(store, images)
        memory = parts.StoreMemory(record, name or model.resolve().name, place)
        found = _input(source, place, memory, telling, every, settle, patience, only_new)
        destinations = _destinations(webhook, webhook_key, mqtt, memory.watch)
        outbox = parts.Outbox(record, memory.watch, [one.name for one in destinations])
        senders = [parts.Sender(outbox, one, telling.tell) for one in destinations]
        work = parts.Watch(inspector, memory, wishes, telling.tell, outbox, senders)
        with _until_signal() as stop, _sending(senders, outbox, resend, once, telling) as left:
            for row in work.run(found, stop, once):
                telling.row(row, found.left, work.drift)
        telling.end(work.tally, left)
        record.close()
    if once and (work.tally["error"] or any(left.values())):
        raise typer.Exit(3)


def _parts() -> Any:
    """Import what does the work; raises :class:`MissingExtraError` where the database's packages are missing."""
    from types import SimpleNamespace

    from differnet.runtime.inspector import Inspector

    try:
        from differnet.service.record.store import Store
        from differnet.service.watch.loop import Watch, Wishes
        from differnet.service.watch.memory import StoreMemory
        from differnet.service.watch.notify import Sender
        from differnet.service.watch.outbox import Outbox
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"a watch needs {error.name}: pip install 'differnet[watch]'") from error
    known = (Sender, Outbox, Store, StoreMemory, Watch, Wishes, Inspector)
    return SimpleNamespace(**{one.__name__: one for one in known})


def _which(option: str, value: str) -> str:
    if value not in ("none", "flagged", "all"):
        raise typer.BadParameter(f"{option} {value}: none, flagged or all was wanted")
    return value


def _place(source: str) -> str:
    from differnet.service.watch.sources import without_password

    return without_password(source) if "://" in source else str(Path(source).resolve())


def _input(
    source: str,
    label: str,
    memory: Any,
    telling: Telling,
    every: int,
    settle: float,
    patience: float,
    only_new: bool,
) -> Any:
    from differnet.service.watch.folder import Folder
    from differnet.service.watch.sources import kind_of
    from differnet.service.watch.video import Camera, Video

    kind = kind_of(source)
    if only_new and kind != "folder":
        raise typer.BadParameter("--only-new is for folders")
    if kind == "camera":
        return Camera(source, label, telling.tell, every)
    if kind == "video":
        return Video(Path(source), memory, telling.tell, every)
    return Folder(Path(source), label, memory, telling.tell, settle, patience, only_new)


def _destinations(webhook: str | None, key: Path | None, mqtt: str | None, watch: str) -> list[Any]:
    from differnet.service.watch.notify import Mqtt, Webhook

    found: list[Any] = []
    if webhook is not None:
        secret = os.environ.get("DIFFERNET_WEBHOOK_KEY", "") if key is None else key.read_text("utf-8")
        found.append(Webhook(webhook, secret.strip().encode()))
    if mqtt is not None:
        found.append(Mqtt(mqtt, f"differnet-{watch[:12]}", os.environ.get("DIFFERNET_MQTT_PASSWORD")))
    return found


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
def _sending(
    senders: list[Any], outbox: Any, resend: bool, once: bool, telling: Telling
) -> Iterator[dict[str, int]]:
    """Send while the block runs, and for a while afterwards; what is left then is in the dictionary that it gives."""
    left: dict[str, int] = {}
    for sender in senders:
        name = sender.destination.name
        outbox.begin(name, resend)
        given_up = outbox.counts(name)[1]
        if given_up:
            telling.tell("undelivered", f"{name}: {given_up} were given up before; --resend sends them again")
        sender.start()
    try:
        yield left
    finally:
        for sender in senders:
            left[sender.destination.name] = sender.drain(_DRAIN[once])
            sender.finish()
