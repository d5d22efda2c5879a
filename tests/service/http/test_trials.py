"""A version on trial: it judges beside the one that answers, in rows of its own, and counts nowhere else."""

from __future__ import annotations

import io
import shutil
import time

import pytest

pytest.importorskip("fastapi")

import httpx
import numpy as np
from PIL import Image

from differnet import Inspector
from differnet.service.http.queue import Line
from differnet.service.http.versions import process, trial
from differnet.service.http.versions.trial import Part, Trial
from differnet.service.record import shadows
from differnet.service.record.inspection import Inspection, now
from differnet.service.record.shadows import Shadow
from differnet.service.record.store import Store
from differnet.service.record.versions import Post
from support.service_fixture import bad_part, good_part, rows, running, send

MODEL = "/v1/models/tiny"


def digest(folder):
    return Inspector(folder).station.digest


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """What a trial said is recorded soon."""
    monkeypatch.setattr(trial, "_FLUSH", 0.3)


@pytest.fixture
def root(other_station, tmp_path):
    shutil.copytree(other_station, tmp_path / "models/new")
    return tmp_path / "models"


def trial_of(client):
    return client.get(f"{MODEL}/versions").json()["trial"]


def until(what):
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def judged(folder, contents):
    inspector = Inspector(folder)
    return [inspector.predict(np.asarray(Image.open(io.BytesIO(content)))) for content in contents]


def test_a_trial_is_recorded_beside_the_answers_and_made_active(tiny_station, other_station, root, tmp_path):
    contents = [good_part(n) for n in range(500, 512)] + [bad_part(n) for n in range(4)]
    was, would = judged(tiny_station, contents), judged(other_station, contents)
    first, second = digest(tiny_station), digest(other_station)
    with (
        running(tiny_station, tmp_path, root=root) as address,
        httpx.Client(base_url=str(address), timeout=60) as client,
    ):
        send(client, contents[0])
        found = client.put(MODEL, json={"folder": "new"}, params={"as": "shadow"}).json()
        assert (found["active"], found["trial"]["digest"], found["trial"]["parts"]) == (first, second, 0)
        answers = [send(client, content).json() for content in contents]
        client.put(f"/v1/inspections/{answers[0]['id']}/operator", json={"verdict": "good"})
        assert [row["verdict"] for row in answers] == [one.verdict for one in was]
        assert {row["model_digest"] for row in answers} == {first}
        until(lambda: trial_of(client)["compared"] == len(contents))
        shown = trial_of(client)
        assert (shown["parts"], shown["left_out"], shown["failed"], shown["broken"]) == (16, 0, 0, None)
        assert len(rows(client)) == 17
        assert sum(client.get(f"{MODEL}/counts").json()["total"].values()) == 17
        assert address.service.models["tiny"].monitor.images == 17
        assert f'trial_parts_total{{model="tiny",outcome="judged"}} {len(contents)}' in metrics(client)

        pairs = client.get(f"{MODEL}/differences", params={"limit": 99}).json()["differences"]
        wanted = {
            row["id"]: (one.verdict, two.verdict, pytest.approx(two.score, rel=1e-6), two.threshold)
            for row, one, two in zip(answers, was, would, strict=True)
            if one.verdict != two.verdict
        }
        assert 1 < len(wanted) < len(contents)
        assert {
            one["inspection"]["id"]: (
                one["inspection"]["verdict"],
                one["shadow"]["verdict"],
                one["shadow"]["score"],
                one["shadow"]["threshold"],
            )
            for one in pairs
        } == wanted
        for one in pairs:  # with its picture, also of a part that was not flagged
            picture = client.get(f"/v1/inspections/{one['inspection']['id']}/image")
            assert picture.content == contents[[row["id"] for row in answers].index(one["inspection"]["id"])]
        table = {(one["active"], one["shadow"]): 0 for one in shown["tally"]}
        for one in trial_of(client)["tally"]:
            table[one["active"], one["shadow"]] += one["parts"]
        verdicts = [(one.verdict, two.verdict) for one, two in zip(was, would, strict=True)]
        assert table == {pair: verdicts.count(pair) for pair in verdicts}
        assert sum(one["parts"] for one in trial_of(client)["tally"] if one["operator"] == "good") == 1
        newest = client.get(f"{MODEL}/differences", params={"limit": 1}).json()
        following = client.get(f"{MODEL}/differences", params={"before_number": newest["next"]}).json()
        assert newest["differences"] + following["differences"] == pairs

        found = client.put(MODEL, json={"version": second}, params={"reason": "it sees dents"}).json()
        assert (found["active"], found["before"], found["trial"]) == (second, first, None)
        assert send(client, contents[0]).json()["model_digest"] == second
        assert client.get(f"{MODEL}/differences").status_code == 409
        kept = client.get(f"{MODEL}/differences", params={"version": second, "limit": 99}).json()
        assert kept["differences"] == pairs
        assert address.service.versions.trials == {}


def metrics(client):
    return client.get("/metrics").text.replace(".0\n", "\n").replace("differnet_", "")


def test_a_trial_goes_on_after_a_restart_and_can_be_ended(tiny_station, other_station, root, tmp_path):
    with running(tiny_station, tmp_path, root=root) as address:
        asked = {"params": {"as": "shadow"}, "timeout": 60}
        httpx.put(f"{address}{MODEL}", json={"folder": "new"}, **asked).raise_for_status()
    with (
        running(tiny_station, tmp_path, root=root) as address,
        httpx.Client(base_url=str(address), timeout=60) as client,
    ):
        for _ in range(3):
            send(client, good_part())
        until(lambda: trial_of(client)["compared"] == 3)
        worker = address.service.versions.trials["tiny"]._worker._process
        assert client.delete(f"{MODEL}/shadow").json()["trial"] is None
        assert worker.poll() is not None
        assert client.delete(f"{MODEL}/shadow").status_code == 409
        again = client.put(MODEL, json={"version": digest(tiny_station)}, params={"as": "shadow"})
        assert (again.status_code, "judges already" in again.json()["detail"]) == (409, True)
        client.delete(MODEL).raise_for_status()
        lone = client.put(MODEL, json={"folder": "new"}, params={"as": "shadow"})
        assert (lone.status_code, "beside which" in lone.json()["detail"]) == (409, True)


def test_a_second_trial_counts_from_its_own_beginning(tiny_station, root, tmp_path):
    with (
        running(tiny_station, tmp_path, root=root) as address,
        httpx.Client(base_url=str(address), timeout=60) as client,
    ):
        for number in (1, 2):
            client.put(MODEL, json={"folder": "new"}, params={"as": "shadow"}).raise_for_status()
            for index in range(5):
                send(client, bad_part(index))
            until(lambda: trial_of(client)["compared"] == 5)
            found = trial_of(client)
            assert (found["parts"], sum(one["parts"] for one in found["tally"])) == (5, 5), number
            found = client.get(f"{MODEL}/differences").json()["differences"]
            client.delete(f"{MODEL}/shadow").raise_for_status()
        now_alone = {one["inspection"]["id"] for one in found}
        assert now_alone <= {row["id"] for row in rows(client)[:5]}


def part(number=0, **values):
    usual = {"model": "tiny", "model_digest": "a" * 64, "source": "http", "image_digest": f"{number:064}"}
    return Inspection(**(usual | {"verdict": "OK"} | values))


@pytest.fixture
def store(tmp_path):
    opened = Store.open(f"sqlite:///{tmp_path / 'record.sqlite3'}")
    yield opened
    opened.close()


class Slow:
    """A worker that waits until it is told to go on, or ends."""

    gates = None

    def __init__(self, *_):
        pass

    def ask(self, *_):
        type(self).gates()
        return {"verdict": "OK", "score": 1.0, "views": 1}

    def kill(self, *_):
        pass

    close = rest = kill


def begun(store, folder="none"):
    counted = []
    post = Post("b" * 64, now())
    return Trial("tiny", str(folder), post, store, 10_000, True, counted.append), counted


def test_what_finds_no_place_is_left_out_counted_and_said(store, monkeypatch):
    import threading

    gate = threading.Event()
    monkeypatch.setattr(trial, "Worker", Slow)
    monkeypatch.setattr(Slow, "gates", lambda: gate.wait(30))
    said = []
    monkeypatch.setattr(trial, "say", lambda text, *_, **more: said.append((text, more)))
    monkeypatch.setattr(trial, "_PARTS", 3)
    monkeypatch.setattr(trial, "_BYTES", 100)
    found, counted = begun(store)
    sent = [store.add(part(n)) for n in range(8)]
    found.take(Part(sent[0], b"x", None, None))
    until(lambda: found.waiting == 0)
    found.take(Part(sent[1], b"x" * 101, None, None))  # too many bytes
    start = time.monotonic()
    for row in sent[2:]:
        found.take(Part(row, b"x", None, None))
    assert time.monotonic() - start < 0.5  # nobody waits for a trial
    assert (found.waiting, found.dropped) == (3, 4)
    gate.set()
    until(lambda: found.judged == 4)
    found.close()
    assert (counted.count("judged"), counted.count("dropped")) == (4, 4)
    table = shadows.tallies(store.engine, "tiny", "b" * 64)
    assert [(one.active, one.shadow, one.parts) for one in table] == [("OK", "OK", 4)]
    (left_out,) = [more["left_out"] for text, more in said if text == "a trial leaves parts out"]
    assert left_out == 1


def test_a_trial_that_crashes_is_started_again_and_then_given_up(store, tiny_station, tmp_path):
    found, counted = begun(store, tiny_station)
    content = good_part()
    found.take(Part(store.add(part(0)), content, None, None))
    until(lambda: found.judged == 1)
    found._worker.kill()
    for number in (1, 2):
        found.take(Part(store.add(part(number)), content, None, None))
    until(lambda: (found.failed, found.judged) == (1, 2))
    assert found.broken is None
    found.close()
    broken, counted = begun(store, tmp_path / "nowhere")
    for number in range(3, 8):
        broken.take(Part(store.add(part(number)), content, None, None))
    until(lambda: broken.broken)
    broken.take(Part(store.add(part(9)), content, None, None))
    broken.close()
    assert "its folder cannot be loaded" in broken.broken
    assert "no such folder" in broken.broken
    assert (counted.count("failed"), counted.count("dropped")) == (3, 3)
    found = [pair.shadow for pair in shadows.differences(store.engine, "tiny", "b" * 64)]
    failed = [one.error for one in found if one.verdict == "error"]
    assert len(failed) == 4
    assert "its process ended with status -9" in failed[-1]


def test_the_process_judges_by_rates_and_views_and_says_what_it_cannot(tiny_station):
    worker = process.Worker(str(tiny_station), 10_000)
    try:
        head = {"name": "a.png", "views": None, "rates": [0.4, None, 0.6]}
        said = worker.ask(head, bad_part())
        wanted = Inspector(tiny_station).with_rates(0.4, None, 0.6)
        found = wanted.predict(np.asarray(Image.open(io.BytesIO(bad_part()))))
        assert (said["score"], said["threshold"], said["verdict"]) == (
            pytest.approx(found.score, rel=1e-6),
            found.threshold,
            found.verdict,
        )
        assert (
            worker.ask(head | {"rates": None}, good_part())["threshold"] == Inspector(tiny_station).threshold
        )
        refused = worker.ask(head | {"rates": [1e-6, None, None]}, good_part())
        assert (refused["verdict"], "can promise" in refused["error"]) == ("error", True)
        assert "cannot be decoded" in worker.ask(head, b"GIF89a" + b"\0" * 20)["error"]
        assert worker.ask(head, bad_part()) == said
        worker.kill()
        with pytest.raises(process.WorkerError, match="its process ended with status -9"):
            worker.ask(head, bad_part())
    finally:
        worker.close()


def test_it_rests_while_the_line_wants_the_processor(store, tiny_station):
    import psutil

    line, (found, _) = Line(4, 2), begun(store, tiny_station)
    line.on_busy = found.rest
    parts = [Part(store.add(part(n)), good_part(n), None, None) for n in range(3)]
    found.take(parts[0])
    until(lambda: found.judged == 1)
    state = psutil.Process(found._worker._process.pid)
    with line.place(), line.place():
        until(lambda: state.status() == "stopped")
        found.take(parts[1])
        with line.place():
            time.sleep(0.5)
        assert (found.judged, state.status()) == (1, "stopped")
    until(lambda: found.judged == 2)
    found.rest(True)
    found.take(parts[2])
    found.close()  # which does not wait for one that rests
    assert (found.judged, found.dropped, state.is_running()) == (2, 1, False)


def test_its_process_ends_with_the_service_even_while_it_rests(tiny_station):
    import subprocess
    import sys

    import psutil

    code = (
        "import sys, time\n"
        "from differnet.service.http.versions.process import Worker\n"
        "worker = Worker(sys.argv[1], 10_000)\n"
        "worker.ask({'name': None, 'views': None, 'rates': None}, b'')\n"
        "worker.rest(True)\n"
        "print(worker._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, tiny_station], stdout=subprocess.PIPE)
    number = int(parent.stdout.readline())
    until(lambda: psutil.Process(number).status() == "stopped")
    parent.kill()
    parent.wait(30)
    until(lambda: not psutil.pid_exists(number) or psutil.Process(number).status() == "zombie")
    parent.stdout.close()


def test_what_is_forgotten_is_forgotten_with_what_a_trial_said(url, tmp_path):
    from datetime import timedelta

    store = Store.open(url, tmp_path / "images")
    old = [store.add(part(n, time=now() - timedelta(days=30))) for n in range(2)]
    new = [store.add(part(n)) for n in range(2, 12)]
    said = [
        Shadow(time=now(), model="tiny", digest="b" * 64, inspection=row.id, verdict="NG")
        for row in old + new
    ]
    shadows.add(store.engine, said, store.kept, [(new[0], b"\x89PNG"), (old[0], b"\x89PNG")])
    shadows.add(store.engine, said, store.kept, [])  # once, however often it is said
    kept = store.get(new[0].id)
    assert (kept.kept_bytes, store.kept.path(kept.image).read_bytes()) == (4, b"\x89PNG")
    assert len(shadows.differences(store.engine, "tiny", "b" * 64, limit=99)) == 12
    assert store.retain(max_age_days=9).inspections == 2
    pairs = shadows.differences(store.engine, "tiny", "b" * 64, limit=99)
    assert [pair.inspection.id for pair in pairs] == [row.id for row in reversed(new)]
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM shadows").scalar() == 10
    store.close()
