"""The review on the page: one part after the other by keys, and what the drawn ones tell; with axe, light and dark."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')

from support.page import offences, until

SIZES = [({"width": 1920, "height": 1080}, "light"), ({"width": 390, "height": 844}, "dark")]

WANTED = [("good", None), ("defective", None), (None, None), ("defective", "scratch")]
WANTED += [("good", None), ("defective", None), ("good", None), (None, None)]


@pytest.fixture
def stream(serve, pictures):
    """A service that draws every OK part, with eight parts of which some wait."""
    found = serve("--audit-share", "1", "--defect-class", "dent", "--defect-class", "scratch")
    paths = [
        path for pair in zip(pictures["good"][:4], pictures["defective"][:4], strict=True) for path in pair
    ]
    return found, [found.inspect(path) for path in paths]


def number(tab):
    return int(tab.locator("#review-words b").first.inner_text().removeprefix("Part "))


def shown(tab, row):
    until(tab, f"document.querySelector('#review-words b')?.textContent === 'Part {row['seq']}'")
    until(
        tab,
        "document.querySelector('#review-picture').complete && !document.querySelector('#review-picture').hidden",
    )
    tab.wait_for_timeout(150)


def operator(service, row):
    found = service.ask(f"v1/inspections/{row['id']}")
    return found["operator"], found["defect"]


def test_parts_are_confirmed_by_keys_until_none_is_left(stream, visit):
    service, rows = stream
    tab = visit(service)
    until(tab, "document.querySelector('#review-count').textContent === '8'")
    tab.keyboard.press("r")
    for row, press, wanted in zip(
        rows,
        ["g", "d", "s", "2", "g", "d", "g", "s"],
        WANTED,
        strict=True,
    ):
        shown(tab, row)
        tab.keyboard.press(press)
        if wanted[0]:
            until(
                tab,
                f"document.querySelector('#review-words b').textContent !== 'Part {row['seq']}'"
                " || !document.querySelector('#review-end').hidden",
            )
        tab.wait_for_timeout(100)
        assert operator(service, row) == wanted
    tab.get_by_text("You have looked at all that waits, and skipped 2.").wait_for()
    assert tab.locator("#review-left").inner_text().startswith("2 left")
    assert "About 0 defective parts passed" in tab.locator("#review-end .told").last.inner_text()
    tab.get_by_role("button", name="Look at the skipped ones").click()
    shown(tab, rows[2])
    tab.keyboard.press("g")
    shown(tab, rows[7])
    tab.keyboard.press("d")
    tab.get_by_text("Nothing waits").wait_for()
    tab.keyboard.press("Escape")
    until(tab, "document.querySelector('#review-count').textContent === '0'")
    until(tab, "document.querySelector('#rows tr td:nth-child(4)').textContent === 'defective'")


def test_a_word_is_taken_back_and_the_part_comes_again(stream, visit):
    service, rows = stream
    tab = visit(service)
    tab.keyboard.press("r")
    shown(tab, rows[0])
    assert tab.locator("#review-undo").is_disabled()
    tab.keyboard.press("d")
    shown(tab, rows[1])
    assert operator(service, rows[0])[0] == "defective"
    tab.keyboard.press("u")
    shown(tab, rows[0])
    assert operator(service, rows[0]) == (None, None)
    assert tab.locator("#review-left").inner_text().startswith("8 left")


def test_what_somebody_else_confirms_leaves_the_review(stream, visit):
    service, rows = stream
    tab = visit(service)
    tab.keyboard.press("r")
    shown(tab, rows[0])
    service.ask(f"v1/inspections/{rows[0]['id']}/operator", "PUT", json={"verdict": "good"})
    shown(tab, rows[1])
    until(tab, "document.querySelector('#review-left').textContent.startsWith('7 left')")


def test_a_key_counts_for_a_picture_that_is_seen_alone(stream, visit):
    service, rows = stream
    tab = visit(service)
    held = []
    is_held = [True]
    tab.route("**/image", lambda route: held.append(route) if is_held[0] else route.continue_())
    tab.keyboard.press("r")
    until(tab, f"document.querySelector('#review-words b')?.textContent === 'Part {rows[0]['seq']}'")
    tab.keyboard.press("g")
    tab.wait_for_timeout(300)
    assert operator(service, rows[0]) == (None, None)
    is_held[0] = False
    for route in held:
        route.continue_()
    shown(tab, rows[0])
    tab.keyboard.press("g")
    until(tab, f"document.querySelector('#review-words b').textContent === 'Part {rows[1]['seq']}'")
    assert operator(service, rows[0]) == ("good", None)


def test_letters_in_a_field_are_no_keys(serve, visit, pictures):
    service = serve("--audit-share", "1")
    rows = [service.inspect(path) for path in pictures["defective"][:2]]
    tab = visit(service)
    tab.keyboard.press("r")
    shown(tab, rows[0])
    tab.locator("#review-class").fill("deep gsd")
    assert number(tab) == rows[0]["seq"]
    tab.keyboard.press("Enter")
    shown(tab, rows[1])
    assert operator(service, rows[0]) == ("defective", "deep gsd")


@pytest.mark.parametrize(("size", "scheme"), SIZES)
def test_axe_finds_nothing_wrong_in_the_review(stream, visit, size, scheme):
    service, rows = stream
    tab = visit(service, viewport=size, color_scheme=scheme)
    tab.locator("#open-review").click()
    shown(tab, rows[0])
    assert offences(tab) == []
    box = tab.locator("#review-picture").bounding_box()
    assert min(box["width"], box["height"]) >= 200
    for name in ("good", "defective", "skip"):
        inside = tab.locator(f"#review-{name}").bounding_box()
        assert inside["height"] >= 44
        assert inside["y"] + inside["height"] <= size["height"]
    for _ in rows:
        tab.locator("#review-skip").click()
    tab.locator("#review-again").wait_for()
    assert offences(tab) == []
