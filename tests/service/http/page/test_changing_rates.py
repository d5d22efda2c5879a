"""Rates, models, drift and keys on the page."""

from __future__ import annotations

import hashlib
import re
import shutil

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')

from PIL import Image

from support.page import WORDS, counted, is_drawn, parts, shows, until
from support.tiny import good_image

KEY = "a-key-for-the-tests-that-is-long-enough"


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
    tab.get_by_text("Write your name and the reason first").wait_for()
    assert other.ask("v1/models/stripes/rates") == was
    tab.get_by_label("Your name").fill("Ada")
    tab.locator("#rates-reason").fill("new lamp")
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
