"""The service over HTTP: the real server with a real exported model, asked as cameras, people and attackers ask."""

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
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

pytest.importorskip("fastapi")

import httpx
import numpy as np
from PIL import Image

from differnet import Inspector
from differnet.errors import ConfigError
from differnet.service.http import guard as api_keys
from differnet.service.http import rates as rating
from differnet.service.http import server
from differnet.service.http.limits import Limits
from differnet.service.record.inspection import Rates
from support.service_fixture import bad_part, good_part, png, running
from support.tiny import good_image

IMAGE_BYTES, PIXELS = 200_000, 100_000
EVERYWHERE = "0.0.0.0"  # noqa: S104


@pytest.fixture(scope="module")
def service(tiny_station, tmp_path_factory):
    limits = {"keep": "all", "image_bytes": IMAGE_BYTES, "pixels": PIXELS, "batch": 4, "timeout": 10}
    with running(tiny_station, tmp_path_factory.mktemp("service"), **limits) as address:
        yield address


@pytest.fixture
def client(service):
    with httpx.Client(base_url=str(service), timeout=30) as client:
        yield client


@pytest.fixture
def fresh(tiny_station, tmp_path):
    """Start services of their own; all of one test have the same record."""
    with ExitStack() as stack:

        def start(**limits):
            address = stack.enter_context(running(tiny_station, tmp_path, **limits))
            return stack.enter_context(httpx.Client(base_url=str(address), timeout=30)), address.service

        yield start


def send(client, content, name="part.png", model="tiny", **options):
    return client.post(f"/v1/models/{model}/inspect", files={"image": (name, content)}, **options)


def rows(client, **query):
    return client.get("/v1/inspections", params={"limit": 999} | query).json()["inspections"]


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
        assert found.pop("heat_map_png") is None
        assert client.get(f"/v1/inspections/{found['id']}").json() == found
        assert rows(client)[0] == found
        assert client.get(f"/v1/inspections/{found['id']}/image").content == content


def test_a_map_lies_over_its_image(client):
    wide = png(np.asarray(Image.open(io.BytesIO(bad_part())).resize((90, 40))))
    found = send(client, wide, params={"map": "true"}).json()
    drawn = base64.b64decode(found["heat_map_png"])
    image = Image.open(io.BytesIO(drawn))
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (90, 40))
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


def test_too_many_pixels_are_refused_before_they_are_decoded(client, monkeypatch):
    def decoded(*_):
        raise AssertionError("it was decoded")

    monkeypatch.setattr("differnet.service.http.upload.decode_content", decoded)
    for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF"):
        buffer = io.BytesIO()
        Image.new("L", (400, 300)).save(buffer, format=kind)
        answer = send(client, buffer.getvalue(), f"large.{kind}")
        assert answer.status_code == 413, kind
        assert "400 x 300 is more than the 100,000 pixels" in answer.json()["detail"]
        assert answer.json()["inspection"]["verdict"] == "error"


def test_too_many_bytes_are_refused_and_not_recorded(client, service):
    before = len(rows(client))
    answer = send(client, b"\x89PNG" + bytes(IMAGE_BYTES))
    assert (answer.status_code, answer.json()["detail"][:27]) == (413, "an image of 200,004 bytes; ")
    most = service.service.limits.body_bytes

    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        for _ in range(most // 65536 + 10):
            yield bytes(65536)

    head = {"content-type": "multipart/form-data; boundary=x"}
    with suppress(httpx.TransportError):  # the connection may be cut while it still sends
        assert client.post("/v1/models/tiny/inspect", content=endless(), headers=head).status_code == 413
    assert len(rows(client)) == before


@pytest.mark.parametrize(
    ("path", "request_", "status", "said"),
    [
        ("none/inspect", {"files": {"image": b"x"}}, 404, "no model 'none'; there are tiny"),
        (
            "tiny/inspect",
            {"content": b"x", "headers": {"content-type": "image/png"}},
            415,
            "image/png: multipart",
        ),
        ("tiny/inspect", {"files": {"picture": b"x"}}, 422, "no file in the field 'image'"),
        (
            "tiny/inspect",
            {"data": {"image": "text"}, "files": {"x": b""}},
            422,
            "no file in the field 'image'",
        ),
        ("tiny/inspect", {"json": {"image": "!"}}, 422, "base64"),
        ("tiny/inspect", {"json": [1]}, 422, "base64"),
        ("tiny/inspect", {"json": {"image": "eA==", "file_name": 3}}, 422, "a text or null"),
        ("tiny/inspect?views=many", {"files": {"image": b"x"}}, 422, "views"),
        ("tiny/inspect-batch", {"files": {"image": b"x"}}, 422, "no file in the field 'images'"),
        ("tiny/rates/preview", {"json": {"rate": 0}}, 422, "rate"),
        ("tiny/rates/preview", {"json": {"rate": 0.3, "threshold": 1}}, 422, "threshold"),
        ("tiny/rates/preview", {"json": {"rate": 0.01}}, 422, "calibration images can promise"),
        ("tiny/rates/preview", {"json": {"rate": 0.2, "review_rate": 0.1}}, 422, "more than rate"),
        ("tiny/rates/preview", {"json": {"rate": 0.2, "confidence": 0.99}}, 422, "are needed to promise"),
    ],
)
def test_requests_that_are_not_understood_are_not_recorded(client, path, request_, status, said):
    before = len(rows(client))
    answer = client.post(f"/v1/models/{path}", **request_)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert len(rows(client)) == before


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
    other = rating.with_rates(Inspector(tiny_station), Rates(0.4, None, 0.6))
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


def test_beyond_the_queue_is_429_and_nothing_is_lost(fresh):
    client, service = fresh(queue=1, workers=1)
    with service.line.place(), service.line.place():
        answer = send(client, good_part())
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
    assert rows(client) == []
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: send(client, good_part(n)), range(60)))
    accepted = [one.json()["id"] for one in answers if one.status_code == 200]
    assert {one.status_code for one in answers} <= {200, 429}
    assert sorted(row["id"] for row in rows(client)) == sorted(accepted)
    assert service.line.inside == 0
    assert 'differnet_refused_total{reason="queue_full"}' in client.get("/metrics").text


def test_what_is_late_says_whether_it_will_be_recorded(fresh):
    client, service = fresh(workers=1, timeout=3)
    service.line._pool.submit(time.sleep, 5)
    answer = send(client, good_part())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "not begun, and is not recorded" in answer.json()["detail"]
    time.sleep(3)
    assert rows(client) == []
    assert send(client, good_part()).status_code == 200


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


def test_keys_are_asked_for_where_there_is_something_to_see(fresh, tmp_path):
    key, digest = api_keys.make()
    other, another = api_keys.make()
    client, _ = fresh(keys={digest: "line 3", another: "office"})
    for head, status in (
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {key}"}, 401),
        ({"Authorization": "Bearer \xff".encode("latin-1")}, 401),
        ({"Authorization": f"Bearer {key}"}, 200),
        ({"X-API-Key": other}, 200),
    ):
        for path in ("/v1/models", "/v1/inspections"):
            answer = client.get(path, headers=head)
            assert answer.status_code == status, (path, head)
        assert send(client, good_part(), headers=head).status_code == status
    assert client.get("/events").status_code == 401
    assert client.get("/v1/nothing").status_code == 401
    assert client.get("/v1/models").headers["www-authenticate"] == "Bearer"
    for path in ("/", "/health", "/ready", "/metrics", "/openapi.json"):
        assert client.get(path).status_code == 200, path
    document = client.get("/openapi.json").json()
    assert document["paths"]["/v1/models"]["get"]["security"]
    assert len(rows(client.__class__(base_url=client.base_url, headers={"X-API-Key": key}))) == 2


def test_files_of_keys(tmp_path):
    path = tmp_path / "keys"
    key, digest = api_keys.make()
    path.write_text(f"# of the hall\n\n{digest.upper()}  line 3\n{'0' * 64}\n")
    path.chmod(0o600)
    found = api_keys.read(path)
    assert found == {digest: "line 3", "0" * 64: "key 4"}
    assert (api_keys.owner(found, key), api_keys.owner(found, "no")) == ("line 3", None)
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="others may write"):
        api_keys.read(path)
    path.chmod(0o600)
    for text, message in ((key, ":1: a SHA-256"), ("# none\n", "has no key")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            api_keys.read(path)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Host": "evil.example:8000"}, 400),
        ({"Host": "127.0.0.1.evil.example"}, 400),
        ({"Host": "localhost:9"}, 200),
        ({"Host": "[::1]:9"}, 200),
        ({"Host": "LINE-3.local"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://line-3.local:8000"}, 200),
    ],
)
def test_only_pages_and_names_of_its_own(tiny_station, tmp_path, headers, status):
    with running(tiny_station, tmp_path, hosts=("line-3.local",)) as address:
        assert httpx.get(f"{address}/v1/models", headers=headers).status_code == status
        assert httpx.get(f"{address}/", headers=headers).status_code == status


def test_a_body_that_does_not_come_is_given_up(fresh):
    client, service = fresh(timeout=1, queue=0, workers=1)
    url = client.base_url
    with socket.create_connection((url.host, url.port), 10) as slow:
        head = f"POST /v1/models/tiny/inspect HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 1000\r\n"
        slow.sendall((head + "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x").encode())
        time.sleep(0.3)
        assert service.line.inside == 1
        slow.settimeout(10)
        assert b" 408 " in slow.recv(1000).splitlines()[0]
    assert service.line.inside == 0
    assert send(client, good_part()).status_code == 200


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


def test_listeners_hear_what_happens_and_are_let_go(tiny_station, tmp_path):
    heard, replayed, ready = [], [], threading.Event()
    with running(tiny_station, tmp_path) as address, httpx.Client(base_url=str(address)) as client:
        early = send(client, good_part(1)).json()
        thread = threading.Thread(target=listen, args=(address, heard, ready))
        thread.start()
        assert ready.wait(10)
        time.sleep(0.3)
        late = send(client, bad_part()).json()
        time.sleep(1)
        client.put(f"/v1/inspections/{late['id']}/operator", json={"verdict": "defective"})
        client.post("/v1/models/tiny/drift/reset")
        again = threading.Thread(
            target=listen, args=(address, replayed), kwargs={"headers": {"Last-Event-ID": "0"}}
        )
        again.start()
        time.sleep(2)
    thread.join(10)
    again.join(10)
    assert not thread.is_alive()
    inspections = [json.loads(one["data"]) for one in heard if one["event"] == "inspection"]
    late.pop("heat_map_png")
    assert [one for one in inspections if one["id"] == late["id"]] == [late]
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


def test_answers_carry_ids_and_headers_and_nothing_foreign(client):
    answer = client.get("/v1/models", headers={"X-Request-ID": "line-3.17"})
    assert answer.headers["x-request-id"] == "line-3.17"
    assert client.get("/v1/models", headers={"X-Request-ID": "a b"}).headers["x-request-id"] != "a b"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "sandbox" not in client.get("/").headers["content-security-policy"]
    assert [client.get(path).status_code for path in ("/docs", "/redoc")] == [404, 404]
    assert client.delete("/v1/models/tiny/rates").headers["allow"] == "GET, PUT"
    text = client.get("/metrics").text
    assert 'differnet_inspections_total{model="tiny",source="http",verdict="NG"}' in text
    assert 'differnet_http_requests_total{method="GET",route="/v1/models",status="200"}' in text


def test_addresses_that_let_others_in_want_keys():
    with pytest.raises(ConfigError, match="--keys FILE"):
        server.check_exposure(EVERYWHERE, Limits(), False)
    for host, limits, insisted in (
        ("127.0.0.1", Limits(), False),
        ("::1", Limits(), False),
        (EVERYWHERE, Limits(), True),
        ("10.0.0.3", Limits(keys={"0" * 64: "k"}), False),
    ):
        server.check_exposure(host, limits, insisted)


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
