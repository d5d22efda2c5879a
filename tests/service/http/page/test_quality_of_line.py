"""Quality on the page: parts and searches, kinds of defects, figures, files, consequences of rates, pages to print."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')

from support.page import offences, parts, settle, shows, until

SIZES = [({"width": 1920, "height": 1080}, "dark"), ({"width": 390, "height": 844}, "light")]
KEY = "a-key-for-the-tests-that-is-long-enough"


@pytest.fixture
def line(serve, pictures):
    found = serve(
        "--audit-share", "1", "--part-pattern", r"(?P<serial>SN\d+)_(?P<lot>L\d+)", "--shift", "early=06:00"
    )
    names = [f"SN{number}_L{number // 4}.png" for number in range(10)]
    paths = pictures["good"][:7] + pictures["defective"][:3]
    return found, [found.inspect(path, name=name) for path, name in zip(paths, names, strict=True)]


def say(service, row, verdict, **more):
    service.ask(f"v1/inspections/{row['id']}/operator", "PUT", json={"verdict": verdict, **more})


def test_parts_are_shown_and_searched(line, visit):
    service, rows = line
    tab = visit(service)
    assert "serial SN9 · lot L2" in tab.locator("#part").inner_text()
    tab.locator("#by-search").fill("l1")
    tab.locator("#by-search").press("Enter")
    until(tab, "document.querySelectorAll('#rows tr').length === 4")
    assert parts(tab) == [row["seq"] for row in rows[7:3:-1]]
    service.inspect(_picture(service, rows[0]), name="SN99_L1.png")
    until(tab, "document.querySelectorAll('#rows tr').length === 5")  # it fits
    service.inspect(_picture(service, rows[0]), name="SN98_L5.png")
    tab.wait_for_timeout(600)
    assert len(parts(tab)) == 5  # it does not


def _picture(service, row):
    path = Path(service.log).with_name("again.png")
    path.write_bytes(service.client.get(f"v1/inspections/{row['id']}/image").content)
    return path


def test_a_kind_of_defect_is_written_and_counted(line, visit):
    service, rows = line
    tab = visit(service)
    shows(tab, rows[-1])
    settle(tab)
    tab.get_by_label("Kind of defect").fill("dent")
    tab.get_by_label("Kind of defect").press("Enter")
    tab.get_by_text("is defective, says the operator.").wait_for()
    found = service.ask(f"v1/inspections/{rows[-1]['id']}")
    assert (found["operator"], found["defect"]) == ("defective", "dent")
    tab.get_by_label("Kind of defect").blur()
    tab.keyboard.press("d")  # the kind stays
    tab.wait_for_timeout(500)
    assert service.ask(f"v1/inspections/{rows[-1]['id']}")["defect"] == "dent"
    tab.locator("#quality summary").first.click()
    tab.locator("#quality .chart rect").first.wait_for()
    assert "dent" in tab.locator("#quality-found").inner_text()


@pytest.mark.parametrize(("size", "scheme"), SIZES)
def test_quality_has_the_figures_of_the_record(line, visit, size, scheme):
    service, rows = line
    for row in rows[:5]:
        say(service, row, "defective" if row is rows[1] else "good")
    say(service, rows[-1], "defective", defect="scratch")
    tab = visit(service, viewport=size, color_scheme=scheme)
    tab.locator("#quality summary").first.click()
    tab.locator("#quality .limit").wait_for(state="attached")
    passed = service.ask("v1/models/stripes/escapes")
    text = tab.locator("#quality-found").inner_text()
    assert f"Parts judged OK: {passed['passed']}. Drawn by chance: {passed['drawn']}." in text
    assert f"Looked at: {passed['confirmed']}. Defective among these: {passed['defective']}." in text
    total = service.ask("v1/models/stripes/counts?bucket=day&since=2020-01-01T00:00:00Z")["total"]
    table = tab.locator("#quality-shifts tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].slice(1).map(cell => Number(cell.textContent)))"
    )
    sums = [sum(column) for column in zip(*table, strict=True)]
    assert sums[1:4] == [total[kind] for kind in ("OK", "review", "NG")]
    assert sums[6:] == [4, 2]
    assert offences(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.parametrize("locked", [False, True])
def test_files_are_taken_away(serve, visit, pictures, tmp_path, locked):
    more, headers = [], None
    if locked:
        file = tmp_path / "keys"
        file.write_text(f"{hashlib.sha256(KEY.encode()).hexdigest()} tests\n")
        file.chmod(0o600)
        more, headers = ["--keys", str(file)], {"X-API-Key": KEY}
    service = serve(*more, headers=headers)
    row = service.inspect(pictures["defective"][0], name="SN1.png")
    service.inspect(pictures["good"][0])
    say(service, row, "defective", defect="dent")
    tab = visit(service, expects=[401] if locked else [], wait=False)
    if locked:
        tab.locator("#key").fill(KEY)
        tab.keyboard.press("Enter")
    until(tab, "document.querySelectorAll('#rows tr').length === 2")
    tab.locator("#by-search").fill("SN1")
    tab.locator("#by-search").press("Enter")
    until(tab, "document.querySelectorAll('#rows tr').length === 1")
    with tab.expect_download() as table:
        tab.get_by_role("button", name="Save as CSV").click()
    lines = list(csv.DictReader(io.StringIO(Path(table.value.path()).read_text("utf-8-sig"))))
    assert [one["id"] for one in lines] == [row["id"]]
    tab.locator("#quality summary").first.click()
    with tab.expect_download() as pictures_of:
        tab.get_by_role("button", name="Confirmed pictures").click()
    with zipfile.ZipFile(pictures_of.value.path()) as archive:
        assert [name.rpartition("/")[0] for name in archive.namelist()] == ["stripes/test/dent", "stripes"]


@pytest.mark.parametrize(("size", "scheme"), SIZES)
def test_rates_say_what_they_mean_with_pictures(line, visit, size, scheme):
    service, rows = line
    for row in rows[:7]:
        say(service, row, "good")
    for row in rows[7:]:
        say(service, row, "defective")
    seen = service.ask("v1/models/stripes/rates/preview", "POST", json={"rate": 0.9})["confirmed"]
    tab = visit(service, viewport=size, color_scheme=scheme)
    tab.locator("#open-rates").click()
    tab.locator("#rate").fill("90")
    tab.locator("#review-rate").fill("")
    tab.locator("#rate").press("Enter")
    tab.locator("#rates-found table").wait_for()
    text = tab.locator("#rates-found").inner_text()
    assert f"Of 3 parts confirmed as defective {seen['passing_after']} would pass" in text
    assert f"Of 7 parts confirmed as good {seen['held_after']} would be held" in text
    assert f"{seen['now_spared']} would be spared, {seen['now_held']} more held." in text
    assert seen["now_held"] > 0
    until(tab, "[...document.querySelectorAll('#rates-found .small')].every(one => one.naturalWidth > 0)")
    assert tab.locator("#rates-found .small").count() == seen["now_held"] + seen["now_spared"]
    assert offences(tab) == []


def test_other_screens_hear_of_applied_rates(line, visit):
    service, _ = line
    tab, other = visit(service), visit(service)
    before = other.locator("#promise").inner_text()
    tab.keyboard.press("t")
    tab.locator("#rate").fill("40")
    tab.locator("#review-rate").fill("")
    tab.keyboard.press("Enter")
    until(tab, "!document.querySelector('#rates-apply').disabled")
    tab.get_by_label("Your name").fill("Ada")
    tab.locator("#rates-reason").fill("new lamp")
    tab.locator("#rates-apply").click()
    other.get_by_text("The rates of stripes were moved by Ada: new lamp").wait_for()
    until(other, f"document.querySelector('#promise').textContent !== {before!r}")
    tab.keyboard.press("t")
    tab.get_by_text("Who moved the rates before (1)").click()
    assert "Ada, “new lamp”" in tab.locator("#rates-history").inner_text()


@pytest.mark.parametrize(("size", "scheme"), SIZES)
def test_a_part_and_a_shift_are_pages_to_print(line, visit, size, scheme):
    service, rows = line
    say(service, rows[-1], "good", note="dust")
    say(service, rows[-1], "defective", defect="dent")
    tab = visit(service, f"part?id={rows[-1]['id']}", wait=False, viewport=size, color_scheme=scheme)
    tab.locator(".facts").wait_for()
    text = tab.locator("#paper").inner_text()
    for words in ("SN9", "L2", "dent", "dust", rows[-1]["image_digest"]):
        assert words in text
    assert [line.partition(": ")[2] for line in tab.locator("#paper ol li").all_inner_texts()] == [
        "judged NG",
        "name unknown, said good, dust",
        "name unknown, said defective, dent, dust",
    ]
    assert tab.locator(".pictures img").evaluate_all("all => all.every(one => one.naturalWidth > 0)")
    assert offences(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
    tab.goto(f"{service.url}shift?model=stripes")
    tab.locator("#shift-found .told").first.wait_for()
    kinds = [row["verdict"] for row in rows]
    told = tab.locator("#shift-found .told").first.inner_text()
    assert told.startswith(f"{len(rows)} parts were judged, {kinds.count('NG')} of them rejected")
    assert offences(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
    tab.emulate_media(media="print")
    assert not tab.get_by_role("button", name="Print").is_visible()


def test_a_part_that_is_not_there_is_said(line, visit):
    service, _ = line
    tab = visit(service, "part?id=none", wait=False)
    tab.get_by_role("alert").wait_for()
    assert "That is not there" in tab.get_by_role("alert").inner_text()
