"""Who may ask for what, from which pages; and what is recorded of who changed something."""

from __future__ import annotations

import json
import os
import sqlite3
import ssl
import subprocess
import sys

import pytest

pytest.importorskip("fastapi")

import httpx

from differnet.errors import ConfigError
from differnet.service.http import server
from differnet.service.http.access import keys as api_keys
from differnet.service.http.access.origin import Origins
from differnet.service.http.access.roles import ROLES, Caller, is_open, needed
from differnet.service.record.changes import By
from differnet.service.record.store import Store
from support.service_fixture import bad_part, good_part, process, running, send
from support.tiny import ROOT

FIGURES = ("review", "escapes", "defects", "shifts", "scores", "rates/history")
EVIL = "http://127.0.0.1:9999"  # a page at another port of the same host


@pytest.fixture(scope="module")
def keyed(tiny_station, tmp_path_factory):
    """A service with a key of each role, and a client for each."""
    made = {role: api_keys.make() for role in ROLES}
    keys = {digest: Caller(f"the {role}", frozenset({role})) for role, (_, digest) in made.items()}
    with running(tiny_station, tmp_path_factory.mktemp("keyed"), keys=keys, keep="all") as address:
        yield {
            role: httpx.Client(base_url=str(address), headers={"X-API-Key": key}, timeout=30)
            for role, (key, _) in made.items()
        } | {"service": address.service}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": EVIL}, 403),
        ({"Origin": "own"}, 200),
        ({"Origin": "https"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://line-3.local"}, 403),
        ({"Origin": "https://proxy.factory"}, 200),
        ({"Origin": "https://proxy.factory:443"}, 200),
        ({"Origin": "https://proxy.factory:8443"}, 403),
        ({"Origin": "http://proxy.factory"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https"}, 200),  # behind a proxy with a certificate
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": EVIL}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 403),
        ({}, 200),
    ],
)
def test_a_page_at_another_port_changes_nothing_and_judges_nothing(own_origin, headers, status):
    address, client = own_origin
    given = {"own": str(address), "https": str(address).replace("http:", "https:")}
    headers = {name: given.get(value, value) for name, value in headers.items()}
    before = address.service.models["tiny"].monitor.images
    assert send(client, good_part(), headers=headers).status_code == status
    assert address.service.models["tiny"].monitor.images == before + (status == 200)
    assert client.post("/v1/models/tiny/drift/reset", headers=headers).status_code == status
    assert (address.service.models["tiny"].monitor.images == 0) is (status == 200 or before == 0)
    assert client.get("/v1/inspections", headers=headers).status_code == status


@pytest.fixture(scope="module")
def own_origin(tiny_station, tmp_path_factory):
    folder, limits = tmp_path_factory.mktemp("own"), {"origins": ("https://proxy.factory",)}
    with running(tiny_station, folder, **limits) as address, httpx.Client(base_url=str(address)) as client:
        send(client, good_part())
        yield address, client


def test_a_link_leads_to_the_page_alone(own_origin):
    _, client = own_origin
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/", headers=link | {"Sec-Fetch-Dest": "iframe"}).status_code == 403
    assert client.get("/metrics", headers=link).status_code == 403


def test_the_names_of_this_machine_are_ours_and_no_others(own_origin):
    import socket

    _, client = own_origin
    name = socket.gethostname()
    for host in (name, name.upper(), f"{name.partition('.')[0]}.local:80", "proxy.factory"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 200, host
    for host in (f"{name}.evil.example", "10.9.8.7", "evil.example", "a@localhost", "localhost:http"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 400, host
    for text in ("proxy.factory", "ftp://a", "https://a/b", "https://a@b", "https://*"[:8]):
        with pytest.raises(ConfigError, match="https://HOST:PORT was wanted"):
            Origins((), (text,))


def test_each_role_may_do_what_it_is_for_and_no_more(keyed):
    part = send(keyed["admin"], bad_part()).json()["id"]
    rates = {"rate": 0.3, "confidence": None, "review_rate": None}
    asked = (  # what is asked, and which of send, confirm, engineer, admin may
        ("GET", "/v1/models", None, "scea"),
        ("GET", "/metrics", None, "scea"),
        ("GET", "/openapi.json", None, "scea"),
        ("POST", "/v1/models/tiny/inspect", None, "s ea"),
        ("POST", "/v1/models/tiny/inspect-batch", None, "s ea"),
        ("GET", "/v1/inspections", None, " cea"),
        ("GET", f"/v1/inspections/{part}", None, " cea"),
        ("GET", f"/v1/inspections/{part}/image", None, " cea"),
        ("GET", f"/v1/inspections/{part}/map", None, " cea"),
        ("HEAD", f"/v1/inspections/{part}/image", None, " cea"),
        ("GET", "/v1/models/tiny/counts", None, " cea"),
        ("GET", "/v1/models/tiny/rates", None, " cea"),
        ("PUT", f"/v1/inspections/{part}/operator", {"verdict": "defective"}, " cea"),
        ("POST", "/v1/models/tiny/rates/preview", rates, "  ea"),
        ("PUT", "/v1/models/tiny/rates", rates, "  ea"),
        ("POST", "/v1/models/tiny/drift/reset", None, "  ea"),
        ("GET", "/v1/models/tiny/good-images", None, "  ea"),
        ("GET", "/v1/models/tiny/labelled-images", None, "  ea"),
        ("GET", "/v1/changes", None, "   a"),
        ("GET", f"/v1/inspections/{part}/changes", None, " cea"),
        ("GET", f"/v1/inspections/{part}/thumbnail", None, " cea"),
        ("GET", "/v1/defect-classes", None, " cea"),
        ("GET", "/v1/export/inspections.csv", None, " cea"),
        ("GET", "/v1/export/inspections.parquet", None, " cea"),
        *(("GET", f"/v1/models/tiny/{path}", None, " cea") for path in FIGURES),
    )
    for method, path, body, who in asked:
        for letter, role in zip("scea", ROLES, strict=True):
            files = None
            if "/inspect" in path and method == "POST":
                files = {"images" if path.endswith("batch") else "image": ("a.png", good_part())}
            answer = keyed[role].request(method, path, json=body, files=files)
            assert answer.status_code == (200 if letter in who else 403), (method, path, role, answer.text)
            if letter not in who and method != "HEAD":
                assert f"that of the {role} has {role}" in answer.json()["detail"]
    with keyed["confirm"].stream("GET", "/events") as heard:
        assert heard.status_code == 200
    assert keyed["send"].get("/events").status_code == 403


def test_every_route_has_its_role(keyed):
    documented = keyed["admin"].get("/openapi.json").json()["paths"]
    for path, operations in documented.items():
        for method in operations:
            concrete = path.replace("{name}", "tiny").replace("{id}", "0" * 32)
            assert is_open(concrete) or needed(method.upper(), concrete) != "admin" or path == "/v1/changes"
    for method, path in (("DELETE", "/v1/models"), ("GET", "/v2"), ("POST", "/v1/models/a/b/inspect")):
        assert needed(method, path) == "admin"
    for path in ("/v1/models/../../health", "//", "/page/a/b", "/health/", "/readyx", "/page"):
        assert not is_open(path)


def test_who_changed_what_is_recorded_and_stays(keyed):
    part = send(keyed["admin"], bad_part()).json()["id"]
    keyed["confirm"].put(f"/v1/inspections/{part}/operator", json={"verdict": "good", "note": "dust"})
    answer = keyed["engineer"].put("/v1/models/tiny/rates", json={"rate": 0.35})
    keyed["engineer"].put("/v1/models/tiny/rates", json={"rate": None})
    keyed["engineer"].put("/v1/models/tiny/rates", json={"rate": 0.0001})  # refused: no change
    keyed["engineer"].post("/v1/models/tiny/drift/reset")
    page = keyed["admin"].get("/v1/changes", params={"model": "tiny", "limit": 4}).json()
    reset, back, moved, confirmed = page["changes"]
    assert [one["what"] for one in page["changes"]] == ["drift reset", "rates", "rates", "confirm"]
    assert (confirmed["who"], confirmed["inspection"], confirmed["client"]) == (
        "the confirm",
        part,
        "127.0.0.1",
    )
    assert confirmed["before"] == {"verdict": None, "note": None}
    assert confirmed["after"] == {"verdict": "good", "note": "dust"}
    assert (moved["who"], moved["after"]["rate"], moved["request_id"]) == (
        "the engineer",
        0.35,
        answer.headers["x-request-id"],
    )
    assert (back["before"]["rate"], back["after"], reset["who"]) == (0.35, None, "the engineer")
    older = keyed["admin"].get("/v1/changes", params={"before_number": page["next"], "limit": 1}).json()
    assert [one["number"] < confirmed["number"] for one in older["changes"]] in ([True], [])


def test_changes_can_be_added_alone(url, tmp_path):
    from sqlalchemy import text
    from sqlalchemy.exc import DatabaseError

    store = Store.open(url, tmp_path / "images")
    store.set_setting("tiny", 0.1, by=By("line 3", "10.0.0.3", "r1"))
    for wrong in ("UPDATE changes SET who = 'nobody'", "DELETE FROM changes"):
        with pytest.raises(DatabaseError, match="only added"), store.engine.begin() as connection:
            connection.execute(text(wrong))
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT who, client FROM changes")).all() == [("line 3", "10.0.0.3")]
    store.close()


def test_a_change_and_its_line_are_there_together_or_not_at_all(keyed, tiny_station, tmp_path):
    with (
        running(tiny_station, tmp_path) as address,
        httpx.Client(base_url=str(address), timeout=30) as client,
    ):
        part = send(client, bad_part()).json()["id"]
        with sqlite3.connect(tmp_path / "record.sqlite3") as other:
            other.execute("ALTER TABLE changes RENAME TO elsewhere")
        assert client.put("/v1/models/tiny/rates", json={"rate": 0.35}).status_code == 503
        assert client.put(f"/v1/inspections/{part}/operator", json={"verdict": "good"}).status_code == 503
        assert client.post("/v1/models/tiny/drift/reset").status_code == 503
        assert client.get("/v1/models/tiny/rates").json()["rate"] == 0.2
        assert client.get(f"/v1/inspections/{part}").json()["operator"] is None
        assert address.service.models["tiny"].monitor.images == 1


def test_a_key_without_roles_keeps_its_rights_which_is_said_once(tiny_station, tmp_path):
    key, digest = api_keys.make()
    (tmp_path / "keys").write_text(f"{digest} line 3\n")
    (tmp_path / "keys").chmod(0o600)
    with process("--keys", str(tmp_path / "keys"), tmp_path=tmp_path, folder=tiny_station) as (_, address):
        head = {"Authorization": f"Bearer {key}"}
        assert (
            httpx.put(f"{address}/v1/models/tiny/rates", json={"rate": 0.35}, headers=head).status_code == 200
        )
        assert httpx.get(f"{address}/v1/changes", headers=head).json()["changes"][0]["who"] == "line 3"
    log = (tmp_path / "log.txt").read_text()
    assert log.count("keys without roles may do everything") == 1


def test_a_certificate_makes_it_https_and_another_file_is_refused(tiny_station, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", cert, "-keyout", key]
    subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o640)
    with pytest.raises(ConfigError, match="others may read the private key; chmod 600"):
        server.Tls.read(cert, key)
    key.chmod(0o600)
    for wrong, message in (((cert, None), "belong together"), ((key, key), "no certificate with its key")):
        with pytest.raises(ConfigError, match=message):
            server.Tls.read(*wrong)
    with process(
        "--tls-cert", str(cert), "--tls-key", str(key), tmp_path=tmp_path, folder=tiny_station
    ) as found:
        address, trust = found[1], ssl.create_default_context(cafile=str(cert))
        assert address.startswith("https://127.0.0.1:")
        with httpx.Client(base_url=address, verify=trust) as client:
            assert client.get("/v1/models", headers={"Origin": address}).status_code == 200
            plain = address.replace("https:", "http:")
            assert client.get("/v1/models", headers={"Origin": plain}).status_code == 403
        command = [sys.executable, ROOT / "docker" / "health.py", address.rsplit(":", 1)[1]]
        for scheme, status in (("https", 0), ("http", 1)):
            env = os.environ | {"DIFFERNET_HEALTH_SCHEME": scheme}
            assert subprocess.run(command, check=False, env=env, capture_output=True).returncode == status
    assert json.loads((tmp_path / "log.txt").read_text().splitlines()[0])["address"] == address
