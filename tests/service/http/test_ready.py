"""Ready is said where an image could be judged and recorded now, and nobody is told where the record is."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import time

import pytest

pytest.importorskip("fastapi")

import httpx

from support.service_fixture import bad_part, good_part, process, running, send


def ready(client):
    """Return what is said, later than what was said before holds."""
    time.sleep(1.1)
    return client.get("/ready").status_code


def test_a_locked_record_is_not_ready_and_is_again(tiny_station, tmp_path):
    with (
        running(tiny_station, tmp_path) as address,
        httpx.Client(base_url=str(address), timeout=30) as client,
    ):
        assert ready(client) == 200
        other = sqlite3.connect(tmp_path / "record.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        start = time.monotonic()
        assert ready(client) == 503
        assert time.monotonic() - start < 5
        other.execute("COMMIT")
        other.close()
        assert ready(client) == 200


def test_images_that_cannot_be_kept_are_not_ready(tiny_station, tmp_path):
    with (
        running(tiny_station, tmp_path) as address,
        httpx.Client(base_url=str(address), timeout=30) as client,
    ):
        send(client, bad_part())
        folder = tmp_path / "record.images"
        assert ready(client) == 200
        folder.rename(tmp_path / "away")
        folder.write_bytes(b"")  # in place of the folder
        assert ready(client) == 503
        assert send(client, bad_part()).status_code == 503
        folder.unlink()
        assert ready(client) == 200  # it will be made
        assert send(client, bad_part()).status_code == 200


def test_a_full_disk_is_not_ready_and_says_nothing_of_itself(tiny_station, tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=48m", "none", place]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        with (
            running(tiny_station, place) as address,
            httpx.Client(base_url=str(address), timeout=30) as client,
        ):
            assert ready(client) == 200
            (place / "large").write_bytes(bytes(30_000_000))
            answer = client.get("/ready") if ready(client) == 503 else None
            assert answer is not None
            assert str(place) not in answer.text
            assert "the log of the service says why" in answer.json()["detail"]
            (place / "large").unlink()
            assert ready(client) == 200
            assert send(client, good_part()).status_code == 200
    finally:
        subprocess.run(["umount", "-l", place], check=False)  # noqa: S607


def test_where_the_record_is_stands_in_the_log_alone(tiny_station, tmp_path):
    with process(tmp_path=tmp_path, folder=tiny_station) as (_, address):
        with sqlite3.connect(tmp_path / "record.sqlite3") as other:
            other.execute("ALTER TABLE inspections RENAME TO elsewhere")
        for path in ("/ready", "/v1/inspections"):
            answer = httpx.get(f"{address}{path}", timeout=30)
            assert answer.status_code == 503
            assert "sqlite" not in answer.text
            assert str(tmp_path) not in answer.text
        files = {"image": good_part()}
        sent = httpx.post(f"{address}/v1/models/tiny/inspect", files=files, timeout=30)
        assert (sent.status_code, "sqlite" in sent.text) == (503, False)
    lines = [json.loads(line) for line in (tmp_path / "log.txt").read_text().splitlines()]
    why = [line for line in lines if line["message"] == "the record cannot be reached"]
    assert len(why) == 3
    assert all(
        "no such table: inspections" in line["error"] and "record.sqlite3" in line["error"] for line in why
    )
    assert {line["request_id"] for line in why[:2]} <= {
        line["request_id"] for line in lines if "status" in line
    }
