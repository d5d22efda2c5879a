"""Looking back on the page: the list, its filters, the counts, and what the operator says of a part."""

from __future__ import annotations

import pytest

from support.page import classes, parts, settle, shows, until

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')


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


def test_counts_and_the_chart(service, visit, many):
    tab = visit(service)
    total = service.ask("v1/models/stripes/counts?bucket=day&since=2020-01-01T00:00:00Z")["total"]
    for kind in ("OK", "review", "NG", "error"):
        until(tab, f"document.querySelector('#today-{kind}').textContent === '{total[kind]:,}'")
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
