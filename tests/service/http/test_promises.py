"""What the service says of a part is what it does: by keys, in batches, and when its sender waits no longer."""

from __future__ import annotations

import base64
import logging
import sqlite3
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

pytest.importorskip("fastapi")

from differnet.errors import StoreError
from differnet.service.promised import Promised, Ticket, Waiting
from differnet.service.record import database
from differnet.service.record.inspection import Inspection, new_id
from support.service_fixture import bad_part, good_part, rows, running, send

REPLAYED = "idempotent-replayed"
ROW = Inspection(model="m", model_digest="", source="http", image_digest="", verdict="OK")


def key(text):
    return {"headers": {"Idempotency-Key": text}}


def until(what):
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def locked(tmp_path):
    """Hold the record so that nobody else can write."""
    with sqlite3.connect(tmp_path / "record.sqlite3", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


def test_a_key_of_another_picture_is_refused_and_judges_nothing(fresh):
    client, _ = fresh()
    first = send(client, good_part(), **key("camera/0"))
    other = send(client, bad_part(), **key("camera/0"))
    assert (first.status_code, other.status_code) == (200, 422)
    assert "recorded already for another picture" in other.json()["detail"]
    assert first.json()["id"] in other.json()["detail"]
    assert (REPLAYED in first.headers, REPLAYED in other.headers) == (False, False)
    assert [row["id"] for row in rows(client)] == [first.json()["id"]]
    body = {"image": base64.b64encode(good_part()).decode()}
    again = client.post("/v1/models/tiny/inspect", json=body, **key("camera/0"))
    assert (again.status_code, again.headers[REPLAYED]) == (200, "true")
    assert again.json() == first.json()
    assert send(client, bad_part(), **key("camera/1")).json()["verdict"] == "NG"


def test_two_pictures_under_one_key_at_once_have_one_verdict(fresh):
    client, service = fresh(workers=2)
    recorder, both = service.models["tiny"].recorder, threading.Barrier(2)
    judge = recorder.judge

    def together(*arguments):
        both.wait(10)
        return judge(*arguments)

    recorder.judge = together
    found = []
    threads = [
        threading.Thread(target=lambda part=part: found.append(send(client, part, **key("k"))))
        for part in (good_part(), bad_part())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(answer.status_code for answer in found) == [200, 422]
    (row,) = rows(client)
    assert row == {name: value for name, value in answered(found).items() if not name.startswith("heat_map_")}


def answered(found):
    return next(answer.json() for answer in found if answer.status_code == 200)


@pytest.mark.parametrize(("limits", "status"), [({}, 422), ({"pixels": 1000}, 413)])
def test_a_replay_keeps_the_status_and_the_reason(fresh, limits, status):
    client, _ = fresh(**limits)
    content = good_part() if limits else b"no picture"
    first, again = (send(client, content, **key("k")) for _ in range(2))
    assert [first.status_code, again.status_code] == [status, status]
    assert (REPLAYED in first.headers, again.headers[REPLAYED]) == (False, "true")
    assert first.json()["inspection"] == again.json()["inspection"]
    assert len(rows(client)) == 1


@pytest.mark.parametrize("keep", ["none", "all"])
def test_a_replay_gives_the_map_when_it_is_asked_for(fresh, keep):
    client, _ = fresh(keep=keep)
    whole = send(client, good_part(), params={"map": "true"}).json()
    first = send(client, good_part(), **key("k")).json()
    assert (first["heat_map_png"], first["heat_map_error"]) == (None, None)
    again = send(client, good_part(), params={"map": "true"}, **key("k"))
    assert again.headers[REPLAYED] == "true"
    assert again.json()["id"] == first["id"]
    assert again.json()["heat_map_png"] == whole["heat_map_png"] is not None


def test_a_replay_draws_no_map_by_another_model(fresh):
    client, service = fresh(keep="none")
    send(client, good_part(), **key("k"))
    service.models["tiny"].digest = "0" * 64
    again = send(client, good_part(), params={"map": "true"}, **key("k")).json()
    assert again["heat_map_png"] is None
    assert "another model judges now" in again["heat_map_error"]


def test_a_fault_of_the_model_is_not_kept_under_the_key(fresh, monkeypatch):
    client, service = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(service.models["tiny"].inspector, "_tiles", lambda *_: 1 / 0)
        first = send(client, good_part(), **key("k"))
    again, third = (send(client, good_part(), **key("k")) for _ in range(2))
    assert [one.status_code for one in (first, again, third)] == [500, 200, 200]
    assert (REPLAYED in again.headers, third.headers[REPLAYED]) == (False, "true")
    found = [(row["verdict"], row["fault"], row["source_key"]) for row in rows(client)]
    assert found == [(again.json()["verdict"], None, "k"), ("error", "model", None)]


def test_what_is_promised_is_recorded_though_the_record_is_locked_for_longer(fresh, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_WAIT", 1)
    client, service = fresh(timeout=0.4, keep="all")
    with locked(tmp_path):
        first = send(client, bad_part(), **key("k"))
        until(lambda: len(service.promised) == 1)
        start = time.monotonic()
        second = send(client, good_part(), **key("l"))
        assert time.monotonic() - start < 1
    assert (first.status_code, second.status_code) == (503, 503)
    assert "it will be recorded" in first.json()["detail"]
    assert "1 inspection before this one could not be recorded yet" in second.json()["detail"]
    until(lambda: len(service.promised) == 0)
    again = send(client, bad_part(), **key("k"))
    assert (again.status_code, again.headers[REPLAYED], again.json()["verdict"]) == (200, "true", "NG")
    assert [row["source_key"] for row in rows(client)] == ["k"]
    assert client.get(f"/v1/inspections/{again.json()['id']}/image").content == bad_part()
    assert 'differnet_promised_total{outcome="recorded"} 1.0' in client.get("/metrics").text


def test_what_is_promised_has_a_row_though_the_worker_failed(fresh):
    client, service = fresh(timeout=0.2)

    def fails(*_):
        time.sleep(0.6)
        raise MemoryError

    service.models["tiny"].recorder.judge = fails
    answer = send(client, bad_part(), **key("k"))
    assert (answer.status_code, "it will be recorded" in answer.json()["detail"]) == (503, True)
    until(lambda: rows(client))
    (row,) = rows(client)
    assert (row["verdict"], row["fault"], row["source_key"]) == ("error", "model", None)
    assert row["error"].startswith("MemoryError")


def test_a_map_that_takes_too_long_costs_no_verdict(fresh, monkeypatch):
    client, service = fresh(timeout=0.5)
    monkeypatch.setattr(service.models["tiny"].inspector, "localize", lambda _: time.sleep(1.5))
    answer = send(client, bad_part(), params={"map": "true"})
    assert (answer.status_code, answer.json()["verdict"]) == (200, "NG")
    assert "not drawn within 0.5 s" in answer.json()["heat_map_error"]


def test_what_is_left_when_the_service_stops_is_said_as_a_whole():
    def away():
        raise StoreError("away")

    lost = []
    promised = Promised(lambda *what: lost.append(what), pauses=(0.05,))
    for _ in range(2):
        promised.put(Waiting(ROW, away, lambda _: pytest.fail("it was not recorded")))
    promised.close(0.3)
    assert [row for row, _ in lost] == [ROW, ROW]
    assert "the service stopped" in str(lost[0][1])


def test_a_row_that_is_being_tried_when_the_service_stops_is_not_said_to_be_lost():
    begun, over, lost = threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        over.wait(10)
        return ROW

    promised = Promised(lambda *what: lost.append(str(what[1])))
    for _ in range(2):
        promised.put(Waiting(ROW, slow, lambda _: None))
    begun.wait(10)
    promised.close(0.1)
    over.set()
    assert ["is not known" in text for text in lost] == [True, False]


def test_rows_are_tried_in_turn_until_they_are_recorded():
    tries, done = [], []

    def add(number):
        tries.append(number)
        if len(tries) < 4:
            raise StoreError("away")
        return ROW

    promised = Promised(lambda *_: pytest.fail("it was recorded"), pauses=(0.01,))
    for number in (1, 2):
        promised.put(Waiting(ROW, lambda number=number: add(number), done.append))
    promised.close(10)
    assert (tries, done) == ([1, 1, 1, 1, 2], [ROW, ROW])


def test_a_ticket_promises_only_what_is_neither_recorded_nor_refused():
    recorded, failed, open_ = Ticket(), Ticket(), Ticket()
    recorded.recorded(ROW)
    assert recorded.leave() == ROW
    assert not recorded.failed(StoreError("later, and nobody waits for a row"))
    assert not failed.failed(StoreError("away"))
    with pytest.raises(StoreError, match="away"):
        failed.leave()
    assert open_.leave() is None
    assert open_.failed(StoreError("away"))


def test_two_services_on_one_record_judge_by_the_same_rates(tiny_station, tmp_path):
    import httpx

    wanted = {"rate": 0.4, "confidence": None, "review_rate": 0.6}
    with (
        running(tiny_station, tmp_path) as one,
        running(tiny_station, tmp_path) as two,
        httpx.Client(base_url=str(one)) as first,
        httpx.Client(base_url=str(two)) as second,
    ):
        before = send(second, good_part()).json()
        applied = first.put("/v1/models/tiny/rates", json=wanted).json()
        two.service.models["tiny"].recorder._look_at = 0.0  # two seconds later
        after = send(second, good_part()).json()
        assert (before["rate"], after["rate"], after["review_rate"]) == (0.2, 0.4, 0.6)
        assert after["threshold"] == applied["threshold"] < before["threshold"]
        assert second.get("/v1/models/tiny/rates").json() == applied
        second.put("/v1/models/tiny/rates", json={"rate": None})
        one.service.models["tiny"].recorder._look_at = 0.0
        assert send(first, good_part()).json()["threshold"] == before["threshold"]


def batch(client, *contents, **options):
    files = [("images", (f"{number}.png", content)) for number, content in enumerate(contents)]
    return client.post("/v1/models/tiny/inspect-batch", files=files, **options)


def test_a_batch_with_one_that_is_too_large_records_none(client):
    before = len(rows(client))
    answer = batch(client, good_part(), bad_part(), b"x" * 300_000)
    assert answer.status_code == 413
    assert len(rows(client)) == before


def test_each_of_a_batch_has_its_status_also_when_the_record_goes_away(fresh, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("differnet.service"), "propagate", True)
    caplog.set_level(logging.WARNING, "differnet.service")
    client, service = fresh(keep="none")
    add, count = service.store.add, []

    def away(*arguments):
        count.append(1)
        if len(count) == 3:
            raise StoreError("away")
        return add(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(service.store, "add", away)
        parts = good_part(), b"no picture", bad_part(), good_part(501)
        answer = batch(client, *parts, **key("shift"))
    assert answer.status_code == 503
    found = answer.json()
    assert [one["status"] for one in found["results"]] == [200, 422, 503, 503]
    assert "record cannot be reached; the log" in found["results"][2]["detail"]
    said = [one.data["error"] for one in caplog.records if "record cannot be reached" in one.message]
    assert said == ["away"]  # as the answer says
    assert "not begun" in found["results"][3]["detail"]
    assert [one["id"] for one in found["results"]][:2] == [row["id"] for row in found["inspections"]]
    again = batch(client, *parts, **key("shift"))
    assert again.status_code == 200
    assert [(one["status"], one["replayed"]) for one in again.json()["results"]] == [
        (200, True),
        (422, True),
        (200, False),
        (200, False),
    ]
    assert [row["source_key"] for row in reversed(rows(client))] == [f"shift#{n}" for n in range(4)]
    other = batch(client, bad_part(), **key("shift")).json()["results"]
    assert (other[0]["status"], "another picture" in other[0]["detail"]) == (422, True)


def test_what_is_too_old_and_stays_is_said_and_not_every_minute(fresh, caplog, monkeypatch):
    _, service = fresh(max_age_days=30)
    monkeypatch.setattr(logging.getLogger("differnet.service"), "propagate", True)
    caplog.set_level(logging.WARNING, "differnet.service")
    then = datetime.now(timezone.utc) - timedelta(days=40)
    for _ in range(10):
        service.store.add(replace(ROW, id=new_id(), time=then))
    service._retain()
    service._retain()
    said = [one.message for one in caplog.records if "is the clock right?" in one.message]
    assert len(said) == 1
    assert said[0].startswith("8 inspections older than 30 days")
    assert len(service.store.list()) == 8
