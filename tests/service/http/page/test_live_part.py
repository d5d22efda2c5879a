"""The live part on the page: its verdict, picture and map, and what is said when the line is silent."""

from __future__ import annotations

import pytest

from support.page import SECOND, WORDS, classes, counted, is_drawn, shows, until, word

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')


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
    (width, height), (map_width, map_height) = sizes
    assert map_width / map_height == width / height
    assert max(map_width, map_height) >= 800  # so that its lines are thin


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
    until(  # before or after the moment without a beat that the clock made
        tab,
        """document.querySelector('#verdict').classList.contains('idle')
           && document.querySelector('#part').textContent.includes('No part came for a while')""",
    )
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
