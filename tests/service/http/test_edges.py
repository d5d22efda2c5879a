"""The edges of the API: what is not known is refused, what is meant is understood, and nothing grows without bound."""

from __future__ import annotations

import base64
import io
import json
import socket
import subprocess
import sys

import pytest

pytest.importorskip("fastapi")

from fastapi import HTTPException
from PIL import Image

from differnet.service.http.queue import FullError, Line
from differnet.service.http.routes.body import file_name, from_base64
from support.service_fixture import bad_part, process, rows, send
from support.tiny import ROOT


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("GET", "inspections?modle=tiny", "query.modle: no such parameter; did you mean 'model'?"),
        ("GET", "inspections?verdict=NG&limits=5", "did you mean 'limit'?"),
        ("GET", "models?x=1", "query.x: no such parameter; there are none"),
        ("POST", "models/tiny/inspect?maps=true", "did you mean 'map'?"),
        ("POST", "models/tiny/inspect-batch?map=true", "there are: views"),
        ("PUT", "models/tiny/rates?rate=0.1", "there are none"),
        ("GET", "models/tiny/counts?bukket=day", "did you mean 'bucket'?"),
        ("GET", "changes?before=3", "query.before: no such parameter"),
    ],
)
def test_a_parameter_that_is_not_known_is_refused(client, method, path, said):
    before = len(rows(client))
    answer = client.request(method, f"/v1/{path}")
    assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text
    assert len(rows(client)) == before


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF"])
def test_the_bytes_of_an_image_are_a_body(client, kind):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(bad_part())).convert("RGB").save(buffer, kind)
    name = f"Teil ü.{kind.lower()}"
    head = {
        "Content-Type": f"image/{kind.lower()}",
        "Content-Disposition": "attachment; filename*=UTF-8''Teil%20%C3%BC." + kind.lower(),
    }
    found = client.post("/v1/models/tiny/inspect", content=buffer.getvalue(), headers=head)
    wanted = send(client, buffer.getvalue(), name)
    assert (found.status_code, wanted.status_code) == (200, 200)
    for member in ("score", "verdict", "image_digest", "file_name"):
        assert found.json()[member] == wanted.json()[member], member
    assert found.json()["file_name"] == name


def test_a_file_that_has_filename_with_a_star_alone_is_a_file(client):
    head = b"--x\r\nContent-Disposition: form-data; name=\"image\"; filename*=UTF-8''na%C3%AFve%20%22b%22.png\r\n\r\n"
    body = head + bad_part() + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    found = client.post("/v1/models/tiny/inspect", content=body, headers=kind)
    assert (found.status_code, found.json()["file_name"]) == (200, 'naïve "b".png')
    for said, name in (
        ('form-data; filename="a b.png"', "a b.png"),
        ("form-data; filename=a.png", "a.png"),
        ("form-data; filename=\"a\"; filename*=nonsense''%FF", "a"),
        ("form-data; filename*=UTF-8''%FF; filename=b", "b"),
        ("form-data", None),
    ):
        assert file_name(said) == name


def test_base64_is_taken_as_people_make_it(client):
    content = bad_part()
    usual = base64.b64encode(content).decode()
    wanted = client.post("/v1/models/tiny/inspect", json={"image": usual}).json()
    for text in (
        base64.encodebytes(content).decode(),
        base64.urlsafe_b64encode(content).decode(),
        base64.urlsafe_b64encode(content).decode().rstrip("="),
        f"data:image/png;base64,{usual}",
        f"  {usual}\r\n",
    ):
        found = client.post("/v1/models/tiny/inspect", json={"image": text})
        assert found.status_code == 200, found.text
        assert (found.json()["image_digest"], found.json()["score"]) == (
            wanted["image_digest"],
            wanted["score"],
        )
    for text, said in (
        ("abc*def", "'*' at character 4 is not of base64"),
        ("abcde", "5 characters of base64 are cut off"),
        ("data:image/png,abc", "is not of base64"),
    ):
        answer = client.post("/v1/models/tiny/inspect", json={"image": text})
        assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text
    with pytest.raises(HTTPException, match="'ä' at character 3"):
        from_base64("aaä=")


def test_head_says_what_get_would(client):
    part = send(client, bad_part()).json()["id"]
    for path in (
        "/",
        "/health",
        "/ready",
        "/v1/models",
        f"/v1/inspections/{part}/image",
        "/v1/models/tiny/rates",
    ):
        said, got = client.head(path), client.get(path)
        assert (said.status_code, said.content) == (200, b""), path
        for name in ("content-type", "content-length", "etag"):
            assert said.headers.get(name) == got.headers.get(name), (path, name)
    assert client.head("/v1/models/none/rates").status_code == 404
    assert client.head("/events").status_code == 405
    assert client.get("/health").status_code == 200  # the connection is as it was


def test_a_confirmation_without_a_note_keeps_the_note(client):
    place = f"/v1/inspections/{send(client, bad_part()).json()['id']}/operator"
    assert client.put(place, json={"verdict": "good", "note": "dust"}).json()["note"] == "dust"
    kept = client.put(place, json={"verdict": "defective"}).json()
    assert (kept["operator"], kept["note"]) == ("defective", "dust")
    assert client.put(place, json={"verdict": None}).json()["note"] == "dust"
    assert client.put(place, json={"verdict": "good", "note": None}).json()["note"] is None


def test_rates_that_somebody_moved_meanwhile_are_not_overwritten(fresh):
    client, _ = fresh()
    place = "/v1/models/tiny/rates"
    seen = client.get(place).headers["etag"]
    assert client.get(place).headers["etag"] == seen
    moved = client.put(place, json={"rate": 0.3}, headers={"If-Match": seen})
    assert (moved.status_code, moved.headers["etag"] != seen) == (200, True)
    late = client.put(place, json={"rate": 0.4}, headers={"If-Match": seen})
    assert (late.status_code, "moved meanwhile" in late.json()["detail"]) == (412, True)
    assert client.get(place).json()["rate"] == 0.3
    tags = f'"other", {moved.headers["etag"]}'
    assert client.put(place, json={"rate": 0.4}, headers={"If-Match": tags}).json()["rate"] == 0.4
    assert client.put(place, json={"rate": None}, headers={"If-Match": "*"}).status_code == 200
    assert client.get(place).headers["etag"] == seen


def test_metrics_do_not_grow_with_what_senders_invent(fresh):
    client, _ = fresh()
    for number in range(30):
        client.request(f"BREW{number}", "/v1/models")
        client.get(f"/v1/models/none{number}/rates")
        client.get(f"/nowhere/{number}", headers={"X-Request-ID": str(number)})
    lines = [line for line in client.get("/metrics").text.splitlines() if "http_requests_total{" in line]
    assert len(lines) < 12
    assert 'differnet_http_requests_total{method="other",route="/v1/models",status="405"} 30.0' in lines


def test_those_who_are_refused_come_back_at_different_times():
    line = Line(0, 1)
    with line.place():
        waits = []
        for _ in range(200):
            with pytest.raises(FullError) as found:
                line.check()
            waits.append(found.value.retry_after)
    assert min(waits) >= 1
    assert all(waits.count(one) < 120 for one in set(waits))
    assert len(set(waits)) >= 3


def test_413_says_what_is_too_large_before_it_is_read(client, service):
    most = service.service.limits.single_bytes
    url = client.base_url
    with socket.create_connection((url.host, url.port), 10) as opened:
        head = f"POST /v1/models/tiny/inspect HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: {most + 1}\r\n"
        opened.sendall((head + "Content-Type: image/png\r\n\r\n").encode())  # and nothing of the body
        opened.settimeout(5)
        answer = b"".join(iter(lambda: opened.recv(65536), b"")).decode()  # it is closed then
    assert answer.startswith("HTTP/1.1 413 ")
    assert f"{most + 1} bytes; a request may have {most:,}" in answer


def test_a_body_of_two_lengths_is_refused_and_what_follows_is_not_read(client):
    url = client.base_url
    head = f"POST /v1/models/tiny/inspect HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 5\r\n"
    with socket.create_connection((url.host, url.port), 10) as opened:
        # In one piece: what comes after the service has hung up resets the connection, and the answer may be lost.
        after = f"GET /health HTTP/1.1\r\nHost: {url.host}\r\n\r\n"
        opened.sendall((head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + after).encode())
        answer = b"".join(iter(lambda: opened.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_every_line_of_the_log_is_json(tiny_station, tmp_path):
    code = (
        "import logging, sys, threading, warnings\n"
        "from differnet.service.http import telemetry\n"
        "telemetry.set_up('warning')\n"
        "telemetry.announce('serving', address='here')\n"
        "warnings.warn('weak')\n"
        "logging.getLogger('asyncio').error('a task was lost')\n"
        "logging.getLogger('sqlalchemy.pool').warning('gone')\n"
        "thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()\n"
        "raise ValueError('the end')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    said = [json.loads(line) for line in run.stderr.splitlines()]
    messages = [line["message"] for line in said]
    wanted = ["serving", "weak", "a task was lost", "gone", "ended by an exception", "ended by an exception"]
    assert messages == wanted
    assert "ZeroDivisionError" in said[4]["exception"]
    assert "the end" in said[5]["exception"]
    with process(tmp_path=tmp_path, folder=tiny_station) as (_, address), socket.socket() as opened:
        opened.connect((address.split("/")[2].split(":")[0], int(address.rsplit(":", 1)[1])))
        opened.sendall(b"no HTTP at all\r\n\r\n")
        assert opened.recv(100).startswith(b"HTTP/1.1 400")
    for line in (tmp_path / "log.txt").read_text().splitlines():
        json.loads(line)


def test_the_demo_sends_nothing_to_what_listens_there_already(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, ROOT / "scripts" / "serve_demo.py", tmp_path / "demo", "--port", str(port)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        other.settimeout(0.1)
        with pytest.raises(TimeoutError):
            other.accept()
    assert run.returncode == 1
    assert f"port {port} of this machine is taken" in run.stderr
    assert not (tmp_path / "demo").exists()
