"""The service over HTTP: the real server with a real exported model; it judges, records, tells and is asked."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile

import pytest

pytest.importorskip("fastapi")

import httpx
import numpy as np
from PIL import Image

from differnet import Inspector
from differnet.errors import ConfigError
from differnet.service.http import server
from support.service_fixture import bad_part, good_part, png, rows, running, send
from support.tiny import good_image


def test_it_judges_as_the_inspector_and_records_it(client, tiny_station):
    inspector = Inspector(tiny_station)
    for content in (good_part(), bad_part()):
        answer = send(client, content)
        assert answer.status_code == 200
        found, wanted = answer.json(), inspector.predict(np.asarray(Image.open(io.BytesIO(content))))
        assert found["score"] == pytest.approx(wanted.score, rel=1e-6)
        for name in ("verdict", "p_value", "threshold", "review_threshold", "views"):
            assert found[name] == getattr(wanted, name), name
        assert (found["file_name"], found["source"], found["rate"]) == ("part.png", "http", 0.2)
        assert (found.pop("heat_map_png"), found.pop("heat_map_error")) == (None, None)
        assert client.get(f"/v1/inspections/{found['id']}").json() == found
        assert rows(client)[0] == found
        assert client.get(f"/v1/inspections/{found['id']}/image").content == content


def test_a_map_lies_over_its_image(client):
    wide = png(np.asarray(Image.open(io.BytesIO(bad_part())).resize((90, 40))))
    found = send(client, wide, params={"map": "true"}).json()
    drawn = base64.b64decode(found["heat_map_png"])
    image = Image.open(io.BytesIO(drawn))
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (800, 356))
    assert np.asarray(image)[..., 3].max() > 100
    kept = client.get(f"/v1/inspections/{found['id']}/map")
    assert (kept.content, kept.headers["content-type"]) == (drawn, "image/png")


def test_json_and_batches(client):
    body = {"image": base64.b64encode(bad_part()).decode(), "file_name": "json.png"}
    one = client.post("/v1/models/tiny/inspect", json=body).json()
    parts = [
        ("images", (f"{n}.png", content)) for n, content in enumerate((bad_part(), b"no image", good_part()))
    ]
    many = client.post("/v1/models/tiny/inspect-batch", files=parts).json()["inspections"]
    assert (one["file_name"], one["score"]) == ("json.png", many[0]["score"])
    assert [(row["file_name"], row["verdict"] == "error") for row in many] == [
        ("0.png", False),
        ("1.png", True),
        ("2.png", False),
    ]
    assert [row["id"] for row in reversed(rows(client)[:3])] == [row["id"] for row in many]
    too_many = [("images", (f"{n}.png", b"x")) for n in range(5)]
    assert client.post("/v1/models/tiny/inspect-batch", files=too_many).status_code == 400


def test_what_is_no_image_is_recorded_with_the_reason(client):
    before = len(rows(client))
    answer = send(client, b"GIF89a" + b"\0" * 20, "broken.gif")
    assert answer.status_code == 422
    row = answer.json()["inspection"]
    assert (row["verdict"], row["score"]) == ("error", None)
    assert row["error"].startswith("broken.gif: cannot be decoded")
    assert rows(client, verdict="error")[0]["id"] == row["id"]
    assert len(rows(client)) == before + 1


def test_lists_pages_operators_and_counts(client):
    sent = [send(client, good_part(600 + n)).json()["id"] for n in range(5)]
    first = client.get("/v1/inspections", params={"limit": 2}).json()
    assert [row["id"] for row in first["inspections"]] == [sent[4], sent[3]]
    second = client.get("/v1/inspections", params={"limit": 2, "before_seq": first["next"]}).json()
    assert [row["id"] for row in second["inspections"]] == [sent[2], sent[1]]
    said = client.put(f"/v1/inspections/{sent[0]}/operator", json={"verdict": "good", "note": "seen"}).json()
    assert (said["operator"], said["note"]) == ("good", "seen")
    assert [row["id"] for row in rows(client, operator="good")] == [sent[0]]
    assert sent[0] not in [row["id"] for row in rows(client, operator="none")]
    with zipfile.ZipFile(io.BytesIO(client.get("/v1/models/tiny/good-images").content)) as archive:
        assert [archive.read(name) for name in archive.namelist()] == [good_part(600)]
        assert archive.testzip() is None
    assert (
        client.put(f"/v1/inspections/{sent[0]}/operator", json={"verdict": None}).json()["operator"] is None
    )
    assert client.put(f"/v1/inspections/{'0' * 32}/operator", json={"verdict": "good"}).status_code == 404
    counts = client.get("/v1/models/tiny/counts", params={"bucket": "day"}).json()
    assert sum(counts["total"].values()) == len(rows(client))
    assert sum(
        sum(one[k] for k in ("OK", "review", "NG", "error", "none")) for one in counts["buckets"]
    ) == len(rows(client))
    assert rows(client, until="2020-01-01T00:00:00Z") == []
    assert client.get("/v1/inspections", params={"since": "17"}).status_code == 422
    for path in ("../../etc/passwd", "A" * 32, "0" * 32):
        assert client.get(f"/v1/inspections/{path}/image").status_code in (404, 422)


def test_a_key_of_the_sender_is_recorded_once(client):
    head = {"Idempotency-Key": "camera-3/000017"}
    first, again = (send(client, bad_part(), headers=head).json() for _ in range(2))
    assert first == again
    assert [row["source_key"] for row in rows(client)][:2].count("camera-3/000017") == 1


def test_rates_are_previewed_by_the_code_that_judges_applied_and_kept(fresh, tiny_station):
    client, _ = fresh()
    contents = [png(good_image(n)) for n in range(700, 730)] + [bad_part(n) for n in range(3)]
    before = [send(client, content).json() for content in contents]
    usual = client.get("/v1/models/tiny/rates").json()
    assert usual["smallest_rate"] == pytest.approx(1 / (usual["calibration_images"] + 1))
    wanted = {"rate": 0.4, "confidence": None, "review_rate": 0.6}
    shown = client.post("/v1/models/tiny/rates/preview", json=wanted).json()
    other = Inspector(tiny_station).with_rates(0.4, None, 0.6)
    judged = [other.predict(np.asarray(Image.open(io.BytesIO(content)))) for content in contents]
    assert shown["threshold"] == other.threshold
    assert shown["before"] == {v: sum(row["verdict"] == v for row in before) for v in ("OK", "review", "NG")}
    assert shown["after"] == {v: sum(one.verdict == v for one in judged) for v in ("OK", "review", "NG")}
    changed = {
        row["id"]: one.verdict
        for row, one in zip(before, judged, strict=True)
        if row["verdict"] != one.verdict
    }
    assert {one["id"]: one["verdict_after"] for one in shown["changed"]} == changed
    assert changed
    assert client.get("/v1/models/tiny/rates").json() == usual
    applied = client.put("/v1/models/tiny/rates", json=wanted).json()
    assert (applied["rate"], applied["review_rate"], applied["applied"]) == (0.4, 0.6, True)
    client, _ = fresh()  # another process, so to speak
    assert client.get("/v1/models/tiny/rates").json() == applied
    after = [send(client, content).json() for content in contents]
    assert [row["verdict"] for row in after] == [one.verdict for one in judged]
    assert {row["rate"] for row in after} == {0.4}
    back = client.put("/v1/models/tiny/rates", json={"rate": None}).json()
    assert back == usual


def test_no_verdict_is_given_that_cannot_be_recorded(fresh, tmp_path):
    client, _ = fresh()
    with sqlite3.connect(tmp_path / "record.sqlite3") as other:
        other.execute("ALTER TABLE inspections RENAME TO elsewhere")
    answer = send(client, good_part())
    assert answer.status_code == 503
    assert "record cannot be reached" in answer.json()["detail"]
    assert client.get("/ready").status_code == 503
    with sqlite3.connect(tmp_path / "record.sqlite3") as other:
        other.execute("ALTER TABLE elsewhere RENAME TO inspections")
    assert client.get("/ready").status_code == 200
    assert rows(client) == []


def listen(address, found, ready=None, **options):
    with httpx.stream("GET", f"{address}/events", timeout=20, **options) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        event = {}
        for line in answer.iter_lines():
            if line.startswith(":") and ready:
                ready.set()
            name, _, value = line.partition(": ")
            if not line:
                if event:
                    found.append(event)
                event = {}
            elif name:
                event[name] = value


def until(what):
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_listeners_hear_what_happens_and_are_let_go(tiny_station, tmp_path):
    heard, replayed, ready = [], [], threading.Event()
    with running(tiny_station, tmp_path) as address, httpx.Client(base_url=str(address)) as client:
        early = send(client, good_part(1)).json()
        thread = threading.Thread(target=listen, args=(address, heard, ready))
        thread.start()
        assert ready.wait(10)
        time.sleep(0.3)
        late = send(client, bad_part()).json()
        until(lambda: "inspection" in [one["event"] for one in heard])
        client.put(f"/v1/inspections/{late['id']}/operator", json={"verdict": "defective"})
        client.post("/v1/models/tiny/drift/reset")
        again = threading.Thread(
            target=listen, args=(address, replayed), kwargs={"headers": {"Last-Event-ID": "0"}}
        )
        again.start()
        until(lambda: len(replayed) >= 2 and {"operator", "drift"} <= {one["event"] for one in heard})
    thread.join(10)
    again.join(10)
    assert not thread.is_alive()
    inspections = [json.loads(one["data"]) for one in heard if one["event"] == "inspection"]
    late.pop("heat_map_png")
    late.pop("heat_map_error")
    (told,) = [one for one in inspections if one["id"] == late["id"]]
    assert told | {"heat_map": late["heat_map"], "kept_bytes": late["kept_bytes"]} == late
    assert [json.loads(one["data"]) for one in heard if one["event"] == "map"] == [late]
    kinds = [one["event"] for one in heard]
    assert ("operator" in kinds, "drift" in kinds) == (True, True)
    told = [json.loads(one["data"])["id"] for one in replayed if one["event"] == "inspection"]
    assert told == [early["id"], late["id"]]
    assert replayed[0]["id"] == str(early["seq"])


def test_drift_is_watched_told_kept_and_reset(fresh):
    client, _ = fresh()
    assert client.get("/v1/models").json()[0]["drift"]["alarm"] is False
    dark = [png((good_image(n) * 0.4).astype(np.uint8)) for n in range(60)]
    answers = [send(client, content).json() for content in dark]
    assert answers[0]["drift"] is None
    assert "pictures are darker" in answers[-1]["drift"]
    assert client.get("/v1/models").json()[0]["drift"]["alarm"] is True
    assert 'differnet_drift_alarm{model="tiny"} 1.0' in client.get("/metrics").text


def test_the_state_of_the_monitor_outlives_a_restart(tiny_station, tmp_path):
    for number in (1, 2):
        with running(tiny_station, tmp_path) as address:
            for n in range(3):
                httpx.post(f"{address}/v1/models/tiny/inspect", files={"image": good_part(n)})
            assert address.service.models["tiny"].monitor.images == 3 * number
    with running(tiny_station, tmp_path) as address:
        assert httpx.post(f"{address}/v1/models/tiny/drift/reset").json()["alarm"] is False
        assert address.service.models["tiny"].monitor.images == 0


def test_names_of_models(tmp_path):
    assert server.named([tmp_path / "bolts"], ["nuts=x/y"]) == {
        "bolts": str(tmp_path / "bolts"),
        "nuts": "x/y",
    }
    for folders, names, message in (
        ([], [], "no model"),
        ([tmp_path / "a"], ["a=b"], "two models"),
        ([tmp_path / "a b"], [], "letters, digits"),
        ([], ["a"], "NAME=FOLDER"),
    ):
        with pytest.raises(ConfigError, match=message):
            server.named(folders, names)


def test_the_service_loads_no_torch_and_says_what_is_missing():
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'timm', 'scipy', 'sklearn', 'safetensors'): sys.modules[name] = None\n"
        "import differnet.service.http.server\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    code = (
        "import sys\nsys.modules['fastapi'] = None\n"
        "from differnet.cli.app import main\nsys.argv = ['differnet', 'serve', 'nowhere']\nmain()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 2
    assert "pip install 'differnet[serve]'" in run.stderr


def test_answers_are_not_held_back_for_the_acknowledgement_of_their_head():
    async def delays():
        opened = server.bind("127.0.0.1", 0)
        found = asyncio.get_running_loop().create_future()

        async def serve(_, writer):
            found.set_result(
                writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            )
            writer.close()

        async with await asyncio.start_server(serve, sock=opened):
            _, writer = await asyncio.open_connection(*opened.getsockname())
            writer.close()
            return not await asyncio.wait_for(found, 10)

    assert not asyncio.run(delays())
