"""Telling others of inspections as they come: a webhook, or a topic of an MQTT broker.

A webhook gets a POST with the JSON of one inspection. So that the receiver can tell who sent it, and when, it is signed
as https://www.standardwebhooks.com says, with the bytes of the key for the secret:

    webhook-id: the id of the inspection, the same when it is sent again
    webhook-timestamp: seconds since 1970
    webhook-signature: v1,HMAC-SHA256(key, id + "." + timestamp + "." + body) in base64

For one more release it bears the signature of before as well:

    X-Differnet-Timestamp: seconds since 1970
    X-Differnet-Signature: sha256=HMAC-SHA256(key, timestamp + "." + body) in hexadecimal digits
    X-Differnet-Delivery: the id of the inspection, the same when it is sent again

MQTT messages have the same body, with quality of service 1: the broker says that it has it. Each destination has a
thread, so that a slow receiver holds up neither the judge nor another receiver.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from differnet.errors import ConfigError, MissingExtraError, StoreError, in_a_line
from differnet.service.delivery.addresses import said, without_password
from differnet.service.delivery.outbox import Delivery, Outbox
from differnet.service.record.inspection import Tell, now

ATTEMPTS = 30  # of one message; at full pauses about two hours
_TIMEOUT = 10.0
_REST = 5.0  # seconds after something failed that is no message's fault
_SHORTEST_KEY = 16  # bytes
_PAUSE, _LONGEST_PAUSE = 1.0, 300.0  # seconds: doubled from the one up to the other
_LATER = frozenset({408, 425, 429})  # and 500 on: answers that another attempt may change


class Unreachable(Exception):  # noqa: N818  it is no error of ours
    """Nobody is there for any message; ``wait``: seconds for which the receiver asked."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class Refused(Exception):  # noqa: N818
    """The receiver does not want this message."""


class Destination(Protocol):
    """Somebody who is told; ``name`` has no password."""

    name: str

    def send(self, delivery: Delivery) -> None:
        """Return when it was received; raises :class:`Unreachable` or :class:`Refused`."""

    def close(self) -> None:
        """Let go of the connection."""


class Webhook:
    """A URL that is posted to; ``key``: at least 16 bytes that the receiver knows as well."""

    def __init__(self, url: str, key: bytes) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"webhook {without_password(url)}: a URL with http:// or https:// was wanted")
        if len(key) < _SHORTEST_KEY:
            raise ConfigError(
                f"the key of the webhook has {len(key)} bytes; at least {_SHORTEST_KEY} were wanted"
            )
        try:
            import httpx
            import standardwebhooks
        except ImportError as error:
            raise MissingExtraError(f"webhooks need {error.name}: pip install 'differnet[watch]'") from error
        self.name, self._url, self._key = without_password(url)[:500], url, key
        self._sign = standardwebhooks.Webhook(key).sign
        self._client = httpx.Client(timeout=_TIMEOUT, follow_redirects=False)
        self._errors = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict)

    def send(self, delivery: Delivery) -> None:
        """Post it, signed anew."""
        body, timestamp, identity = delivery.body.encode(), int(time.time()), delivery.inspection
        at = datetime.fromtimestamp(timestamp, timezone.utc)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self._sign(identity, at, delivery.body),
            "X-Differnet-Timestamp": str(timestamp),
            "X-Differnet-Signature": f"sha256={signature(self._key, timestamp, body)}",
            "X-Differnet-Delivery": identity,
        }
        try:
            with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
                status, wait = answer.status_code, answer.headers.get("Retry-After", "")
        except self._errors as error:
            raise Unreachable(said(error)) from error
        if status in _LATER or status >= 500:
            raise Unreachable(f"answered {status}", float(wait) if wait.isdecimal() else 0.0)
        if not 200 <= status < 300:
            raise Refused(f"answered {status}")

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


class Mqtt:
    """A topic: ``mqtt://[user@]host[:1883]/topic``, or ``mqtts://`` for TLS; see :class:`Destination`.

    ``client``: by what the broker knows the sender; it disconnects an older connection of the same name.
    """

    def __init__(self, url: str, client: str, password: str | None = None) -> None:
        parts = urlsplit(url)
        topic = unquote(parts.path.lstrip("/"))
        if (
            parts.scheme not in ("mqtt", "mqtts")
            or not parts.hostname
            or not topic
            or set(topic) & {"+", "#"}  # wildcards, for those who listen
            or set(url) & {"#", "?"}
        ):
            raise ConfigError(f"{without_password(url)}: mqtt://HOST/TOPIC or mqtts://HOST/TOPIC was wanted")
        self.name, self._topic, self._client_name = without_password(url)[:500], topic, client
        self._secure = parts.scheme == "mqtts"
        self._host, self._port = parts.hostname, parts.port or (8883 if self._secure else 1883)
        self._user = None if parts.username is None else unquote(parts.username)
        self._password = password or (None if parts.password is None else unquote(parts.password))
        self._client: Any = None
        _paho()

    def send(self, delivery: Delivery) -> None:
        """Publish it and wait for the broker's word; connects where that is needed."""
        try:
            if self._client is None:
                self._connect()
            sent = self._client.publish(self._topic, delivery.body.encode(), qos=1)
            sent.wait_for_publish(_TIMEOUT)
            if not sent.is_published():
                raise Unreachable(f"no word from the broker within {_TIMEOUT:g} s")
        except (OSError, RuntimeError, ValueError) as error:
            self.close()
            raise Unreachable(said(error)) from error
        except Unreachable:
            self.close()
            raise

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _connect(self) -> None:
        paho, answered = _paho(), threading.Event()
        reasons: list[Any] = []
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, self._client_name, reconnect_on_failure=False)
        if self._user is not None:
            client.username_pw_set(self._user, self._password)
        if self._secure:
            client.tls_set()

        def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            reasons.append(reason)
            answered.set()

        client.on_connect, client.connect_timeout = on_connect, _TIMEOUT
        client.connect(self._host, self._port)
        client.loop_start()
        self._client = client
        if not answered.wait(_TIMEOUT):
            raise Unreachable(f"no word from the broker within {_TIMEOUT:g} s")
        if reasons[0].is_failure:
            raise Unreachable(f"the broker refuses: {reasons[0]}")


class Sender(threading.Thread):
    """Sends what waits for one destination, the oldest first, until it is told to stop.

    While nobody is there, all messages wait; one that is refused waits alone. Pauses double from a second to five
    minutes; after ``attempts`` a message is given up, which is told, and kept.
    """

    def __init__(
        self, outbox: Outbox, destination: Destination, tell: Tell, attempts: int = ATTEMPTS
    ) -> None:
        super().__init__(name=destination.name, daemon=True)
        self.outbox, self.destination, self.tell, self.attempts = outbox, destination, tell, attempts
        self.sent = 0
        self._wake, self._over = threading.Event(), threading.Event()
        self._pause, self._resting_until = _PAUSE, 0.0

    def run(self) -> None:
        """Send until it is over."""
        while not self._over.is_set():
            try:
                delivery = self.outbox.next(self.destination.name)
                if delivery is None:
                    self._wake.wait(1.0)
                    self._wake.clear()
                else:
                    self._send(delivery)
            except Exception as error:  # mostly the record that is away; the thread must live
                self.tell("outbox", f"{self.destination.name}: {in_a_line(error)}")
                self._over.wait(_REST)
        self.destination.close()

    def wake(self) -> None:
        """Say that there is something new."""
        self._wake.set()

    def drain(self, seconds: float) -> int:
        """Wait until nothing waits, ``seconds`` at most, or the next attempt comes later; return what is left.

        While the record does not say how many that are, it is taken to be one, which is told at the end.
        """
        end = time.monotonic() + seconds
        self.wake()
        while (left := self._left()) and self.is_alive():
            if time.monotonic() >= end or self._resting_until >= end:
                break
            time.sleep(0.02 if left > 0 else 0.5)
        if left < 0:
            self.tell(
                "outbox", f"{self.destination.name}: what is left is not known; the next start sends it"
            )
        return abs(left)

    def _left(self) -> int:
        try:
            return self.outbox.counts(self.destination.name)[0]
        except StoreError:
            return -1

    def finish(self) -> None:
        """Stop after the message in hand."""
        self._over.set()
        self.wake()
        self.join(_TIMEOUT + 1)

    def _send(self, delivery: Delivery) -> None:
        try:
            self.destination.send(delivery)
        except Unreachable as error:
            pause = max(self._pause * random.uniform(0.8, 1.2), min(error.wait, _LONGEST_PAUSE))  # noqa: S311
            self._failed(delivery, str(error), pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._resting_until = time.monotonic() + pause
            self._over.wait(pause)
        except Refused as error:
            self._failed(delivery, str(error), min(_PAUSE * 2.0**delivery.attempts, _LONGEST_PAUSE))
        else:
            self.outbox.done(delivery)
            self.sent, self._pause = self.sent + 1, _PAUSE

    def _failed(self, delivery: Delivery, error: str, pause: float) -> None:
        last = delivery.attempts + 1 >= self.attempts
        self.outbox.failed(delivery, error, None if last else now() + timedelta(seconds=pause))
        text = f"{self.destination.name}: {error}; inspection {delivery.inspection}"
        if last:
            self.tell("undelivered", f"{text} given up after {self.attempts} attempts")
        elif delivery.attempts == 0:
            self.tell("delivery", f"{text} is sent again, {self.attempts} times at most")


def signature(key: bytes, timestamp: int, body: bytes) -> str:
    """Return the signature of before, for the receiver to compare (by ``hmac.compare_digest``).

    >>> signature(b"k" * 16, 1700000000, b"{}")[:16]
    '6d58fb78491a4cd4'
    """
    return hmac.new(key, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def _paho() -> Any:
    try:
        import paho.mqtt.client as paho
    except ImportError as error:
        raise MissingExtraError("MQTT needs paho-mqtt: pip install 'differnet[watch]'") from error
    return paho
