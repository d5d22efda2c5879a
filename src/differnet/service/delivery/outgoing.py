"""All who are told of the inspections of one record: what waits for them is written with each row, and sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from differnet.data.files import read_text
from differnet.service.delivery.modbus import Modbus
from differnet.service.delivery.notify import Destination, Mqtt, Sender, Webhook
from differnet.service.delivery.outbox import Outbox
from differnet.service.record.inspection import Inspection, Tell
from differnet.service.record.store import Store

SERVE = hashlib.sha256(b"serve").hexdigest()  # by what the outbox knows the messages of a service


class Wanted(NamedTuple):
    """Who is to be told, as the options of a command have it.

    ``key``: file with the key of the webhook; ``modbus``: address to listen at; ``client``: by what the broker knows
    the sender, another one for each that runs, of 12 characters.
    """

    webhook: str | None = None
    key: Path | None = None
    mqtt: str | None = None
    modbus: str | None = None
    client: str = ""

    @property
    def is_any(self) -> bool:
        """Whether anybody is."""
        return any(one is not None for one in (self.webhook, self.mqtt, self.modbus))


class Outgoing:
    """Webhook, MQTT and Modbus of a service or a watch, each where it is wanted; for many threads.

    ``name``: by what the outbox knows its messages. ``modbus`` is open when this is made.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        destinations: Sequence[Destination],
        tell: Tell,
        modbus: Modbus | None = None,
    ) -> None:
        self.outbox = Outbox(store, name, [one.name for one in destinations])
        self.senders = [Sender(self.outbox, one, tell) for one in destinations]
        self.modbus, self.tell = modbus, tell

    def put(self, connection: Connection, row: Inspection) -> None:
        """Write what is to be told of a row, in the transaction that records it."""
        self.outbox.put(connection, row)

    def recorded(self, row: Inspection) -> None:
        """Send what waits, since a row was recorded."""
        if self.modbus is not None:
            self.modbus.take(row)
        for sender in self.senders:
            sender.wake()

    def start(self, resend: bool = False) -> None:
        """Send what is left from before, and from now on; ``resend``: also what was given up."""
        for sender in self.senders:
            name = sender.destination.name
            self.outbox.begin(name, resend)
            given_up = self.outbox.counts(name)[1]
            if given_up:
                self.tell(
                    "undelivered", f"{name}: {given_up} were given up before; --resend sends them again"
                )
            sender.start()

    def close(self, seconds: float) -> Mapping[str, int]:
        """Send for so many seconds at most, then end; return what is left for each destination."""
        left: dict[str, int] = {}
        for sender in self.senders:
            left[sender.destination.name] = sender.drain(seconds)
            sender.finish()
        if self.modbus is not None:
            self.modbus.close()
        return left


def opened(
    store: Store,
    name: str,
    wanted: Wanted,
    tell: Tell,
    models: Sequence[str],
) -> Outgoing:
    """Return who is told, with Modbus listening.

    ``models``: their names, in the order by which Modbus numbers them. Raises :class:`ConfigError` for what cannot be
    reached like that, :class:`MissingExtraError`, and :class:`OSError` for a port that cannot be had.
    """
    found = _destinations(wanted)
    server = None if wanted.modbus is None else Modbus(wanted.modbus, models)
    if server is not None:
        server.open()
    return Outgoing(store, name, found, tell, server)


def _destinations(wanted: Wanted) -> list[Destination]:
    """Return who is told; secrets come from files and the environment."""
    found: list[Destination] = []
    if wanted.webhook is not None:
        secret = os.environ.get("DIFFERNET_WEBHOOK_KEY", "")
        if wanted.key is not None:
            secret = read_text(wanted.key, "a file with the key of the webhook")
        found.append(Webhook(wanted.webhook, secret.strip().encode()))
    if wanted.mqtt is not None:
        password = os.environ.get("DIFFERNET_MQTT_PASSWORD")
        found.append(Mqtt(wanted.mqtt, f"differnet-{wanted.client}", password))
    return found
