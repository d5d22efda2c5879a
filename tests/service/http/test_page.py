"""The page at the line in a real browser, before the real service, through all that an operator does with it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')

import httpx
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from differnet import DifferNet, DifferNetWarning
from differnet.detector import export
from differnet.service.http.routes.page import FOLDER, KINDS, routes
from support import service_fixture
from support.browsers import chromium, found_module
from support.tiny import defective_image, good_image

SMALL = service_fixture.SETTINGS | {"rate": 0.1, "review_rate": 0.25}
KEY = "a-key-for-the-tests-that-is-long-enough"
SECOND = 1000  # in Playwright's milliseconds
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


# --- the files -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files():
    with TestClient(Starlette(routes=routes())) as client:
        yield client


def test_the_policy_allows_nothing_from_elsewhere_and_nothing_inline(files):
    answer = files.get("/")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert (policy["script-src"], policy["style-src"], policy["connect-src"]) == ("'self'",) * 3
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)|https?:", answer.text)


def test_every_file_that_the_page_names_is_served_with_its_kind(files):
    names = set(re.findall(r"page/([\w.]+)", files.get("/").text))
    names |= {
        found for path in FOLDER.glob("*.js") for found in re.findall(r'from "\./([\w.]+)"', path.read_text())
    }
    assert names == {path.name for path in FOLDER.iterdir()} - {"index.html"}
    for name in names:
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


def test_what_a_server_says_is_never_read_as_markup():
    for path in FOLDER.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", path.read_text()
        )


# --- a service and a browser -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """The folder of a tiny model that tells squares from stripes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        model = DifferNet("default", seed=1, weights="random", **SMALL).fit(
            [good_image(i) for i in range(60)]
        )
        place = tmp_path_factory.mktemp("page") / "station"
        export.export(model, place, "openvino", images=[good_image(i) for i in range(3)])
    return place


class Service:
    """``differnet serve`` as its own process, and the few questions that the tests ask it themselves."""

    def __init__(self, arguments, log, headers):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self.log, self.process = f"http://127.0.0.1:{self.port}/", log, None
        self.arguments = [*arguments, "--port", str(self.port), "--log-level", "warning"]
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=60)
        self.start()

    def start(self):
        command = [sys.executable, "-m", "differnet", "serve", *self.arguments]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        for _ in range(600):
            assert self.process.poll() is None, self.log.read_text()
            with suppress(httpx.TransportError):
                self.client.get("ready").raise_for_status()
                return
            time.sleep(0.2)
        raise AssertionError(f"the service did not become ready: {self.log.read_text()}")

    def stop(self):
        self.process.kill()
        self.process.wait()

    @contextmanager
    def silent(self):
        """Nothing is heard of it for a while, though its connections stay open."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def ask(self, path, method="GET", **more):
        return self.client.request(method, path, **more).raise_for_status().json()

    def inspect(self, path, model="stripes", name=None):
        files = {"image": (name or path.name, path.read_bytes(), "image/png")}
        return self.ask(f"v1/models/{model}/inspect", "POST", files=files)

    def newest(self):
        return self.ask("v1/inspections?limit=1")["inspections"][0]


@contextmanager
def serving(station, folder, *more, headers=None):
    models = ["--name", f"stripes={station}"]
    kept = ["--store", f"sqlite:///{folder}/store.sqlite3", "--keep-images", "all"]
    service = Service([*models, *kept, *more], folder / "service.log", headers)
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Good and defective parts as files."""
    folder, found = tmp_path_factory.mktemp("pictures"), {"good": [], "defective": []}
    for index in range(12):
        for kind, pixels in (
            ("good", good_image(700 + index)),
            ("defective", defective_image(40 + index)[0]),
        ):
            path = folder / f"{kind}-{index:02}.png"
            Image.fromarray(pixels).save(path)
            found[kind].append(path)
    return found


@pytest.fixture(scope="module")
def service(station, tmp_path_factory, browser):
    with serving(station, tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium with a camera that shows a test picture."""
    with chromium("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream") as found:
        yield found


@pytest.fixture
def serve(station, tmp_path):
    """Start a service of its own, with more options; it ends after the pages that look at it."""
    with ExitStack() as running:
        yield lambda *more, headers=None: running.enter_context(
            serving(station, tmp_path, *more, headers=headers)
        )


@pytest.fixture
def visit(browser, serve):
    """Open the page of a service; it may say nothing on the console but what is expected, and ask no other host.

    ``expects``: statuses of answers that the test brings about, which the browser itself writes on the console.
    """
    said, asked, hosts, pages = [], [], set(), []

    def go(service, path="", expects=(), wait=True, **options):
        hosts.add(f"127.0.0.1:{service.port}")
        tab = browser.new_page(**{"viewport": {"width": 1280, "height": 900}} | options)
        pages.append(tab)
        known = re.compile("|".join([rf"status of {status} " for status in expects if status] or ["(?!)"]))
        if 0 in expects:
            known = re.compile(f"{known.pattern}|net::ERR_|Failed to fetch")
        tab.on("console", lambda message: known.search(message.text) or said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(service.url + path)
        if wait:
            tab.get_by_text("Live", exact=True).wait_for()
            until(tab, "document.querySelector('#model').value !== ''")
            until(tab, "document.querySelector('#rows .pick') || !document.querySelector('#empty').hidden")
        return tab

    yield go
    for tab in pages:
        tab.close()
    assert said == []
    others = {
        url for url in asked if not url.startswith(("blob:", "data:")) and url.split("/")[2] not in hosts
    }
    assert others == set()


def word(tab):
    return tab.locator("#word").inner_text()


def until(tab, condition, seconds=10):
    """Wait for a JavaScript expression; Playwright's own way evaluates strings, which the page's policy forbids."""
    for _ in range(seconds * 20):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"not within {seconds} s: {condition}")


def shows(tab, row, timeout=10 * SECOND):
    """Wait until a part stands on the stage, and return the word for it."""
    tab.get_by_text(re.compile(rf"^Part {row['seq']:,}$")).first.wait_for(timeout=timeout)
    return word(tab)


def counted(tab, number):
    """Wait until so many parts of today are counted."""
    until(tab, f"document.querySelector('#today-all').textContent === '{number:,}'")


def is_drawn(tab, name):
    until(
        tab,
        f"(image => !image.hidden && image.complete && image.naturalWidth > 0)(document.getElementById('{name}'))",
    )
    box = tab.locator(f"#{name}").bounding_box()
    return box["width"] * box["height"] > 200 * 200


def classes(tab):
    return tab.locator("#verdict").get_attribute("class").split()


def settle(tab):
    """Wait until a key is surely meant for the part that is shown."""
    tab.wait_for_timeout(800)


WORDS = {"OK": "OK", "review": "REVIEW", "NG": "NG", "error": "ERROR"}


# --- the live part ---------------------------------------------------------------------------------------------------


def test_a_part_of_the_line_appears_with_verdict_picture_and_map(service, visit, pictures):
    tab = visit(service)
    for path in (pictures["good"][0], pictures["defective"][0]):
        row = service.inspect(path)
        assert shows(tab, row) == WORDS[row["verdict"]]
        assert is_drawn(tab, "picture")
        assert path.name in tab.locator("#part").inner_text()
        counted(tab, row["seq"])
        assert tab.title().startswith(WORDS[row["verdict"]])
    assert row["verdict"] == "NG"
    assert is_drawn(tab, "map")


def test_the_verdict_can_be_read_from_two_metres_and_without_colours(service, visit, pictures):
    row = service.inspect(pictures["defective"][1])
    tab = visit(service)
    shows(tab, row)
    size = tab.evaluate("parseFloat(getComputedStyle(document.querySelector('#word')).fontSize)")
    assert size >= 96  # an inch, where 1 cm is what is asked for at two metres
    assert tab.locator("#verdict svg.icon path").count() == 2  # the cross
    shapes = set()
    for row in tab.locator("#rows tr").all():
        badge = row.locator("td .badge").first
        shapes.add((badge.inner_text(), badge.locator("path").first.get_attribute("d")))
    assert len({text for text, _ in shapes}) == len({shape for _, shape in shapes}) == len(shapes)


def test_the_map_is_switched_and_its_strength_moved(service, visit, pictures):
    row = service.inspect(pictures["defective"][2])
    tab = visit(service)
    shows(tab, row)
    assert is_drawn(tab, "map")
    slider = tab.locator("#map-strength")
    slider.focus()
    tab.keyboard.press("Home")
    assert float(tab.locator("#map").evaluate("node => getComputedStyle(node).opacity")) == pytest.approx(0.1)
    tab.keyboard.press("End")
    assert float(tab.locator("#map").evaluate("node => getComputedStyle(node).opacity")) == 1
    slider.blur()
    tab.keyboard.press("m")
    assert not tab.locator("#map").is_visible()
    tab.keyboard.press("m")
    assert tab.locator("#map").is_visible()


def test_a_picture_and_its_map_have_the_same_place(service, visit, pictures):
    tab = visit(service)
    shows(tab, service.inspect(pictures["defective"][3]))
    is_drawn(tab, "map")
    assert tab.locator("#map").bounding_box() == tab.locator("#picture").bounding_box()
    sizes = [
        tab.locator(f"#{name}").evaluate("node => [node.naturalWidth, node.naturalHeight]")
        for name in ("picture", "map")
    ]
    assert sizes[0] == sizes[1]


def test_a_silent_service_is_said_loudly_and_its_verdict_is_not_live(service, visit, pictures):
    row = service.inspect(pictures["good"][1])
    tab = visit(service, expects=[0])
    shows(tab, row)
    with service.silent():
        tab.locator("#lost").wait_for(timeout=15 * SECOND)
        assert word(tab) == "NO CONNECTION"
        assert "do not rely on it" in tab.locator("#part").inner_text()
        assert tab.get_by_text("NOT LIVE", exact=True).is_visible()
        assert tab.title().startswith("NO CONNECTION")
        assert "tone-ok" not in classes(tab)
        assert tab.locator("#lost").evaluate("node => node.closest('[role=alert]') !== null")
    tab.locator("#lost").wait_for(state="hidden", timeout=20 * SECOND)
    assert word(tab) == WORDS[row["verdict"]]
    again = service.inspect(pictures["good"][2])
    assert shows(tab, again) == WORDS[again["verdict"]]


def test_a_service_that_was_restarted_is_caught_up_with(serve, visit, pictures, tmp_path):
    other = serve()
    first = other.inspect(pictures["good"][0])
    tab = visit(other, expects=[0])
    shows(tab, first)
    other.stop()
    tab.locator("#lost").wait_for(timeout=15 * SECOND)
    other.start()
    missed = other.inspect(pictures["defective"][0])
    assert shows(tab, missed, 20 * SECOND) == WORDS[missed["verdict"]]
    assert not tab.locator("#lost").is_visible()
    counted(tab, 2)


def test_an_old_part_is_not_shown_as_if_it_lay_there(service, visit, pictures):
    row = service.inspect(pictures["good"][3])
    tab = visit(service)
    shows(tab, row)
    assert "live" in classes(tab)
    tab.evaluate("(now => { performance.now = () => now() + 130_000; })(performance.now.bind(performance))")
    tab.get_by_text(
        "No part came for a while"
    ).wait_for()  # once a beat of the service said that the line lives
    assert "idle" in classes(tab)
    again = service.inspect(pictures["good"][2])
    shows(tab, again)
    assert "live" in classes(tab)


def test_a_wrong_clock_of_the_station_ages_nothing(service, visit, pictures):
    tab = visit(service)
    tab.add_init_script("(now => { Date.now = () => now() + 3_600_000; })(Date.now)")
    row = service.inspect(pictures["good"][3])
    tab.reload()
    shows(tab, row)
    assert "live" in classes(tab)


# --- sending pictures ------------------------------------------------------------------------------------------------


def test_files_are_inspected_one_after_the_other(service, visit, pictures):
    tab = visit(service)
    newest = service.inspect(pictures["good"][4])
    shows(tab, newest)
    tab.locator("#files").set_input_files(pictures["good"][5:7] + pictures["defective"][5:6])
    assert shows(tab, {"seq": newest["seq"] + 3}) == "NG"
    assert is_drawn(tab, "map")
    rows = service.ask("v1/inspections?limit=3")["inspections"]
    assert [row["file_name"] for row in rows] == ["defective-05.png", "good-06.png", "good-05.png"]
    tab.locator("#sending").wait_for(state="hidden")


def test_a_picture_is_dropped_anywhere(service, visit, pictures):
    tab = visit(service)
    newest = service.inspect(pictures["good"][4])
    shows(tab, newest)
    tab.evaluate(
        """async ([bytes, name]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        [list(pictures["defective"][6].read_bytes()), "dropped.png"],
    )
    assert shows(tab, {"seq": newest["seq"] + 1}) == "NG"
    assert "dropped.png" in tab.locator("#part").inner_text()


def test_the_camera_gives_a_picture_and_then_one_every_second(service, visit):
    tab = visit(service)
    tab.keyboard.press("c")
    until(tab, "document.querySelector('#camera-view').videoWidth > 0")
    tab.keyboard.press("s")
    until(tab, "/camera-/.test(document.querySelector('#part').textContent)")
    is_drawn(tab, "picture")
    seen = service.newest()
    assert seen["file_name"].startswith("camera-")
    tab.locator("#camera-seconds").fill("1")
    tab.locator("#camera-repeat").check()
    shows(tab, {"seq": seen["seq"] + 2}, 15 * SECOND)
    tab.keyboard.press("c")
    assert not tab.locator("#camera").is_visible()
    assert tab.locator("#camera-view").evaluate("node => node.srcObject") is None
    tab.wait_for_timeout(1500)
    last = service.newest()["seq"]
    tab.wait_for_timeout(1500)
    assert service.newest()["seq"] == last


def test_what_is_no_picture_is_said_in_plain_words(service, visit, tmp_path):
    (tmp_path / "notes.png").write_text("This is a shopping list.")
    tab = visit(service, expects=[415, 422])
    tab.locator("#files").set_input_files(tmp_path / "notes.png")
    message = tab.locator("#troubles .note")
    message.wait_for()
    assert "notes.png was not inspected" in message.inner_text()
    assert "Send a PNG, JPEG" in message.inner_text()
    tab.locator("#rows .badge", has_text="ERROR").first.wait_for()
    message.get_by_role("button").click()
    assert message.count() == 0


def test_a_picture_that_is_too_large_is_said_in_plain_words(service, visit, tmp_path):
    Image.new("1", (9000, 9000)).save(tmp_path / "huge.png")
    tab = visit(service, expects=[413])
    tab.locator("#files").set_input_files(tmp_path / "huge.png")
    message = tab.locator("#troubles .note")
    message.wait_for()
    assert "larger than the service takes. Make it smaller" in message.inner_text()


def test_a_full_queue_is_waited_for(service, visit, pictures):
    """The service's own 429 is tested beside it; here the first two answers are replaced by one."""
    tab = visit(service, expects=[429])
    answers = []

    def full_twice(route):
        answers.append(route)
        if len(answers) > 2:
            return route.continue_()
        body = json.dumps({"detail": "the queue is full"})
        return route.fulfill(
            status=429, headers={"Retry-After": "1"}, content_type="application/json", body=body
        )

    tab.route("**/inspect?**", full_twice)
    before = service.newest()["seq"]
    tab.locator("#files").set_input_files(pictures["good"][7])
    tab.get_by_text("more parts waiting than it takes. good-07.png is tried again in 1 s").wait_for()
    shows(tab, {"seq": before + 1})
    assert len(answers) == 3


# --- looking back, confirming ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(service, pictures):
    """More inspections than two pages of the list have."""
    return [service.inspect(path) for path in (pictures["good"] + pictures["defective"]) * 2]


def parts(tab):
    tab.locator("#rows .pick").first.wait_for()
    return [int(text.replace(",", "")) for text in tab.locator("#rows .pick").all_inner_texts()]


def test_the_list_is_paged(service, visit, many):
    tab = visit(service)
    newest = parts(tab)
    assert newest == sorted(newest, reverse=True)
    assert len(newest) == 15
    tab.get_by_role("button", name="Older").click()
    until(tab, f"document.querySelector('#rows .pick').textContent.replace(',', '') < {newest[-1]}")
    assert parts(tab)[0] == newest[-1] - 1
    tab.get_by_role("button", name="Newer").click()
    until(tab, f"document.querySelector('#rows .pick').textContent.replace(',', '') == {newest[0]}")
    assert parts(tab) == newest


def test_parts_that_come_while_an_older_page_is_read_are_announced(service, visit, many, pictures):
    tab = visit(service)
    tab.get_by_role("button", name="Older").click()
    until(tab, "!document.querySelector('#newer').disabled")
    page = parts(tab)
    row = service.inspect(pictures["good"][0])
    tab.get_by_role("button", name="1 newer – show them").wait_for()
    assert parts(tab) == page
    tab.get_by_role("button", name="1 newer – show them").click()
    until(tab, f"document.querySelector('#rows .pick').textContent.replace(',', '') == {row['seq']}")


def test_the_list_is_filtered(service, visit, many):
    tab = visit(service)

    def badges(column):
        tab.wait_for_timeout(400)
        return set(tab.locator(f"#rows tr > :nth-child({column})").all_inner_texts())

    tab.locator("#by-verdict").select_option("NG")
    assert badges(3) == {"NG"}
    tab.locator("#by-verdict").select_option("")
    first = service.ask("v1/inspections?limit=1&verdict=OK")["inspections"][0]
    service.ask(f"v1/inspections/{first['id']}/operator", "PUT", json={"verdict": "defective", "note": None})
    tab.locator("#by-operator").select_option("defective")
    assert badges(4) == {"defective"}
    assert first["seq"] in parts(tab)
    tab.locator("#by-operator").select_option("none")
    assert badges(4) == {"–"}
    tab.get_by_role("button", name="Clear").click()
    assert "–" in badges(4)
    tab.locator("#by-until").fill("2020-01-01T00:00")
    tab.locator("#by-until").blur()
    tab.get_by_text("No inspection fits these filters.").wait_for()
    tab.locator("#by-until").fill("")
    tab.locator("#by-until").blur()
    tab.locator("#by-since").fill("2020-01-01T00:00")
    tab.locator("#by-since").blur()
    assert len(badges(1)) == 15
    tab.locator("#by-since").fill("2199-01-01T00:00")
    tab.locator("#by-since").blur()
    tab.get_by_text("No inspection fits these filters.").wait_for()


def test_verdicts_are_confirmed_corrected_and_taken_back_by_keys(service, visit, pictures):
    rows = [
        service.inspect(path)
        for path in (pictures["defective"][8], pictures["good"][8], pictures["defective"][9])
    ]
    tab = visit(service)
    shows(tab, rows[2])
    settle(tab)

    def recorded(row):
        return service.ask(f"v1/inspections/{row['id']}")

    tab.keyboard.press("d")
    tab.get_by_text(f"Part {rows[2]['seq']:,} is defective, says the operator.").wait_for()
    assert recorded(rows[2])["operator"] == "defective"
    for row in (rows[2], rows[1], rows[0]):
        tab.keyboard.press("ArrowDown")
        shows(tab, row)
    assert "not the part at the line" in tab.locator("#past").inner_text()
    assert "past" in classes(tab)
    tab.keyboard.press("g")
    tab.get_by_text(f"Part {rows[0]['seq']:,} is good, says the operator.").wait_for()
    assert "corrects the verdict" in tab.locator("#operator").inner_text()
    assert recorded(rows[0])["operator"] == "good"
    tab.keyboard.press("n")
    tab.keyboard.type("dust, good")  # no key while it is typed
    tab.keyboard.press("Enter")
    tab.wait_for_timeout(500)
    assert recorded(rows[0])["note"] == "dust, good"
    tab.keyboard.press("Escape")
    tab.keyboard.press("u")
    tab.get_by_text("Taken back").wait_for()
    assert recorded(rows[0])["operator"] is None
    tab.keyboard.press("ArrowUp")
    shows(tab, rows[1])
    tab.keyboard.press("Escape")
    shows(tab, rows[2])
    assert not tab.locator("#past").is_visible()
    assert tab.locator("#operator").text_content().startswith("Operator: defective")


def test_arrows_go_over_the_end_of_a_page(service, visit, many):
    tab = visit(service)
    newest = parts(tab)
    for number in newest:
        tab.keyboard.press("ArrowDown")
        shows(tab, {"seq": number})
    tab.keyboard.press("ArrowDown")
    shows(tab, {"seq": newest[-1] - 1})
    assert parts(tab)[0] == newest[-1] - 1
    tab.keyboard.press("ArrowUp")
    shows(tab, {"seq": newest[-1]})


def test_a_live_part_does_not_take_the_place_of_one_that_is_looked_at(service, visit, pictures, many):
    tab = visit(service)
    before = parts(tab)[1]
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowDown")
    shows(tab, {"seq": before})
    shown = tab.locator("#part b").inner_text()
    row = service.inspect(pictures["good"][9])
    tab.locator("#rows .pick", has_text=f"{row['seq']:,}").wait_for()
    assert tab.locator("#part b").inner_text() == shown
    tab.keyboard.press("Escape")
    shows(tab, row)


def test_a_key_that_was_meant_for_the_part_before_is_refused(service, visit, pictures):
    first = service.inspect(pictures["good"][10])
    tab = visit(service)
    shows(tab, first)
    tab.evaluate(
        """() => new MutationObserver((_, watcher) => {
          watcher.disconnect();
          document.dispatchEvent(new KeyboardEvent("keydown", { key: "g", bubbles: true }));
        }).observe(document.querySelector("#part"), { childList: true })"""
    )  # as soon as another part is shown
    row = service.inspect(pictures["defective"][10])
    tab.get_by_text("The part changed just now.").wait_for()
    assert service.ask(f"v1/inspections/{row['id']}")["operator"] is None
    settle(tab)
    tab.keyboard.press("g")
    tab.get_by_text("is good, says the operator").wait_for()
    assert service.ask(f"v1/inspections/{row['id']}")["operator"] == "good"


def test_a_hostile_file_name_is_text(service, visit, pictures):
    name = "<img src=x onerror=alert(1)><b>bold</b>.png"
    row = service.inspect(pictures["good"][11], name=name)
    tab = visit(service)
    shows(tab, row)
    assert "<b>bold</b>" in tab.locator("#part").inner_text()
    assert tab.locator("#part b").count() == 1
    assert tab.locator("#rows img").count() == 0


# --- rates, models, drift, keys --------------------------------------------------------------------------------------


def test_rates_are_previewed_and_only_then_applied(serve, visit, pictures, tmp_path):
    other = serve()
    for path in pictures["good"] + pictures["defective"][:3]:
        other.inspect(path)
    was = other.ask("v1/models/stripes/rates")
    tab = visit(other, "?model=stripes", expects=[422])
    tab.keyboard.press("t")
    tab.locator("#rates").wait_for()
    apply = tab.get_by_role("button", name="Apply to the line")
    assert tab.locator("#rate").input_value() == "10"
    assert apply.is_disabled()
    tab.locator("#rate").fill("30")
    tab.locator("#review-rate").fill("60")
    tab.keyboard.press("Enter")
    tab.locator("#rates-found table").wait_for()
    wanted = {"rate": 0.3, "confidence": None, "review_rate": 0.6}
    seen = other.ask("v1/models/stripes/rates/preview", "POST", json=wanted)
    told = [
        [int(n) for n in re.findall(r"\d+", row)[:2]]
        for row in tab.locator("#rates-found tbody tr").all_inner_texts()
    ]
    assert told == [[seen["before"][kind], seen["after"][kind]] for kind in ("OK", "review", "NG")]
    assert f"Of the last {seen['last']} parts" in tab.locator("#rates-found").inner_text()
    assert other.ask("v1/models/stripes/rates") == was  # nothing has changed yet
    assert apply.is_enabled()
    tab.locator("#rate").fill("31")
    assert apply.is_disabled()  # another rate was not looked at
    tab.locator("#rate").fill("0.01")
    tab.keyboard.press("Enter")
    tab.get_by_text("These rates cannot be used").wait_for()
    assert apply.is_disabled()
    tab.locator("#rate").fill("30")
    tab.keyboard.press("Enter")
    until(tab, "!document.querySelector('#rates-apply').disabled")
    apply.click()
    tab.get_by_text("Applied to stripes: at most 30% of the good parts may be rejected.").wait_for()
    now = other.ask("v1/models/stripes/rates")
    assert (now["rate"], now["review_rate"]) == (0.3, 0.6)
    assert now["threshold"] < was["threshold"]
    promised = float(f"{100 * now['promised']:.3g}")  # what holds, rather than what was asked for
    tab.get_by_text(f"At most {promised:g}% of good parts rejected").wait_for()


def test_a_part_that_would_change_is_looked_at_from_the_preview(serve, visit, pictures, tmp_path):
    other = serve()
    for path in pictures["good"]:
        other.inspect(path)
    tab = visit(other)
    tab.keyboard.press("t")
    tab.locator("#rate").fill("60")
    tab.locator("#review-rate").fill("")
    tab.keyboard.press("Enter")
    first = tab.locator("#rates-found li button").first
    text = first.inner_text()
    first.click()
    assert not tab.locator("#rates").is_visible()
    tab.locator("#part b", has_text=text).wait_for()


def test_several_models_are_chosen_between(serve, station, visit, pictures, tmp_path):
    second = tmp_path / "second"
    shutil.copytree(station, second)
    both = serve("--name", f"other={second}")
    mine, theirs = both.inspect(pictures["good"][0]), both.inspect(pictures["defective"][0], "other")
    tab = visit(both, "?model=stripes")
    assert set(tab.locator("#model option").all_inner_texts()) == {"stripes", "other"}
    shows(tab, mine)
    assert parts(tab) == [mine["seq"]]
    tab.locator("#model").select_option("other")
    shows(tab, theirs)
    assert parts(tab) == [theirs["seq"]]
    counted(tab, 1)
    tab.locator("#model").blur()
    newer = both.inspect(pictures["good"][1], "stripes")  # of the line that is not watched
    tab.wait_for_timeout(1000)
    assert shows(tab, theirs) == WORDS[theirs["verdict"]]
    tab.locator("#by-model").select_option("")
    tab.locator("#rows .pick", has_text=str(newer["seq"])).wait_for()
    assert "other" in tab.locator("#rows").inner_text()
    tab.reload()
    shows(tab, theirs)


def test_drift_lights_up(serve, visit, tmp_path):
    other = serve()
    tab = visit(other)
    tab.locator("#drift", has_text="No drift").wait_for()
    for index in range(60):
        path = tmp_path / "dark.png"
        Image.fromarray(good_image(900 + index) // 3).save(path)
        row = other.inspect(path)
        if row["drift"]:
            break
    assert row["drift"]
    tab.locator("#drift", has_text="DRIFT").wait_for()
    assert row["drift"].split(":")[0].split("after")[0] in tab.locator("#drift-text").inner_text()
    tab.reload()
    tab.locator("#drift", has_text="DRIFT").wait_for()


def test_counts_and_the_chart(service, visit, many):
    tab = visit(service)
    total = service.ask("v1/models/stripes/counts?bucket=day&since=2020-01-01T00:00:00Z")["total"]
    for kind in ("OK", "review", "NG", "error"):
        assert int(tab.locator(f"#today-{kind}").inner_text().replace(",", "")) == total[kind]
    tab.get_by_text("As a table").click()
    rows = tab.locator("#chart-table tbody tr")
    cells = rows.evaluate_all(
        "rows => rows.map(row => [...row.cells].slice(1).map(cell => Number(cell.textContent)))"
    )
    assert [sum(column) for column in zip(*cells, strict=True)] == [
        total[kind] for kind in ("OK", "review", "NG", "error")
    ]
    assert tab.locator("#chart rect[fill='url(#hatch)']").count() >= 1
    tab.get_by_label("14 days").check()
    tab.get_by_text("parts a day").wait_for()
    assert tab.locator("#chart .bar-OK").count() == 1


def test_the_key_is_asked_for_and_kept_in_the_tab_alone(serve, visit, pictures, tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"{hashlib.sha256(KEY.encode()).hexdigest()} tests\n")
    file.chmod(0o600)
    locked = serve("--keys", str(file), headers={"X-API-Key": KEY})
    row = locked.inspect(pictures["defective"][0])
    tab = visit(locked, expects=[401], wait=False)
    tab.locator("#key").fill("wrong")
    tab.keyboard.press("Enter")
    tab.get_by_text("The service did not take that key.").wait_for()
    tab.locator("#key").fill(KEY)
    tab.keyboard.press("Enter")
    assert shows(tab, row) == "NG"
    assert is_drawn(tab, "picture")
    assert tab.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    again = locked.inspect(pictures["good"][0])
    shows(tab, again)  # live, with the key
    tab.reload()
    shows(tab, again)
    tab.get_by_role("button", name="Forget the key").click()
    tab.locator("#key-dialog").wait_for()
    assert tab.evaluate("sessionStorage.length") == 0


# --- everyone --------------------------------------------------------------------------------------------------------


def offences(tab):
    """Return what axe finds wrong, by rule and place."""
    axe = found_module("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(tab, options=WCAG | {"resultTypes": ["violations", "passes"]}).response
    assert len(found["passes"]) > 15  # it did look
    return [(one["id"], [node["target"] for node in one["nodes"]]) for one in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(service, visit, many, pictures, scheme):
    tab = visit(service, color_scheme=scheme, expects=[422])
    for path in (pictures["good"][0], pictures["defective"][0]):
        shows(tab, service.inspect(path))
        tab.wait_for_timeout(400)  # until it has faded in
        assert offences(tab) == []
    tab.keyboard.press("d")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("c")
    until(tab, "document.querySelector('#camera-view').videoWidth > 0")
    assert offences(tab) == []
    tab.keyboard.press("c")
    tab.keyboard.press("t")
    tab.locator("#rate").fill("0.01")
    tab.keyboard.press("Enter")
    tab.get_by_text("These rates cannot be used").wait_for()
    assert offences(tab) == []
    tab.locator("#rate").fill("20")
    tab.keyboard.press("Enter")
    tab.locator("#rates-found table").wait_for()
    assert offences(tab) == []
    tab.keyboard.press("Escape")
    tab.keyboard.press("?")
    assert offences(tab) == []


def test_axe_can_find_something_wrong(service, visit):
    tab = visit(service)
    tab.evaluate("document.querySelector('#note').parentElement.replaceWith(document.querySelector('#note'))")
    assert "label" in [rule for rule, _ in offences(tab)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_lost_line_is_for_everyone_too(service, visit, many, scheme):
    tab = visit(service, color_scheme=scheme, expects=[0])
    with service.silent():
        tab.locator("#lost").wait_for(timeout=15 * SECOND)
        assert offences(tab) == []
    tab.locator("#lost").wait_for(state="hidden", timeout=20 * SECOND)


@pytest.mark.parametrize("width", [320, 390, 820, 1280, 1920])
def test_it_fits_every_screen_with_every_word(service, visit, many, width):
    tab = visit(service, viewport={"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    band = tab.locator("#verdict").bounding_box()
    assert band["y"] + band["height"] <= 800  # the verdict is seen without scrolling
    words = tab.evaluate(
        """async () => {
          const { VERDICTS } = await import("/page/words.js"), { LOST } = await import("/page/stage.js");
          return [...Object.values(VERDICTS), LOST].map(({ tone, word }) => [tone, word]);
        }"""
    )
    assert {"REVIEW", "NO CONNECTION", "NO VERDICT"} < {text for _, text in words}
    for tone, text in words:
        left, right, *inner = tab.evaluate(
            """([tone, text]) => {
              const band = document.querySelector("#verdict"), word = document.querySelector("#word");
              band.className = `verdict live tone-${tone} ${text.length > 6 ? "long" : ""}`;
              word.textContent = text;
              const boxes = [band, word, band.querySelector(".icon")].map(node => node.getBoundingClientRect());
              return boxes.flatMap(({ left, right }) => [left, right]);
            }""",
            [tone, text],
        )
        assert all(left <= edge <= right for edge in inner), text


def test_nothing_moves_for_those_who_asked_for_that(service, visit, pictures):
    for motion, moves in (("no-preference", True), ("reduce", False)):
        tab = visit(service, reduced_motion=motion)
        tab.evaluate(
            """() => {
              const own = Element.prototype.animate;
              window.moved = 0;
              Element.prototype.animate = function (...all) { window.moved += 1; return own.apply(this, all); };
            }"""
        )
        shows(tab, service.inspect(pictures["good"][0]))
        assert tab.evaluate("window.moved > 0") == moves
        assert (
            tab.locator("#good").evaluate("node => getComputedStyle(node).transitionDuration !== '0s'")
            == moves
        )


TABBED = ["model", "open-rates", "open-help", "map-on", "map-strength", "good", "defective", "note", "files"]
TABBED += ["camera-start", "by-verdict", "by-operator", "by-model", "by-since", "by-until", "clear", "older"]
FOCUSED = """() => {
  const node = document.activeElement, box = (node.id === "files" ? node.parentElement : node).getBoundingClientRect();
  return [node.id, box.width * box.height];
}"""


def test_everything_is_reached_by_the_tab_key(service, visit, many):
    tab = visit(service)
    tab.locator("#good:not([disabled])").wait_for()
    seen = []
    while "older" not in seen:
        tab.keyboard.press("Tab")
        name, area = tab.evaluate(FOCUSED)
        assert area > 0, name
        seen.append(name)
        assert len(seen) < 80
    assert [name for name in dict.fromkeys(seen) if name in TABBED] == TABBED
    tab.keyboard.press("Enter")
    until(tab, "!document.querySelector('#newer').disabled")


def test_single_letters_can_be_switched_off(service, visit, many):
    tab = visit(service)
    settle(tab)
    tab.keyboard.press("?")
    tab.get_by_label("Single letters are keys").uncheck()
    tab.keyboard.press("Escape")
    before = tab.locator("#operator").inner_text()
    tab.keyboard.press("g")
    tab.keyboard.press("t")
    tab.wait_for_timeout(500)
    assert tab.locator("#operator").inner_text() == before
    assert not tab.locator("#rates").is_visible()
    tab.keyboard.press("ArrowDown")
    assert tab.locator("#past").is_visible()
