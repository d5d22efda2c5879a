"""The good part to compare with, where the folder of the model has none: the most usual one of the record."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')

from differnet.runtime import folder as folders
from support.service_fixture import bad_part, good_part, rows, send


@pytest.fixture
def without(tiny_station, tmp_path):
    """The folder of the tiny model without its picture, as versions before wrote it."""
    import shutil

    copy = shutil.copytree(tiny_station, tmp_path / "tiny")
    (copy / "good.png").unlink(missing_ok=True)
    about = json.loads((copy / folders.MANIFEST).read_text())
    about["files"].pop("good.png", None)
    (copy / folders.MANIFEST).write_text(json.dumps(about | {"format": folders.WITHOUT_GOOD}))
    return copy


def test_it_is_the_ok_part_of_the_lowest_score_that_nobody_called_defective(without, tmp_path):
    import httpx

    from support.service_fixture import running

    with (
        running(without, tmp_path, keep="all") as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        path = "/v1/models/tiny/good-part"
        missing = client.get(path)
        assert (missing.status_code, "--check" in missing.json()["detail"]) == (404, True)
        parts = {}
        for content in [*(good_part(index) for index in range(14)), bad_part()]:
            answer = send(client, content)
            assert answer.status_code == 200, answer.text
            parts[answer.json()["seq"]] = content
        usual = sorted((row for row in rows(client) if row["verdict"] == "OK"), key=lambda row: row["score"])
        assert len(usual) >= 2, rows(client)
        for first in usual[:2]:
            answer = client.get(path)
            assert answer.headers["Part"] == str(first["seq"])
            assert answer.content == parts[first["seq"]]
            client.put(f"/v1/inspections/{first['id']}/operator", json={"verdict": "defective"})
