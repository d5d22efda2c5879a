"""The service as a process of its own: killed, stopped and asked nonsense, it loses no inspection that it answered."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import suppress

import pytest

pytest.importorskip("fastapi")

import httpx

from differnet.service.record.store import Store
from support.openapi import asks
from support.service_fixture import bad_part, good_part, process, running

CHECKS = (  # all but that valid requests are accepted: bytes that are no image are valid, too, and refused
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)


class Senders:
    """Threads that send parts until told to stop; they remember what was accepted, by the key of each part."""

    def __init__(self, address, count=4):
        self.accepted, self.sent, self.refused, self.stop = {}, set(), 0, threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(address, n)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def work(self, address, thread):
        with httpx.Client(base_url=address, timeout=30) as client:
            for number in range(100_000):
                if self.stop.is_set():
                    return
                key = f"{thread}/{number}"
                self.sent.add(key)
                with suppress(httpx.TransportError):
                    self.take(key, send(client, key))

    def take(self, key, answer):
        if answer.status_code == 200:
            self.accepted[key] = answer.json()["id"]
        else:
            assert answer.status_code in (429, 503)
            self.refused += 1

    def until(self, count):
        end = time.monotonic() + 60
        while len(self.accepted) < count and time.monotonic() < end:
            time.sleep(0.02)
        assert len(self.accepted) >= count

    def join(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(60)


def send(client, key):
    files = {"image": ("part.png", bad_part() if key.endswith("3") else good_part())}
    return client.post("/v1/models/tiny/inspect", files=files, headers={"Idempotency-Key": key})


def record(tmp_path, url=None):
    store = Store.open(url or f"sqlite:///{tmp_path / 'record.sqlite3'}", tmp_path / "record.images")
    found = store.after(0, limit=100_000)
    for row in found:  # whatever a row names is there
        for name in (row.image, row.heat_map):
            assert name is None or store.kept.path(name).stat().st_size > 0
    store.close()
    return found


def test_a_killed_service_has_every_inspection_that_it_answered(tiny_station, tmp_path, url):
    place = {"tmp_path": tmp_path, "folder": tiny_station, "store": url}
    images = ("--images", str(tmp_path / "record.images"))
    with process(*images, **place) as (run, address):
        senders = Senders(address)
        senders.until(40)
        run.kill()
        run.wait(30)
        senders.join()
    rows = {row.source_key: row.id for row in record(tmp_path, url)}
    assert senders.accepted.items() <= rows.items()
    assert len(rows) - len(senders.accepted) <= 4  # those whose answer was under way, one a sender
    with (
        process(*images, **place) as (run, address),
        httpx.Client(base_url=address) as client,
    ):
        for key in sorted(senders.sent - senders.accepted.keys()):
            senders.take(key, send(client, key))
        shown = client.get("/v1/inspections", params={"limit": 999}).json()["inspections"]
    assert {row["source_key"]: row["id"] for row in shown} == senders.accepted
    assert len(record(tmp_path, url)) == len(senders.sent)


def test_a_stopped_service_answers_what_it_accepted(tiny_station, tmp_path):
    with process(tmp_path=tmp_path, folder=tiny_station) as (run, address):
        senders = Senders(address, 8)
        senders.until(30)
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 0
        senders.join()
    assert {row.source_key: row.id for row in record(tmp_path)} == senders.accepted
    lines = (tmp_path / "log.txt").read_text().splitlines()
    said = [json.loads(line) for line in lines]
    assert said[0]["message"] == "serving"
    assert any(one["message"].startswith("stopped") for one in said)
    judged = [one for one in said if one["message"] == "inspection"]
    asked = [one for one in said if one["message"] == "request" and one["status"] == 200]
    assert {one["id"] for one in judged} == set(senders.accepted.values())
    assert {one["request_id"] for one in judged} <= {one["request_id"] for one in asked}


def test_its_openapi_is_what_it_does(tiny_station, tmp_path):
    with running(tiny_station, tmp_path) as address:
        httpx.post(f"{address}/v1/models/tiny/inspect", files={"image": bad_part()})
        asks(address, tmp_path, CHECKS, "--exclude-path", "/events")


def test_good_images_are_copied_out(tiny_station, tmp_path):
    from typer.testing import CliRunner

    from differnet.cli.app import app

    with (
        running(tiny_station, tmp_path, keep="all") as address,
        httpx.Client(base_url=str(address)) as client,
    ):
        one = send(client, "1").json()
        send(client, "2")
        client.put(f"/v1/inspections/{one['id']}/operator", json={"verdict": "good"})
    command = ["export-good", f"sqlite:///{tmp_path / 'record.sqlite3'}", "--model", "tiny"]
    run = CliRunner().invoke(app, [*command, "--to", str(tmp_path / "good")])
    assert run.exit_code == 0, run.output
    assert [path.read_bytes() for path in (tmp_path / "good").iterdir()] == [good_part()]


def test_the_command_says_what_is_wrong(tiny_station, tmp_path):
    from typer.testing import CliRunner

    from differnet.cli.app import app

    taken = f"--store=sqlite:///{tmp_path / 'r.sqlite3'}"
    for arguments, message in (
        ([str(tmp_path)], "has no manifest.json"),
        ([str(tiny_station), "--host", "10.0.0.1"], "--keys FILE"),
        ([str(tiny_station), "--forget-rates", "x"], "no such model"),
        ([str(tiny_station), "--keys", str(tmp_path / "none")], "no such file"),
    ):
        run = CliRunner().invoke(app, ["serve", *arguments, "--port", "0", taken])
        assert run.exit_code == 2, run.output
        assert message in run.output
    run = CliRunner().invoke(app, ["make-key", "line 3"])
    assert run.stdout.split(" ", 1)[1].strip() == "roles=admin line 3"
