"""Pictures that are sent from the page: files, drops, the camera, and what goes wrong with them."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')

from PIL import Image

from support.page import SECOND, is_drawn, shows, until


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
