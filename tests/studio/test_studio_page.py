"""The studio in a browser: pictures in by every way, looked at, left out; for everyone, on small screens and large."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[studio]"')

from PIL import Image

from support.browsers import chromium
from support.page import offences, until
from support.studio import studio, write_pictures

SIZES = [{"width": 1920, "height": 1080}, {"width": 390, "height": 844}]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A studio with 30 good pictures, a copy, one of another size and one that cannot be read."""
    root = write_pictures(tmp_path_factory.mktemp("page"), good=30)
    (root / "good" / "broken.png").write_bytes(b"no picture")
    shutil.copy(root / "good" / "part-000.png", root / "good" / "z-copy.png")
    with Image.open(root / "good" / "part-007.png") as image:
        image.resize((80, 64)).save(root / "good" / "z-large.png")
    with studio(root) as found:
        yield found


@pytest.fixture
def visit(browser):
    """Open the page of a studio; whatever goes wrong in it, but the status that is ``expected``, fails the test."""
    tabs, wrong = [], []

    def open_tab(found, expected=None, **options):
        def heard(message):
            if message.type == "error" and f"status of {expected} " not in message.text:
                wrong.append(message.text)

        tab = browser.new_page(**{"viewport": SIZES[0], **options})
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", heard)
        tabs.append(tab)
        tab.goto(f"{found.url}/")
        return tab

    yield open_tab
    for tab in tabs:
        tab.close()
    assert wrong == []


def choose(tab, name, button="#open-good"):
    """Choose a folder of the machine in the window for it."""
    tab.locator(button).click()
    until(tab, "document.querySelector('#folder-path').value !== ''")  # what is in it has come
    if tab.locator("#folder-up").is_enabled():
        tab.locator("#folder-up").click()
    tab.get_by_role("button", name=name, exact=True).click()
    until(tab, f"document.querySelector('#folder-path').value.endsWith('/{name}')")
    tab.locator("#folder-take").click()
    tab.locator("#folder").wait_for(state="hidden")


def test_a_folder_is_chosen_looked_at_and_a_click_leaves_out(shared, visit):
    tab = visit(shared)
    choose(tab, "good")
    until(tab, "document.querySelector('#n-odd').textContent === '1'", 30)
    assert [tab.locator(f"#{name}").inner_text() for name in ("n-used", "n-copies", "n-unread")] == [
        "32",
        "1",
        "1",
    ]
    cards = tab.locator("#shots li")
    assert cards.count() == 33
    assert "broken.png" in cards.nth(0).inner_text()
    assert "not an image that can be read" in cards.nth(0).inner_text()
    assert "another size" in cards.nth(1).inner_text()
    button = tab.get_by_role("button", name="Leave out z-large.png")
    button.click()
    until(tab, "document.querySelector('#n-used').textContent === '31'")
    assert button.get_attribute("aria-pressed") == "true"
    assert "z-large.png" in cards.nth(1).inner_text()  # it stays where it was
    button.click()
    until(tab, "document.querySelector('#n-used').textContent === '32'")
    tab.get_by_role("button", name="Leave out all copies").click()
    until(tab, "document.querySelector('#n-left').textContent === '1'")
    tab.get_by_role("button", name="Take all again").click()
    until(tab, "document.querySelector('#n-left').textContent === '0'")
    image = "document.querySelector('#shots li:nth-child(2) img')"
    until(tab, f"{image}.complete && {image}.naturalWidth > 0")


def test_pictures_are_dropped_and_files_that_are_none_are_said(shared, visit):
    tab = visit(shared)
    before = shared.state["counts"]["defects"]
    tab.evaluate(
        """async ([bytes]) => {
          document.querySelector("#defects").hidden = false;
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "scratch-1.png", { type: "image/png" }));
          data.items.add(new File(["text"], "notes.txt", { type: "text/plain" }));
          const drop = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
          document.querySelector("#drop-bad").dispatchEvent(drop);
        }""",
        [list((shared.root / "bad" / "square" / "square-0.png").read_bytes())],
    )
    tab.get_by_text("1 file is no picture and was not sent.").wait_for()
    state = shared.until(lambda one: one["counts"]["defects"] == before + 1)
    assert state["counts"]["defects_unread"] == 0
    assert [one["defect"] for one in shared.get("/pictures?kind=defects")][-1] == "defect"


def test_a_path_outside_is_refused_in_the_window(shared, visit):
    tab = visit(shared, expected=422)
    tab.locator("#open-good").click()
    tab.locator("#folder-list li").first.wait_for()
    tab.locator("#folder-path").fill("/etc")
    tab.get_by_role("button", name="Go", exact=True).click()
    tab.get_by_text("outside of the folders that may be looked into").wait_for()
    assert shared.state["places"] == [str(shared.root)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=["wide", "narrow"])
def test_it_is_for_everyone_and_fits(shared, visit, scheme, size):
    tab = visit(shared, viewport=size, color_scheme=scheme)
    if not shared.state["counts"]["good"]:
        choose(tab, "good")
    tab.locator("#shots li").nth(5).wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert offences(tab) == []
    tab.locator("#open-good").click()
    tab.locator("#folder-list li").first.wait_for()
    assert offences(tab) == []
