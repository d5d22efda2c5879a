"""Others are told of each inspection at least once: by webhooks that are signed, and by MQTT."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import subprocess

import pytest

pytest.importorskip("sqlalchemy", reason='pip install "differnet[watch]"')
pytest.importorskip("watchfiles", reason='pip install "differnet[watch]"')


from differnet.errors import ConfigError
from differnet.service.delivery.notify import Mqtt, Refused, Sender, Unreachable, Webhook, signature
from differnet.service.delivery.outbox import Delivery, Outbox
from differnet.service.watch.memory import StoreMemory
from support import brokers
from support.arrivals import wait_for
from support.watching import KEY, LIMIT, command, events, once, put, receiver, run


def test_a_webhook_gets_each_inspection_signed_also_after_failures(station, images, tmp_path):
    for index in range(3):
        put(images, f"{index}.png", 600 + index)
    (tmp_path / "key").write_text(KEY + "\n")
    with receiver(503, 302) as (url, found):
        options = ("--once", "--webhook", url, "--webhook-key", str(tmp_path / "key"))
        code, lines, _ = run(station, images, tmp_path, *options)
    assert code == 0
    assert lines[-1]["undelivered"] == {url: 0}
    rows = {row["id"]: row for row in events(lines, "inspection")}
    assert {one["id"] for one in found.received} == set(rows)
    assert found.received[0] == rows[found.received[0]["id"]]
    assert [status for status, _ in found.asked] == [503, 302, 204, 204, 204]
    assert "answered 503" in events(lines, "delivery")[0]["text"]


def test_what_could_not_be_delivered_is_delivered_after_the_next_start(station, images, tmp_path):
    put(images, "a.png", 600)
    port = brokers.free_port()
    url = f"http://127.0.0.1:{port}/hook"
    environment = os.environ | {"DIFFERNET_WEBHOOK_KEY": KEY}
    process = subprocess.Popen(
        command(station, images, tmp_path, "--webhook", url),
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert {line["event"] for line in lines} == {"inspection", "delivery"}
    process.kill()
    process.wait(LIMIT)
    process.stdout.close()
    with receiver(port=port) as (_, found):
        code, _, _ = run(station, images, tmp_path, "--once", "--webhook", url, env=environment)
    assert code == 0
    assert [one["file_name"] for one in found.received] == ["a.png"]


def outbox_of(inspector, store, images, destination):
    outbox = Outbox(store, StoreMemory(store, "stripes", "line").watch, [destination.name])
    once(inspector, store, images, outbox=outbox)
    return outbox


def test_attempts_are_bounded_kept_and_can_be_made_again(inspector, store, images, monkeypatch):
    monkeypatch.setattr("differnet.service.delivery.notify._PAUSE", 0.01)
    told = []
    put(images, "a.png", 600)
    put(images, "b.png", 601)
    with receiver(400, 400, 400) as (url, found):
        hook = Webhook(url, KEY.encode())
        outbox = outbox_of(inspector, store, images, hook)
        sender = Sender(outbox, hook, lambda *what: told.append(what), attempts=2)
        sender.start()
        assert sender.drain(10) == 0
        sender.finish()
        assert outbox.counts(url) == (0, 1)
        assert sorted(found.asked) == sorted([(400, "a.png"), (400, "b.png"), (400, "a.png"), (204, "b.png")])
        assert [text for event, text in told if event == "undelivered" and "after 2 attempts" in text]
        outbox.begin(url, given_up_too=True)
        sender = Sender(outbox, Webhook(url, KEY.encode()), lambda *_: None, attempts=2)
        sender.start()
        assert sender.drain(10) == 0
        sender.finish()
        assert [one["file_name"] for one in found.received] == ["b.png", "a.png"]
    assert outbox.counts(url) == (0, 0)


def test_while_nobody_is_there_the_first_message_alone_is_tried(inspector, store, images, monkeypatch):
    monkeypatch.setattr("differnet.service.delivery.notify._PAUSE", 0.02)
    for index in range(4):
        put(images, f"{index}.png", 600 + index)
    with receiver(*[503] * 4) as (url, found):
        hook = Webhook(url, KEY.encode())
        outbox = outbox_of(inspector, store, images, hook)
        sender = Sender(outbox, hook, lambda *_: None)
        sender.start()
        assert sender.drain(10) == 0
        sender.finish()
    assert len({name for _, name in found.asked[:5]}) == 1
    assert len(found.received) == 4


def test_webhooks_refuse_what_would_not_be_safe_or_not_work():
    with pytest.raises(ConfigError, match="http://"):
        Webhook("ftp://host/x", KEY.encode())
    with pytest.raises(ConfigError, match="at least 16"):
        Webhook("https://host/x", b"short")
    hook = Webhook("http://me:secret@127.0.0.1:1/x", KEY.encode())
    with pytest.raises(Unreachable) as error:
        hook.send(Delivery(1, "id", "{}", 0))
    assert "secret" not in f"{error.value}{hook.name}"
    assert hook.name == "http://127.0.0.1:1/x"
    with receiver(301) as (url, found), pytest.raises(Refused, match="301"):
        Webhook(url, KEY.encode()).send(Delivery(1, "id", '{"file_name": "x", "id": "id"}', 0))
    assert len(found.asked) == 1


def test_signatures_are_of_time_and_body():
    found = signature(b"k" * 16, 17, b"{}")
    assert found == hmac.new(b"k" * 16, b"17.{}", hashlib.sha256).hexdigest()
    assert len({found, signature(b"k" * 16, 18, b"{}"), signature(b"k" * 16, 17, b"[]")}) == 3


@pytest.mark.skipif(brokers.missing() is not None, reason=str(brokers.missing()))
def test_a_broker_gets_each_inspection_also_one_that_starts_later(station, images, tmp_path):
    paho = pytest.importorskip("paho.mqtt.client")
    for index in range(3):
        put(images, f"{index}.png", 600 + index)
    port, received = brokers.free_port(), []
    url = f"mqtt://127.0.0.1:{port}/line%201/parts"
    process = subprocess.Popen(
        command(station, images, tmp_path, "--mqtt", url), stdout=subprocess.PIPE, text=True
    )
    try:
        lines = [json.loads(process.stdout.readline()) for _ in range(4)]
        assert len(events(lines, "inspection")) == 3
        assert len(events(lines, "delivery")) == 1
        with brokers.broker(port):
            client = paho.Client(paho.CallbackAPIVersion.VERSION2)
            client.on_message = lambda _client, _data, message: received.append(
                (message.topic, message.payload)
            )
            client.connect("127.0.0.1", port)
            client.subscribe("line 1/#", qos=1)
            client.loop_start()
            wait_for(lambda: len(received) >= 3, LIMIT)
            put(images, "later.png", 610)
            wait_for(lambda: len(received) >= 4, LIMIT)
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT) == 0
            client.disconnect()
            client.loop_stop()
    finally:
        process.kill()
        rest = process.stdout.read()
        process.stdout.close()
        process.wait(LIMIT)
    found = [json.loads(body) for topic, body in received if topic == "line 1/parts"]
    assert {one["file_name"] for one in found} == {"0.png", "1.png", "2.png", "later.png"}
    assert json.loads(rest.splitlines()[-1])["undelivered"] == {url: 0}


def test_mqtt_urls():
    pytest.importorskip("paho.mqtt.client")
    one = Mqtt("mqtts://me@host/a/b", "name", "secret")
    assert (one.name, one._port, one._user, one._password) == ("mqtts://host/a/b", 8883, "me", "secret")
    for url in ("mqtt://host", "mqtt://host/a/#", "mqtt://host/+/a", "http://host/a", "mqtt:///a"):
        with pytest.raises(ConfigError):
            Mqtt(url, "name")
    with pytest.raises(Unreachable):
        Mqtt("mqtt://127.0.0.1:1/a", "name").send(Delivery(1, "id", "{}", 0))
