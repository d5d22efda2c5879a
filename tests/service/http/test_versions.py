"""Versions of a model over HTTP: put in place, rolled back and retired while the service runs, without a lost part."""

from __future__ import annotations

import io
import json
import shutil
import threading
import time
import zipfile

import pytest

pytest.importorskip("fastapi")

import httpx
import numpy as np
from PIL import Image

from differnet import Inspector
from differnet.errors import ConfigError, ModelFileError
from differnet.service.http.access import keys as api_keys
from differnet.service.http.access.roles import ROLES, Caller
from support.service_fixture import bad_part, good_part, png, running, send
from support.tiny import good_image

MODEL = "/v1/models/tiny"


def digest(folder):
    return Inspector(folder).station.digest


@pytest.fixture
def root(tiny_station, other_station, tmp_path):
    """A folder of models with both of them."""
    shutil.copytree(tiny_station, tmp_path / "models/tiny/old")
    shutil.copytree(other_station, tmp_path / "models/tiny/new")
    return tmp_path / "models"


@pytest.fixture
def both(tiny_station, root, tmp_path):
    """A service with the first model, and a client."""
    with (
        running(tiny_station, tmp_path, root=root) as address,
        httpx.Client(base_url=str(address), timeout=60) as client,
    ):
        yield client, address.service


def put(client, folder="tiny/new", **query):
    return client.put(MODEL, json={"folder": folder}, params=query)


def zipped(folder, home="", **more):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, home + path.name)
        for name, content in more.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_version_is_put_in_place_and_holds_after_a_restart(tiny_station, other_station, root, tmp_path):
    first, second = digest(tiny_station), digest(other_station)
    with running(tiny_station, tmp_path, root=root) as address, httpx.Client(base_url=address) as client:
        assert client.get("/v1/model-folders").json() == {
            "allowed": True,
            "folders": ["tiny/new", "tiny/old"],
        }
        before = send(client, good_part()).json()
        found = put(client, reason="more pictures of June").raise_for_status().json()
        after = send(client, good_part()).json()
        assert (before["model_digest"], after["model_digest"]) == (first, second)
        wanted = Inspector(other_station).predict(np.asarray(Image.open(io.BytesIO(good_part()))))
        assert (after["score"], after["threshold"]) == (
            pytest.approx(wanted.score, rel=1e-6),
            wanted.threshold,
        )
        assert (found["active"], found["before"], found["retired"]) == (second, first, False)
        new, old = found["versions"]
        assert (new["digest"], new["judges"], new["origin"], new["folder"]) == (
            second,
            "active",
            "folder",
            "tiny/new",
        )
        assert (old["digest"], old["judges"], old["origin"]) == (first, "before", "start")
        made = new["made_from"]
        assert (made["images"] + made["calibration_images"], made["settings"]["flow"]["blocks"]) == (60, 1)
        assert made["made_with"]["differnet"]
        (change, start) = client.get("/v1/changes", params={"model": "tiny"}).json()["changes"]
        assert (change["what"], change["client"]) == ("model put", "127.0.0.1")
        assert change["before"] == {"active": first, "shadow": None}
        assert change["after"] == {"active": second, "shadow": None, "reason": "more pictures of June"}
        assert (start["who"], start["after"]["active"]) == ("differnet serve", first)
    with running(tiny_station, tmp_path, root=root) as address, httpx.Client(base_url=address) as client:
        assert send(client, good_part()).json()["model_digest"] == second
        assert client.get("/v1/models").json()[0]["digest"] == second
        assert client.get(f"{MODEL}/versions").json() == found


def test_rolled_back_and_retired_and_there_again(both, tiny_station, other_station):
    client, _ = both
    first, second = digest(tiny_station), digest(other_station)
    assert client.post(f"{MODEL}/rollback").status_code == 409
    put(client).raise_for_status()
    assert put(client).json()["before"] == first  # said twice, as after a lost answer, it is done once
    found = client.post(f"{MODEL}/rollback", params={"reason": "worse"}).json()
    assert (found["active"], found["before"]) == (first, None)
    assert send(client, good_part()).json()["model_digest"] == first
    put(client).raise_for_status()
    found = client.delete(MODEL, params={"reason": "the line is gone"}).raise_for_status().json()
    assert (found["active"], found["retired"], found["before"]) == (None, True, second)
    refused = send(client, good_part())
    assert (refused.status_code, "no model 'tiny'" in refused.json()["detail"]) == (404, True)
    assert client.get("/v1/models").json() == []
    assert [one["model"] for one in client.get("/v1/versions").json()] == ["tiny"]
    assert client.delete(MODEL).status_code == 409
    assert client.post(f"{MODEL}/rollback").json()["active"] == second
    assert send(client, good_part()).json()["model_digest"] == second
    whats = [one["what"] for one in client.get("/v1/changes").json()["changes"]]
    assert whats == [
        "model rolled back",
        "model retired",
        "model put",
        "model rolled back",
        "model put",
        "model put",
    ]


def test_a_retired_model_stays_so_until_its_folder_is_wanted_again(tiny_station, tmp_path):
    with running(tiny_station, tmp_path) as address:
        assert httpx.delete(f"{address}{MODEL}").status_code == 200
    with running(tiny_station, tmp_path) as address:
        assert httpx.get(f"{address}/v1/models").json() == []
    with running(tiny_station, tmp_path, forget_versions=["tiny"]) as address:
        assert httpx.get(f"{address}/v1/models").json()[0]["digest"] == digest(tiny_station)


def test_a_folder_that_the_record_does_not_know_judges_from_the_start(tiny_station, other_station, tmp_path):
    for folder, judges in ((tiny_station, 0), (other_station, 1), (tiny_station, 1)):
        with running(folder, tmp_path) as address:
            found = httpx.get(f"{address}/v1/models").json()[0]["digest"]
            assert found == digest((tiny_station, other_station)[judges])


def test_what_cannot_be_put_in_place_changes_nothing(both, root, tmp_path):
    client, _ = both
    before = client.get("/v1/versions").json()
    shutil.copytree(root / "tiny/new", root / "broken")
    (root / "broken/weights.bin").write_bytes(b"short")
    shutil.copytree(root / "tiny/new", tmp_path / "elsewhere")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    for body, status, said in (
        ({"folder": "broken"}, 422, "5 bytes where"),
        ({"folder": "../elsewhere"}, 422, "below that of --models was wanted"),
        ({"folder": "tiny/../../elsewhere"}, 422, "below that of --models was wanted"),
        ({"folder": str(tmp_path / "elsewhere")}, 422, "below that of --models was wanted"),
        ({"folder": "link"}, 422, "leads out of"),
        ({"folder": "none"}, 422, "no such folder"),
        ({"folder": "."}, 422, "below that of --models was wanted"),
        ({"folder": "tiny\0"}, 422, "below that of --models was wanted"),
        ({"folder": "tiny"}, 422, "has no manifest.json"),
        ({"version": "0" * 64}, 409, "has no version"),
        ({}, 422, "was wanted"),
        ({"folder": "tiny/new", "version": "0" * 64}, 422, "was wanted"),
        ({"foldr": "tiny/new"}, 422, "foldr"),
    ):
        answer = client.put(MODEL, json=body)
        assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
    assert client.put(MODEL, content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.put("/v1/models/a%20b", json={"folder": "tiny/new"}).status_code == 422
    assert client.get("/v1/models/none/versions").status_code == 404
    assert client.get("/v1/versions").json() == before
    assert send(client, good_part()).status_code == 200
    assert "link" not in client.get("/v1/model-folders").json()["folders"]


def test_without_a_folder_of_models_nothing_new_is_put_in_place(client, other_station):
    assert client.get("/v1/model-folders").json() == {"allowed": False, "folders": []}
    for answer in (
        put(client),
        client.put(MODEL, content=zipped(other_station), headers={"Content-Type": "application/zip"}),
    ):
        assert (answer.status_code, "without --models" in answer.json()["detail"]) == (422, True)


def upload(client, content, **query):
    return client.put(MODEL, content=content, params=query, headers={"Content-Type": "application/zip"})


def test_an_uploaded_station_is_unpacked_whole_and_judges(both, root, other_station):
    client, service = both
    second = digest(other_station)
    found = upload(client, zipped(other_station, "station/")).raise_for_status().json()
    assert (found["active"], found["versions"][0]["origin"]) == (second, "upload")
    (folder,) = {path.name for path in root.iterdir()} - {"tiny"}
    assert folder == found["versions"][0]["folder"] == f"tiny-{second[:12]}"
    assert digest(root / folder) == second
    assert send(client, good_part()).json()["model_digest"] == second
    client.post(f"{MODEL}/rollback").raise_for_status()
    assert upload(client, zipped(other_station)).json()["active"] == second  # it is there already
    assert service.versions.served["tiny"].inspector.folder == str(root / folder)
    assert len(list(root.iterdir())) == 2


def test_an_upload_that_is_no_station_leaves_nothing(both, root, other_station, tmp_path):
    client, service = both
    spoilt = shutil.copytree(other_station, tmp_path / "spoilt")
    (spoilt / "calibration.json").write_bytes(b"{}")
    for content, status in (
        (b"no zip", 422),
        (zipped(other_station)[:-100], 422),
        (zipped(spoilt), 422),
        (zipped(other_station, **{"../evil": b"x"}), 422),
    ):
        assert upload(client, content).status_code == status
    service.versions.places.most = 1000
    answer = upload(client, zipped(other_station))
    assert (answer.status_code, "more than the 1,000 bytes" in answer.json()["detail"]) == (413, True)
    assert [path.name for path in root.iterdir()] == ["tiny"]
    assert [path.name for path in tmp_path.iterdir() if path.name == "evil"] == []
    assert len(client.get(f"{MODEL}/versions").json()["versions"]) == 1


def test_an_upload_has_its_own_bound_and_takes_no_room_of_images(tiny_station, root, tmp_path):
    limits = {"image_bytes": 1000, "batch": 1, "model_bytes": 2**22}
    with (
        running(tiny_station, tmp_path, root=root, **limits) as address,
        httpx.Client(base_url=str(address), timeout=60) as client,
    ):
        large = b"x" * (address.service.limits.held_bytes + 1)
        for content, status in ((large, 422), (b"x" * (2**22 + 1), 413)):
            assert upload(client, content).status_code == status
        assert (
            client.put(MODEL, content=large, headers={"Content-Type": "application/json"}).status_code == 413
        )
        assert [path.name for path in root.iterdir()] == ["tiny"]


def test_rates_stay_with_the_model_and_must_fit_its_new_version(both, root, tmp_path):
    client, _ = both
    few = root / "few"
    shutil.copytree(root / "tiny/new", few)
    spoil(few, 4)
    usual = client.get(f"{MODEL}/rates").json()
    client.put(f"{MODEL}/rates", json={"rate": 0.15}).raise_for_status()
    put(client).raise_for_status()
    kept = client.get(f"{MODEL}/rates").json()
    assert (kept["rate"], kept["applied"]) == (0.15, True)
    assert kept["threshold"] == Inspector(root / "tiny/new").with_rates(0.15).threshold != usual["threshold"]
    refused = put(client, "few")
    assert (refused.status_code, "rates=folder" in refused.json()["detail"]) == (409, True)
    assert client.get(f"{MODEL}/rates").json() == kept
    assert put(client, "few", rates="folder").status_code == 200
    now = client.get(f"{MODEL}/rates").json()
    assert (now["rate"], now["applied"], now["calibration_images"]) == (0.4, False, 4)
    moved, changed = client.get("/v1/changes", params={"limit": 2}).json()["changes"][::-1]
    assert (moved["what"], moved["before"]["rate"], moved["after"]) == ("rates", 0.15, None)
    assert changed["what"] == "model put"


def spoil(folder, images):
    """Leave a station so few calibration images; its manifest then fits."""
    from differnet.runtime import folder as folders

    path, manifest = folder / folders.CALIBRATION, folder / folders.MANIFEST
    calibration = json.loads(path.read_text())
    calibration["view_scores"] = calibration["view_scores"][:images]
    for name in ("brightness", "sharpness"):
        calibration["drift"][name] = calibration["drift"][name][:images]
    path.write_text(json.dumps(calibration))
    about = json.loads(manifest.read_text())
    about["files"] |= folders.describe_files({path.name: path.read_bytes()})
    manifest.write_text(json.dumps(about))


def test_the_monitor_begins_anew_for_another_version(both):
    client, service = both
    dark = [png((good_image(n) * 0.4).astype(np.uint8)) for n in range(60)]
    for content in dark:
        send(client, content)
    assert client.get("/v1/models").json()[0]["drift"]["alarm"] is True
    put(client).raise_for_status()
    assert client.get("/v1/models").json()[0]["drift"]["alarm"] is False
    assert 'differnet_drift_alarm{model="tiny"} 0.0' in client.get("/metrics").text
    send(client, good_part())
    client.post(f"{MODEL}/rollback").raise_for_status()
    assert service.models["tiny"].monitor.images == 0
    client.delete(MODEL).raise_for_status()
    assert "differnet_drift_alarm{" not in client.get("/metrics").text


def test_another_service_of_the_record_follows(tiny_station, other_station, root, tmp_path):
    with running(tiny_station, tmp_path, root=root) as one, running(tiny_station, tmp_path, root=root) as two:
        httpx.put(f"{one}/v1/models/tiny", json={"folder": "tiny/new"}, timeout=60).raise_for_status()
        httpx.put(f"{one}/v1/models/more", json={"folder": "tiny/old"}, timeout=60).raise_for_status()
        until(lambda: set(two.service.models) == {"tiny", "more"})
        until(lambda: two.service.models["tiny"].digest == digest(other_station))
        httpx.delete(f"{two}/v1/models/more").raise_for_status()
        httpx.post(f"{two}/v1/models/tiny/rollback", timeout=60).raise_for_status()
        until(lambda: set(one.service.models) == {"tiny"})
        until(lambda: one.service.models["tiny"].digest == digest(tiny_station))


def until(what):
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_version_whose_folder_is_another_by_now_is_refused(both, root, tiny_station, tmp_path):
    client, _ = both
    put(client).raise_for_status()
    put(client, "tiny/old").raise_for_status()
    shutil.rmtree(root / "tiny/new")
    shutil.copytree(tiny_station, root / "tiny/new")
    answer = client.post(f"{MODEL}/rollback")
    assert (answer.status_code, "is another version by now" in answer.json()["detail"]) == (422, True)
    assert send(client, good_part()).json()["model_digest"] == digest(tiny_station)


def test_what_judged_last_and_is_gone_is_said_at_the_start(tiny_station, root, tmp_path):
    with running(tiny_station, tmp_path, root=root) as address:
        httpx.put(f"{address}{MODEL}", json={"folder": "tiny/new"}, timeout=60).raise_for_status()
    shutil.rmtree(root / "tiny/new")
    match = "cannot be loaded.*--forget-versions tiny"
    with pytest.raises(ModelFileError, match=match), running(tiny_station, tmp_path, root=root):
        pass
    with running(tiny_station, tmp_path, root=root, forget_versions=["tiny"]) as address:
        assert httpx.get(f"{address}/v1/models").json()[0]["digest"] == digest(tiny_station)
    nowhere = tmp_path / "nowhere"
    with pytest.raises(ConfigError, match="make it first"), running(tiny_station, tmp_path, root=nowhere):
        pass


def test_who_may_change_what_judges(tiny_station, root, tmp_path):
    made = {role: api_keys.make() for role in ROLES}
    keys = {found: Caller(f"the {role}", frozenset({role})) for role, (_, found) in made.items()}
    with running(tiny_station, tmp_path, root=root, keys=keys) as address:
        for role in ROLES:
            head = {"X-API-Key": made[role][0]}
            with httpx.Client(base_url=str(address), headers=head, timeout=60) as client:
                may = role in ("engineer", "admin")
                for method, path, body, status in (
                    ("GET", "/v1/versions", None, 200),
                    ("GET", "/v1/model-folders", None, 200),
                    ("GET", f"{MODEL}/versions", None, 200),
                    ("GET", f"{MODEL}/differences", None, 409),
                    ("PUT", f"{MODEL}?as=shadow", {"folder": "tiny/new"}, 200),
                    ("DELETE", f"{MODEL}/shadow", None, 200),
                    ("PUT", MODEL, {"folder": "tiny/new"}, 200),
                    ("POST", f"{MODEL}/rollback", None, 200),
                    ("DELETE", MODEL, None, 200),
                    ("POST", f"{MODEL}/rollback", None, 200),
                ):
                    answer = client.request(method, path, json=body)
                    assert answer.status_code == (status if may else 403), (role, method, path, answer.text)
        changes = httpx.get(f"{address}/v1/changes", headers=head).json()["changes"]
        assert {one["who"] for one in changes} == {"differnet serve", "the engineer", "the admin"}


def test_swaps_lose_no_part(tiny_station, other_station, root, tmp_path):
    swap(tiny_station, other_station, root, tmp_path, swaps=3, clients=4)


@pytest.mark.long
def test_ten_swaps_while_eight_clients_send(tiny_station, other_station, root, tmp_path):
    swap(tiny_station, other_station, root, tmp_path, swaps=10, clients=8)


def swap(tiny_station, other_station, root, tmp_path, swaps, clients):
    """Put versions in place while clients send: no error, and each row is of the version that it names."""
    contents = [good_part(n) for n in range(6)] + [bad_part(n) for n in range(6)]
    pixels = [np.asarray(Image.open(io.BytesIO(content))) for content in contents]
    inspectors = {one.station.digest: one for one in map(Inspector, (tiny_station, other_station))}
    wanted = {key: [one.predict(image) for image in pixels] for key, one in inspectors.items()}
    answers, stop = [], threading.Event()

    def work(number):
        with httpx.Client(base_url=str(address), timeout=60) as client:
            while not stop.is_set():
                number = (number + 1) % len(contents)
                answers.append((number, send(client, contents[number], params={"map": "true"})))

    with running(tiny_station, tmp_path, root=root, queue=64) as address:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        with httpx.Client(base_url=str(address), timeout=60) as client:
            for number in range(swaps):
                count = len(answers)
                folder = "tiny/new" if number % 2 == 0 else "tiny/old"
                assert put(client, folder).status_code == 200
                until(lambda count=count: len(answers) > count + clients)
            stop.set()
            for thread in threads:
                thread.join(60)
            recorded = {row["id"]: row for row in rows_of(client)}
    assert {answer.status_code for _, answer in answers} == {200}
    assert {answer.json()["id"] for _, answer in answers} == recorded.keys()
    for number, answer in answers:
        row = recorded[answer.json()["id"]]
        found = wanted[row["model_digest"]][number]
        assert row["score"] == pytest.approx(found.score, rel=1e-6)
        assert (row["verdict"], row["threshold"]) == (found.verdict, found.threshold)
        assert answer.json()["model_digest"] == row["model_digest"]
    assert {row["model_digest"] for row in recorded.values()} == wanted.keys()


def rows_of(client):
    found, before = [], None
    while before is not None or not found:
        query = {"before_seq": before} if before is not None else {}
        page = client.get("/v1/inspections", params={"limit": 999} | query).json()
        found += page["inspections"]
        before = page["next"]
        if before is None:
            return found
    return found
