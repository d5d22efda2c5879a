"""The files of the page: served as they are, with a policy that allows nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')

from starlette.applications import Starlette
from starlette.testclient import TestClient

from differnet.service.http.routes.page import FOLDER, KINDS, routes

STUDIO = FOLDER.parent.parent.parent / "studio" / "page"


@pytest.fixture(scope="module")
def files():
    with TestClient(Starlette(routes=routes())) as client:
        yield client


@pytest.mark.parametrize("page", ["/", "/part", "/shift"])
def test_the_policy_allows_nothing_from_elsewhere_and_nothing_inline(files, page):
    answer = files.get(page)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert (policy["script-src"], policy["style-src"], policy["connect-src"]) == ("'self'",) * 3
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)|https?:", answer.text)


def test_every_file_that_the_page_names_is_served_with_its_kind(files):
    pages = ("/", "/part", "/shift")
    names = {name for page in pages for name in re.findall(r"page/([\w./]+)", files.get(page).text)}
    of_studio = {path.name for path in STUDIO.iterdir()}
    for path in (*FOLDER.glob("*.js"), *STUDIO.glob("*.js")):  # the studio shows some of them as well
        names |= set(re.findall(r'from "\./([\w./]+)"', path.read_text())) - of_studio
    there = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    there -= {"index.html", "part.html", "shift.html"}
    assert {name for name in there if not name.startswith("languages/")} == names
    for name in there:
        answer = files.get(f"/page/{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == KINDS[Path(name).suffix]
        again = files.get(f"/page/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name", ["none.js", "../page_files.py", "..%2fpage_files.py", "%2e%2e/page_files.py", ""]
)
def test_nothing_else_is_served(files, name):
    assert files.get(f"/page/{name}").status_code == 404


def test_the_scale_beside_the_picture_has_the_colours_of_the_heat(files):
    from differnet.runtime.heatmap import ANCHORS

    stops = re.findall(
        r'offset="([\d.]+)" stop-color="rgb\((\d+),(\d+),(\d+)\)"', files.get("/page/heat.svg").text
    )
    assert [tuple(map(int, colour)) for _, *colour in stops] == list(ANCHORS)
    assert [float(place) for place, *_ in stops] == [
        index / (len(ANCHORS) - 1) for index in range(len(ANCHORS))
    ]


def test_what_a_server_says_is_never_read_as_markup():
    for path in FOLDER.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", path.read_text()
        )


def test_the_page_of_the_studio_names_files_that_are_there_and_takes_none_by_the_name_of_another():
    of_studio, of_operator = ({path.name for path in folder.iterdir()} for folder in (STUDIO, FOLDER))
    assert of_studio & of_operator == {"index.html"}
    with TestClient(Starlette(routes=routes(STUDIO))) as client:
        text = client.get("/").text
        assert "differnet studio" in text
        named = set(re.findall(r"page/([\w.]+)", text))
        named |= {
            one for path in STUDIO.glob("*.js") for one in re.findall(r'from "\./([\w.]+)"', path.read_text())
        }
        assert of_studio - {"index.html"} <= named <= of_studio | of_operator
        assert {client.get(f"/page/{name}").status_code for name in named} == {200}
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)|https?:", text)
