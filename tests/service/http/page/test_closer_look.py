"""Looking closer at a part: zoom and pan by wheel, fingers, drag, buttons and keys, and the good part beside it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from support.page import is_drawn, offences, settle, shows, until

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')

SHAPE = """name => {
  const found = new DOMMatrix(getComputedStyle(document.getElementById(name)).transform);
  return [found.a, found.e, found.f];
}"""


def shape(tab, name="picture"):
    """Return scale and place of a picture in its pane."""
    return tab.evaluate(SHAPE, name)


@pytest.fixture(scope="session")
def large(service, tmp_path_factory):
    """A picture of 1,600 x 1,200 pixels with a bright spot at a known place, recorded by the service."""
    pixels = np.random.default_rng(1).integers(60, 120, (1200, 1600, 3), dtype=np.uint8)
    pixels[890:910, 1190:1210] = 255
    path = tmp_path_factory.mktemp("large") / "large.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def looking(service, visit, large):
    row = service.inspect(large)
    tab = visit(service)
    shows(tab, row)
    is_drawn(tab, "picture")
    return tab


def test_the_wheel_zooms_about_the_pointer(looking):
    box = looking.locator("#pane").bounding_box()
    place = (
        round(box["x"] + box["width"] * 0.7),
        round(box["y"] + box["height"] * 0.4),
    )  # events have whole pixels
    at = place[0] - box["x"], place[1] - box["y"]
    looking.mouse.move(*place)
    looking.mouse.wheel(0, -500)
    until(looking, f"({SHAPE})('picture')[0] > 1.9")
    scale, x, y = shape(looking)
    assert x == pytest.approx(at[0] * (1 - scale), abs=0.5)
    assert y == pytest.approx(at[1] * (1 - scale), abs=0.5)
    for _ in range(12):
        looking.mouse.wheel(0, 400)
    until(looking, f"({SHAPE})('picture').join() === '1,0,0'")


def test_one_to_one_shows_a_pixel_as_a_pixel_of_the_screen(looking):
    looking.keyboard.press("1")
    until(looking, "document.querySelector('#zoom-says').textContent === '100 % of its size'")
    scale, _, _ = shape(looking)
    box = looking.locator("#pane").bounding_box()
    fit = min(box["width"] / 1600, box["height"] / 1200)
    assert scale * fit == pytest.approx(1, rel=1e-6)
    looking.keyboard.press("0")
    assert shape(looking) == [1, 0, 0]


def test_what_is_zoomed_is_moved_by_drag_and_arrows_and_never_out_of_sight(looking):
    looking.keyboard.press("1")
    until(looking, f"({SHAPE})('picture')[0] > 1.5")
    before = shape(looking)
    box = looking.locator("#pane").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    looking.mouse.move(*middle)
    looking.mouse.down()
    looking.mouse.move(middle[0] - 50, middle[1] - 30, steps=4)
    looking.mouse.up()
    assert shape(looking) == pytest.approx([before[0], before[1] - 50, before[2] - 30], abs=1)
    looking.locator("#stack").focus()
    looking.keyboard.press("ArrowLeft")
    assert shape(looking)[1] == pytest.approx(before[1] + 10, abs=1)
    assert looking.locator("#past").is_hidden()  # the arrow did not move the list
    for _ in range(60):
        looking.keyboard.press("ArrowRight")
        looking.keyboard.press("ArrowDown")
    scale, x, y = shape(looking)
    assert x == pytest.approx(box["width"] * (1 - scale), abs=1)
    assert y == pytest.approx(box["height"] * (1 - scale), abs=1)


def test_arrows_are_for_the_list_while_the_whole_picture_is_seen(looking, service, many):
    looking.locator("#stack").focus()
    looking.keyboard.press("ArrowDown")
    looking.locator("#past").wait_for()


def test_two_fingers_zoom_and_one_moves(looking):
    """Pointer events as a touch screen gives them: the fingers part from 100 to 200 pixels."""
    scale = looking.evaluate(
        """() => {
          const stack = document.querySelector("#stack"), box = stack.getBoundingClientRect();
          stack.setPointerCapture = () => undefined;
          const tell = (kind, id, x, y) => stack.dispatchEvent(new PointerEvent(kind, {
            pointerId: id, pointerType: "touch", button: kind === "pointerdown" ? 0 : -1, bubbles: true,
            clientX: box.left + x, clientY: box.top + y }));
          tell("pointerdown", 11, 150, 150); tell("pointerdown", 12, 250, 150);
          tell("pointermove", 11, 100, 150); tell("pointermove", 12, 300, 150);
          tell("pointerup", 12, 300, 150);
          tell("pointermove", 11, 90, 140); tell("pointerup", 11, 90, 140);
          const found = new DOMMatrix(getComputedStyle(document.querySelector("#picture")).transform);
          return [found.a, found.e, found.f];
        }"""
    )
    assert scale[0] == pytest.approx(2, rel=1e-3)
    assert scale[1] == pytest.approx(200 * (1 - 2) - 10, abs=1)
    assert scale[2] == pytest.approx(150 * (1 - 2) - 10, abs=1)


def test_heat_and_picture_move_as_one_and_the_next_part_is_seen_whole(service, visit, pictures):
    tab = visit(service)
    shows(tab, service.inspect(pictures["defective"][5]))
    is_drawn(tab, "map")
    tab.locator("#zoom-in").click()
    tab.locator("#zoom-in").click()
    assert shape(tab, "map") == shape(tab) != [1, 0, 0]
    shows(tab, service.inspect(pictures["good"][5]))
    assert shape(tab) == [1, 0, 0]


def test_a_good_part_lies_beside_and_shows_the_same_place(service, visit, pictures):
    tab = visit(service)
    shows(tab, service.inspect(pictures["defective"][6]))
    is_drawn(tab, "picture")
    tab.keyboard.press("b")
    until(tab, "document.querySelector('#good-picture').naturalWidth > 0")
    assert tab.locator("#good-says").inner_text() == "Good part, from the model"
    panes = [tab.locator(name).bounding_box() for name in ("#pane", "#good-pane")]
    assert panes[0]["width"] == pytest.approx(panes[1]["width"], abs=1)
    tab.locator("#zoom-in").click()
    assert shape(tab, "good-picture") == shape(tab) != [1, 0, 0]
    tab.keyboard.press("b")
    assert tab.locator("#good-pane").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1920, 1080), (390, 844)])
def test_axe_finds_nothing_wrong_with_a_closer_look(service, visit, pictures, scheme, size):
    tab = visit(service, color_scheme=scheme, viewport={"width": size[0], "height": size[1]})
    shows(tab, service.inspect(pictures["defective"][7]))
    is_drawn(tab, "map")
    settle(tab)
    tab.keyboard.press("b")
    until(tab, "document.querySelector('#good-picture').naturalWidth > 0")
    tab.keyboard.press("+")
    assert offences(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_the_good_part_of_the_service_is_that_of_the_folder(service, station):
    answer = service.client.get("v1/models/stripes/good-part")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert answer.content == (station / "good.png").read_bytes()
    assert "Part" not in answer.headers
    assert re.search("no model", service.client.get("v1/models/none/good-part").json()["detail"])
