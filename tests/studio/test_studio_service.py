"""The studio over HTTP, as a process of its own: who may ask, pictures in, and a job that is ended."""

from __future__ import annotations

import hashlib
import json
import time

import psutil
import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[studio]"')

import httpx

from support.openapi import asks
from support.studio import studio, write_pictures
from support.tiny import good_image, save

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A studio with 60 good pictures, one that cannot be read, and a copy."""
    root = write_pictures(tmp_path_factory.mktemp("studio"))
    (root / "good" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    save(root / "good" / "z-copy.png", good_image(4))
    with studio(root) as found:
        found.take("good")
        yield found


def picture(found, name, kind="good"):
    return next(one for one in found.get(f"/pictures?kind={kind}") if one["name"] == name)


def test_pictures_are_listed_with_what_is_wrong_with_them(shared):
    state = shared.state
    assert (state["counts"]["good"], state["counts"]["used"], state["counts"]["unread"]) == (62, 61, 1)
    assert state["sizes"] == [[64, 64, 61]]
    broken, copy = picture(shared, "broken.png"), picture(shared, "z-copy.png")
    assert "broken.png" in broken["error"]
    assert copy["copy_of"] == picture(shared, "part-028.png")["id"]
    preview = shared.ask("GET", f"/pictures/{copy['id']}/preview")
    assert (preview.status_code, preview.headers["content-type"]) == (200, "image/jpeg")
    assert shared.ask("GET", f"/pictures/{broken['id']}/preview").status_code == 404
    assert shared.ask("GET", f"/pictures/{copy['id']}/image").content[:4] == b"\x89PNG"
    assert shared.ask("GET", "/pictures/nothing/image").status_code == 404


def test_a_click_leaves_out_and_takes_again(shared):
    copy = picture(shared, "z-copy.png")["id"]
    shared.ask("PUT", "/left-out", json={"ids": [copy], "left_out": True}).raise_for_status()
    state = shared.until(lambda one: one["is_found"])
    assert (state["counts"]["used"], state["counts"]["left_out"], state["copies"]) == (60, 1, 0)
    shared.ask("PUT", "/left-out", json={"ids": [copy], "left_out": False}).raise_for_status()
    assert shared.until(lambda one: one["is_found"])["copies"] == 1
    assert shared.ask("PUT", "/left-out", json={"ids": ["nothing"], "left_out": True}).status_code == 422


def test_what_no_folder_can_be_called_is_refused(shared):
    for path in ("x" * 300, "a\0b", " "):
        body = json.dumps({"path": path})
        answer = shared.ask("POST", "/folders", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, path[:10]
        assert "that of a folder was wanted" in answer.json()["detail"]
    assert shared.ask("GET", "/folders", params={"path": "x" * 300}).status_code == 422


def test_its_openapi_is_what_it_does(shared, tmp_path):
    asks(shared.url, tmp_path, CHECKS, "--exclude-path-regex", "fit|left-out")  # what others look at stays


def test_folders_outside_and_those_of_the_studio_are_refused(shared):
    for path, reason in (("/etc", "outside of"), ("../..", "outside of"), (".", "keeps its own files")):
        answer = shared.ask("POST", "/folders", json={"path": path})
        assert (answer.status_code, reason in answer.json()["detail"]) == (422, True), path
    assert shared.ask("GET", "/folders?path=/etc").status_code == 422
    assert shared.get("/folders")["folders"] == ["bad", "good", "work"]
    assert shared.state["counts"]["good"] == 62


def test_pictures_that_are_links_out_of_the_folders_are_left_out_and_said(shared, tmp_path):
    save(tmp_path / "secret.png", good_image(3))
    place = shared.root / "linked"
    place.mkdir()
    (place / "secret.png").symlink_to(tmp_path / "secret.png")
    save(place / "own.png", good_image(70))
    shared.take("linked")
    names = [one["name"] for one in shared.get("/pictures") if one["folder"] == str(place)]
    assert names == ["own.png"]
    assert any("1 picture left out" in note for note in shared.state["notes"])
    shared.ask("DELETE", f"/folders?path={place}&kind=good").raise_for_status()
    assert shared.state["counts"]["good"] == 62


def test_pictures_are_sent_and_named_by_nobody_but_the_studio(shared):
    content = (shared.root / "bad" / "square" / "square-0.png").read_bytes()
    where = "/upload?kind=defects&defect=../../up&name=../../../a.png"
    assert shared.ask("POST", where, content=content).json()["name"] == "up/a.png"
    row = picture(shared, "up/a.png", "defects")
    assert row["folder"] == str(shared.root / "work" / "uploads" / "defects" / "up")
    assert row["defect"] == "up"
    large = shared.ask("POST", "/upload?name=large.png", content=b"x" * (64 * 2**20 + 1))
    assert large.status_code == 413
    assert not list((shared.root / "work").rglob(".*.part"))
    assert shared.ask("POST", "/upload?name=none.png", content=b"").status_code == 422


def test_pages_of_others_and_other_names_are_refused(shared):
    body = {"path": "good"}
    for headers, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 400),
        ({"Origin": shared.url}, 200),
    ):
        assert shared.ask("POST", "/folders", json=body, headers=headers).status_code == status, headers
    assert shared.ask("GET", "/state?typo=1").status_code == 422
    page = shared.client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert shared.client.get("/page/studio.js").status_code == 200
    assert shared.client.get("/live/v1/models").status_code == 409
    assert shared.client.get("/live/").status_code == 409


def test_a_fit_that_is_cancelled_leaves_nothing_and_the_studio_goes_on(shared):
    process = psutil.Process(shared.process.pid)
    assert shared.ask("POST", "/cancel").json() == {"cancelled": False}
    job = shared.ask("POST", "/fit", json={}).json()
    assert (job["kind"], job["outcome"]) == ("fit", "running")
    assert job["seconds_left"] > 1
    assert shared.ask("POST", "/fit", json={}).status_code == 409
    with httpx.Client(base_url=shared.url) as other:  # a browser that was closed and is opened again
        assert other.get("/v1/studio/state").json()["job"]["number"] == job["number"]
    workers = process.children(recursive=True)
    assert workers
    assert shared.ask("POST", "/cancel").json() == {"cancelled": True}
    assert not any(one.is_running() and one.status() != "zombie" for one in workers)
    state = shared.state
    assert (state["job"]["outcome"], state["fit"]) == ("cancelled", None)
    assert list((shared.root / "work" / "jobs").iterdir()) == []
    assert shared.ask("POST", "/judge").status_code == 422
    assert shared.ask("POST", "/export", json={"name": "part"}).status_code == 422


def test_what_a_fit_refuses_is_said(shared):
    state = shared.run("/fit", {"rate": 0.45})  # above the review rate of these settings
    assert state["job"]["outcome"] == "failed"
    assert "review_rate" in state["job"]["error"]
    assert state["fit"] is None


def test_too_few_pictures_are_not_fitted_to(tmp_path):
    with studio(write_pictures(tmp_path, good=9)) as found:
        found.take("good")
        answer = found.ask("POST", "/fit", json={})
        assert (answer.status_code, answer.json()["detail"]) == (
            422,
            "9 good pictures to fit to; at least 10 were wanted",
        )


def test_what_was_chosen_is_there_after_a_restart_and_a_killed_studio_takes_its_job_along(tmp_path):
    root = write_pictures(tmp_path, good=12)
    with studio(root) as found:
        found.take("good")
        left = found.get("/pictures")[0]["id"]
        found.ask("PUT", "/left-out", json={"ids": [left], "left_out": True}).raise_for_status()
        found.ask("POST", "/fit", json={}).raise_for_status()
        workers = psutil.Process(found.process.pid).children(recursive=True)
        found.process.kill()
        gone, alive = psutil.wait_procs(workers, 30)
        assert (len(gone), alive) == (len(workers), [])
    with studio(root) as again:
        state = again.until(lambda one: not one["waiting"])
        assert (state["counts"]["good"], state["counts"]["left_out"]) == (12, 1)
        assert any("broken off" in note for note in state["notes"])
        assert list((root / "work" / "jobs").iterdir()) == []
        assert again.stop() == 0


def test_with_keys_nothing_but_the_page_is_open(tmp_path):
    file = tmp_path / "keys"
    lines = [(b"whole", "admin"), (b"line", "send")]
    file.write_text(
        "".join(f"{hashlib.sha256(key).hexdigest()} roles={role} {role}\n" for key, role in lines)
    )
    file.chmod(0o600)
    write_pictures(tmp_path, good=3)
    with studio(tmp_path, "--keys", str(file)) as found:
        assert found.client.get("/").status_code == 200
        assert found.ask("GET", "/state").status_code == 401
        assert found.ask("GET", "/state", headers={"Authorization": "Bearer line"}).status_code == 403
        assert found.ask("GET", "/state", headers={"Authorization": "Bearer whole"}).status_code == 200
        assert found.client.get("/live/v1/models").status_code == 401


def test_confirmed_pictures_of_a_record_are_taken(tmp_path):
    from differnet.service.record.inspection import Inspection
    from differnet.service.record.store import Store

    write_pictures(tmp_path, good=4)
    store = Store.open(f"sqlite:///{tmp_path / 'line.sqlite3'}")
    for index, path in enumerate(sorted((tmp_path / "good").iterdir())):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        row = Inspection(
            model="../bolt",
            model_digest="m",
            source="http",
            image_digest=digest,
            verdict="NG",
            file_name=path.name,
        )
        row = store.add(store.keep(row, path.read_bytes()))
        if index:
            store.confirm(row.id, "good", None)
    store.close()
    with studio(tmp_path, "--record", f"sqlite:///{tmp_path / 'line.sqlite3'}") as found:
        assert found.get("/confirmed") == {"../bolt": 3}
        assert found.ask("POST", "/confirmed", json={"model": "../bolt"}).json() == {"new": 3}
        assert found.ask("POST", "/confirmed", json={"model": "../bolt"}).json() == {"new": 0}
        state = found.until(lambda one: not one["waiting"])
        assert (state["counts"]["good"], state["counts"]["unread"]) == (3, 0)
        assert {one["folder"] for one in found.get("/pictures")} == {
            str(tmp_path / "work" / "confirmed" / "bolt")
        }
        assert found.ask("POST", "/confirmed", json={"model": "nut"}).status_code == 422


def test_a_folder_that_is_being_chosen_twice_and_taken_away_stays_on_disk(tmp_path):
    write_pictures(tmp_path, good=12)
    with studio(tmp_path) as found:
        assert found.take("good")["counts"]["good"] == 12
        assert found.take("good")["counts"]["good"] == 12
        save(tmp_path / "good" / "part-000.png", good_image(80))  # another picture by the same name
        before = found.get("/pictures")[0]
        time.sleep(0.05)
        found.take("good")
        assert found.get("/pictures")[0]["id"] == before["id"]
        (tmp_path / "good" / "part-007.png").unlink()
        failed = found.run("/fit", {})["job"]
        assert (failed["outcome"], "part-007.png: no such file" in failed["error"]) == ("failed", True)
        assert found.take("good")["counts"]["used"] == 11
        where = tmp_path / "good"
        found.ask("DELETE", f"/folders?path={where}&kind=good").raise_for_status()
        assert found.state["counts"]["good"] == 0
        assert len(list(where.iterdir())) == 11


def test_names_that_are_no_text_are_listed_and_fitted_to(tmp_path):
    write_pictures(tmp_path, good=4)
    path = tmp_path / "good" / "part-000.png"
    path.rename(path.with_name("\udcff\n.png"))
    (tmp_path / "good" / "\udcfe.png").write_bytes(b"no picture")
    (tmp_path / "\udcfd").mkdir()
    with studio(tmp_path) as found:
        assert found.get("/folders")["folders"] == ["bad", "good", "work"]
        state = found.take("good")
        assert (state["counts"]["used"], state["counts"]["unread"]) == (4, 1)
        rows = {one["name"]: one for one in found.get("/pictures")}
        assert rows["\\udcff\n.png"]["error"] is None
        assert "\\udcfe.png" in rows["\\udcfe.png"]["error"]
        odd = rows["\\udcff\n.png"]["id"]
        assert found.ask("GET", f"/pictures/{odd}/image").status_code == 200
        found.ask("PUT", "/left-out", json={"ids": [odd], "left_out": True}).raise_for_status()
    with studio(tmp_path) as again:
        assert again.state["counts"]["left_out"] == 1


def test_pictures_that_were_sent_and_taken_away_do_not_come_back(tmp_path):
    write_pictures(tmp_path, good=4)
    content = {path.name: path.read_bytes() for path in (tmp_path / "good").iterdir()}
    with studio(tmp_path) as found:
        for name in ("part-000.png", "part-007.png"):
            found.ask("POST", f"/upload?name={name}", content=content[name]).raise_for_status()
        place = tmp_path / "work" / "uploads" / "good"
        assert found.ask("DELETE", f"/folders?path={place}&kind=defects").status_code == 422
        found.ask("DELETE", f"/folders?path={place}&kind=good").raise_for_status()
        assert found.state["counts"]["good"] == 0
        found.ask("POST", "/upload?name=part-014.png", content=content["part-014.png"]).raise_for_status()
    with studio(tmp_path) as again:
        state = again.until(lambda one: not one["waiting"])
        assert (state["counts"]["good"], state["counts"]["used"]) == (1, 1)
    removed = [path.read_bytes() for path in (tmp_path / "work" / "removed").rglob("*.png")]
    assert sorted(removed) == sorted([content["part-000.png"], content["part-007.png"]])
