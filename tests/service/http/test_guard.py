"""What the service refuses: without a key, from elsewhere, too large, too late, or not understood."""

from __future__ import annotations

import hashlib
import io
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

pytest.importorskip("fastapi")

import httpx
from PIL import Image

from differnet.errors import ConfigError
from differnet.service.http import server
from differnet.service.http.access import keys as api_keys
from differnet.service.http.access.roles import Caller
from differnet.service.http.limits import Limits
from support.service_fixture import IMAGE_BYTES, good_part, rows, running, send

EVERYWHERE = "0.0.0.0"  # noqa: S104


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
            {"content": b"x", "headers": {"content-type": "text/plain"}},
            415,
            "text/plain: multipart",
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
    free = threading.Event()
    service.line._pool.submit(free.wait, 30)
    answer = send(client, good_part())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "not begun, and is not recorded" in answer.json()["detail"]
    free.set()
    service.line._pool.submit(int).result(30)  # behind all that was sent before
    assert rows(client) == []
    assert send(client, good_part()).status_code == 200


def test_keys_are_asked_for_where_there_is_something_to_see(fresh, tmp_path):
    key, digest = api_keys.make()
    other, another = api_keys.make()
    client, _ = fresh(keys={digest: Caller("line 3"), another: Caller("office")})
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
    for path in ("/", "/health", "/ready"):
        assert client.get(path).status_code == 200, path
    for path in ("/metrics", "/openapi.json"):
        assert client.get(path).status_code == 401, path
        assert client.get(path, headers={"X-API-Key": key}).status_code == 200, path
    document = client.get("/openapi.json", headers={"X-API-Key": key}).json()
    assert document["paths"]["/v1/models"]["get"]["security"]
    assert len(rows(client.__class__(base_url=client.base_url, headers={"X-API-Key": key}))) == 2


def test_files_of_keys(tmp_path):
    path = tmp_path / "keys"
    key, digest = api_keys.make()
    lines = [
        f"{digest.upper()}  line 3",
        "0" * 64,
        f"{'1' * 64} roles=send,confirm hall 2",
        f"{'2' * 64} roles=admin",
    ]
    path.write_text("# of the hall\n\n" + "\n".join(lines))
    path.chmod(0o600)
    found, without_roles = api_keys.read(path)
    assert found == {
        digest: Caller("line 3", frozenset({"admin"})),
        "0" * 64: Caller("key 4", frozenset({"admin"})),
        "1" * 64: Caller("hall 2", frozenset({"send", "confirm"})),
        "2" * 64: Caller("key 6", frozenset({"admin"})),
    }
    assert without_roles == ["line 3", "key 4"]
    assert (api_keys.owner(found, key), api_keys.owner(found, "no")) == (Caller("line 3"), None)
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="others may write"):
        api_keys.read(path)
    path.chmod(0o600)
    for text, message in (
        (key, ":1: a SHA-256"),
        ("# none\n", "has no key"),
        (f"{digest} roles=sendd x", ":1: no role 'sendd'; there are send, confirm, engineer, admin"),
        (f"{digest} roles= x", ":1: no role ''"),
        (f"{digest} roles=send a\n{digest} roles=admin b", ":2: the key of a again"),
    ):
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
        assert service.line.inside == 0  # the one place is for an image that is there
        assert send(client, good_part()).status_code == 200
        slow.settimeout(10)
        assert b" 408 " in slow.recv(1000).splitlines()[0]
    assert send(client, good_part()).status_code == 200


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
        ("10.0.0.3", Limits(keys={"0" * 64: Caller("k")}), False),
    ):
        server.check_exposure(host, limits, insisted)


def test_a_key_is_made_where_no_service_is_installed():
    blocked = (
        "import sys; sys.modules['starlette'] = sys.modules['fastapi'] = sys.modules['prometheus_client'] = None\n"
        "from differnet.cli.app import main; sys.argv = ['differnet', 'make-key', 'camera 3']; main()"
    )
    made = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    key = made.stderr.split()[-1]
    assert made.stdout == f"{hashlib.sha256(key.encode()).hexdigest()} roles=admin camera 3\n"
