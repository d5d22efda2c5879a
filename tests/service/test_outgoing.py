"""What goes out to the line from the service as from a watch: signed webhooks and MQTT, each row at least once."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')
pytest.importorskip("watchfiles", reason='pip install "differnet[watch]"')
pytest.importorskip("standardwebhooks", reason='pip install "differnet[watch]"')

import httpx

from support import brokers
from support.arrivals import wait_for
from support.service_fixture import bad_part, good_part, process, rows, send
from support.watching import KEY, receiver


@pytest.fixture
def key(tmp_path):
    (tmp_path / "key").write_text(KEY + "\n")
    return "--webhook-key", str(tmp_path / "key")


def test_each_inspection_of_the_service_is_posted_signed_as_the_watch_posts_it(tiny_station, tmp_path, key):
    with (
        receiver(503) as (url, found),
        process("--webhook", url, *key, tmp_path=tmp_path, folder=tiny_station) as (_, address),
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        for content in (good_part(), bad_part(), b"no picture"):
            send(client, content)
        wait_for(lambda: len(found.received) == 3)
        recorded = {row["id"]: row for row in rows(client)}
        posted = {one["id"]: one for one in found.received}
    assert posted.keys() == recorded.keys()
    assert {one["event"] for one in posted.values()} == {"inspection"}
    for identity, row in recorded.items():
        assert {name: posted[identity][name] for name in ("seq", "verdict", "score", "error", "model")} == {
            name: row[name] for name in ("seq", "verdict", "score", "error", "model")
        }
    assert found.asked[0][0] == 503  # the first was tried again


def test_what_a_killed_service_did_not_deliver_the_next_one_does(tiny_station, tmp_path, key):
    port = brokers.free_port()
    to = "--webhook", f"http://127.0.0.1:{port}/hook", *key
    with process(*to, tmp_path=tmp_path, folder=tiny_station) as (run, address):
        with httpx.Client(base_url=address, timeout=30) as client:
            send(client, good_part())
        run.kill()
    with (
        receiver(port=port) as (_, found),
        process(*to, tmp_path=tmp_path, folder=tiny_station) as (_, address),
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        wait_for(lambda: found.received)
        assert [one["id"] for one in found.received] == [row["id"] for row in rows(client)]


def test_a_part_sent_twice_under_its_key_is_told_once(tiny_station, tmp_path, key):
    with (
        receiver() as (url, found),
        process("--webhook", url, *key, tmp_path=tmp_path, folder=tiny_station) as (_, address),
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        for _ in range(2):
            send(client, good_part(), headers={"Idempotency-Key": "camera/1"})
        send(client, bad_part())
        wait_for(lambda: len(found.received) >= 2)
        assert [one["seq"] for one in found.received] == [row["seq"] for row in reversed(rows(client))]


@pytest.mark.skipif(brokers.missing() is not None, reason=brokers.missing() or "")
def test_a_broker_gets_what_the_service_recorded(tiny_station, tmp_path):
    paho = pytest.importorskip("paho.mqtt.client")
    port, heard, listening = brokers.free_port(), [], threading.Event()
    with brokers.broker(port):
        listener = paho.Client(paho.CallbackAPIVersion.VERSION2, "listener")
        listener.on_message = lambda _client, _data, message: heard.append(message.payload)
        listener.on_subscribe = lambda *_: listening.set()
        listener.connect("127.0.0.1", port)
        listener.subscribe("line/parts", qos=1)
        listener.loop_start()
        assert listening.wait(10)
        to = f"mqtt://127.0.0.1:{port}/line/parts"
        with (
            process("--mqtt", to, tmp_path=tmp_path, folder=tiny_station) as (_, address),
            httpx.Client(base_url=address, timeout=30) as client,
        ):
            row = send(client, bad_part()).json()
            wait_for(lambda: heard)
        listener.disconnect()
        listener.loop_stop()
    assert row["id"].encode() in heard[0]


def test_wrong_addresses_are_refused_before_anything_is_served(tiny_station, tmp_path):
    from typer.testing import CliRunner

    from differnet.cli.app import app

    for options, message in (
        (("--webhook", "ftp://plant/x"), "http:// or https://"),
        (("--webhook", "http://plant/x"), "at least 16"),
        (("--mqtt", "mqtt://plant"), "mqtt://HOST/TOPIC"),
    ):
        store = f"sqlite:///{tmp_path}/record.sqlite3"
        found = CliRunner().invoke(
            app, ["serve", str(tiny_station), "--port", "0", "--store", store, *options]
        )
        assert found.exit_code == 2, found.output
        assert message in " ".join(found.output.split()), found.output
