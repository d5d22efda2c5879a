"""The page for everyone: with a keyboard alone, on any screen, without colours or motion, by the rules of axe."""

from __future__ import annotations

import pytest

from support.page import SECOND, offences, settle, shows, until

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(service, visit, many, pictures, scheme):
    tab = visit(service, color_scheme=scheme, expects=[422])
    for path in (pictures["good"][0], pictures["defective"][0]):
        shows(tab, service.inspect(path))
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


def test_a_lost_line_is_for_everyone_too(service, visit, many):
    tabs = {scheme: visit(service, color_scheme=scheme, expects=[0]) for scheme in ("light", "dark")}
    with service.silent():
        for scheme, tab in tabs.items():
            tab.locator("#lost").wait_for(timeout=15 * SECOND)
            assert offences(tab) == [], scheme
    for tab in tabs.values():
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
