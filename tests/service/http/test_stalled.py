"""Senders and readers that stall: they hold no place, are let go in time, and keep nobody waiting, not even the end."""

from __future__ import annotations

import json
import signal
import socket
import time
from contextlib import ExitStack, suppress

import pytest

pytest.importorskip("fastapi")

import httpx

from differnet.service.http.connection.bodies import Bodies, Body, BodyError
from differnet.service.http.limits import Limits
from support.service_fixture import bad_part, good_part, process, rows, running, send

HEAD = b"POST /v1/models/tiny/inspect HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BODY = HEAD + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 5000\r\n\r\n--x\r\n"
SIZE = 9_000_000  # more than the buffers of both ends take


def connected(stack, address, sent=b""):
    """Open a connection that has sent something."""
    url = httpx.URL(str(address))
    opened = stack.enter_context(socket.create_connection((url.host, url.port), 30))
    opened.settimeout(30)
    opened.sendall(sent)
    return opened


def until_closed(opened):
    """Return what came until the other side closed, and the seconds that it took."""
    start, found = time.monotonic(), b""
    with suppress(ConnectionResetError):
        while piece := opened.recv(65536):
            found += piece
    return found, time.monotonic() - start


def test_two_hundred_that_stall_keep_nobody_from_being_judged(tiny_station, tmp_path):
    with (
        running(tiny_station, tmp_path, queue=2, workers=1, timeout=3, head_timeout=2) as address,
        httpx.Client(base_url=str(address), timeout=30) as client,
        ExitStack() as stack,
    ):
        start = time.monotonic()
        stalled = [connected(stack, address, what) for what in (b"", HEAD, BODY, b"GET") for _ in range(50)]
        times = []
        while time.monotonic() - start < 1.5:
            before = time.perf_counter()
            assert send(client, good_part()).status_code == 200
            times.append(time.perf_counter() - before)
        assert sorted(times)[len(times) // 2] < 1
        assert address.service.line.inside == 0
        found = [until_closed(one)[0] for one in stalled]
        assert time.monotonic() - start < 8
        assert {text.partition(b"\r\n")[0] for text in found[:50]} <= {b"HTTP/1.1 408 Request Timeout", b""}
        assert {text.partition(b"\r\n")[0] for text in found[50:]} == {b"HTTP/1.1 408 Request Timeout"}
        assert len(rows(client)) == len(times)


def test_a_head_has_its_time_anew_for_each_request_and_a_body_its_own(tiny_station, tmp_path):
    ask = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with running(tiny_station, tmp_path, timeout=5, head_timeout=0.8) as address, ExitStack() as stack:
        opened = connected(stack, address)
        for _ in range(3):  # together they take longer than one may
            opened.sendall(ask[:20])
            time.sleep(0.4)
            opened.sendall(ask[20:])
            answer = b""
            while not answer.endswith(b"}"):
                answer += opened.recv(65536)
            assert b" 200 " in answer
        opened.sendall(ask[:20])
        assert until_closed(opened)[1] < 3
        slow = connected(stack, address)
        content = (
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + good_part()
        )
        content += b"\r\n--x--\r\n"
        slow.sendall(BODY.partition(b"Content-Length")[0] + b"Content-Length: %d\r\n\r\n" % len(content))
        for at in range(4):  # slower than a head may be
            slow.sendall(content[at * len(content) // 4 : (at + 1) * len(content) // 4])
            time.sleep(0.3)
        assert b" 200 " in slow.recv(65536)


@pytest.mark.long
def test_one_who_reads_nothing_is_cut_off_and_one_who_reads_slowly_is_not(tiny_station, tmp_path):
    with (
        running(tiny_station, tmp_path, keep="all", stall_timeout=1, image_bytes=30_000_000) as address,
        httpx.Client(base_url=str(address), timeout=60) as client,
        ExitStack() as stack,
    ):
        row = send(client, bad_part() + bytes(SIZE)).json()  # decoders leave alone what comes after the image
        ask = f"GET /v1/inspections/{row['id']}/image HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        opened = connected(stack, address, ask)
        time.sleep(2.5)
        assert len(until_closed(opened)[0]) < SIZE
        slow, found = connected(stack, address, ask), 0
        for _ in range(25):
            found += len(slow.recv(200_000))
            time.sleep(0.1)
        while found < SIZE and (piece := slow.recv(1_000_000)):
            found += len(piece)
        assert found > SIZE


def test_the_room_for_bodies_is_bounded_and_given_back(tiny_station, tmp_path):
    with (
        running(tiny_station, tmp_path, image_bytes=50_000, batch=1, timeout=5) as address,
        httpx.Client(base_url=str(address), timeout=30) as client,
        ExitStack() as stack,
    ):
        most = address.service.limits.held_bytes
        head = BODY.replace(b"5000", b"90000").replace(b"multipart/form-data; boundary=x", b"image/png")
        for size in [80_000] * (most // 80_000) + [most % 80_000 - 500]:
            connected(stack, address, head + bytes(max(0, size - 5)))  # five are in BODY
        time.sleep(0.5)
        answer = send(client, good_part())
        assert (answer.status_code, "all the room" in answer.json()["detail"]) == (429, True)
        assert int(answer.headers["retry-after"]) >= 1
        assert 'differnet_refused_total{reason="no_room"}' in client.get("/metrics").text
        stack.close()
        end = time.monotonic() + 8
        while (answer := send(client, good_part())).status_code != 200 and time.monotonic() < end:
            time.sleep(0.2)
        assert answer.status_code == 200
        assert len(rows(client)) == 1


@pytest.mark.long
def test_the_service_stops_though_two_hundred_stall(tiny_station, tmp_path):
    with process(tmp_path=tmp_path, folder=tiny_station) as (run, address), ExitStack() as stack:
        row = httpx.post(f"{address}/v1/models/tiny/inspect", files={"image": bad_part()}).json()
        reads = b"GET /v1/inspections/%s/image HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % row["id"].encode()
        listens = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        for what in [b""] * 60 + [HEAD] * 60 + [BODY] * 60 + [reads] * 10 + [listens] * 10:
            connected(stack, address, what)
        time.sleep(0.5)
        start = time.monotonic()
        run.send_signal(signal.SIGTERM)
        assert run.wait(30) == 0
        assert time.monotonic() - start < 12
    lines = [json.loads(line) for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert "stopped; everything that was accepted is recorded" in [line["message"] for line in lines]
    assert not [line for line in lines if "exception" in line]


def test_a_sender_who_hangs_up_is_no_fault_of_the_service(tiny_station, tmp_path):
    with process(tmp_path=tmp_path, folder=tiny_station) as (_, address):
        with ExitStack() as stack:
            for kind in (b"multipart/form-data; boundary=x", b"application/json", b"image/png"):
                connected(stack, address, BODY.replace(b"multipart/form-data; boundary=x", kind))
        time.sleep(0.5)
        text = httpx.get(f"{address}/metrics").text
    name = 'differnet_http_requests_total{method="POST",route="/v1/models/{name}/inspect",status="499"}'
    assert f"{name} 3.0" in text
    lines = [json.loads(line) for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert [line["status"] for line in lines if line["message"] == "request"] == [499] * 3
    assert not [line for line in lines if "exception" in line or line["level"] == "error"]


def sent(bodies, pieces, length=None):
    """Return a body that comes in pieces."""
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]

    async def receive():
        return waiting.pop(0)

    head = [] if length is None else [(b"content-length", str(length).encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/models/tiny/inspect", "headers": head}
    return Body(bodies, scope, receive)


@pytest.mark.parametrize(
    ("pieces", "length", "status"),
    [
        ([bytes(100_000), bytes(100_000)], None, 413),  # the second is one too many
        ([bytes(200_000)], None, 413),
        ([], 200_000, 413),
        ([bytes(100_000)], None, 429),
    ],
)
def test_what_is_counted_is_given_back_and_no_more(pieces, length, status):
    import asyncio

    bodies = Bodies(Limits(image_bytes=50_000, batch=1))
    others = bodies.limits.held_bytes - 50_000 if status == 429 else 7
    bodies.held = others  # of other requests

    async def take():
        body = sent(bodies, pieces, length)
        try:
            while True:
                await body()
        except BodyError as found:
            body.close()
            body.close()
            return found.status

    assert asyncio.run(take()) == status
    assert bodies.held == others
