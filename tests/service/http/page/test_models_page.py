"""Models and their versions on the page: a trial with its differences, taking over, rolling back and retiring."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')

from support.page import offences, until

KEYS = {role: f"a-key-of-the-{role}-that-is-long-enough" for role in ("confirm", "engineer")}


@pytest.fixture(scope="session")
def stricter(tmp_path_factory):
    """The folder of another model of the same parts, which rejects more of them."""
    from support.service_fixture import export_tiny

    return export_tiny(tmp_path_factory.mktemp("stricter") / "station", blocks=1, rate=0.5, review_rate=0.7)


@pytest.fixture
def root(stricter, tmp_path):
    shutil.copytree(stricter, tmp_path / "models/stripes-november")
    return tmp_path / "models"


def opened(tab):
    tab.get_by_role("button", name="Models").click()
    tab.locator("#models h3").first.wait_for()
    return tab.locator("#models")


def state(other):
    return other.ask("v1/models/stripes/versions")


def test_a_version_is_tried_looked_at_and_made_to_judge(serve, visit, root, pictures):
    other = serve("--models", str(root))
    first = state(other)["active"]
    tabs = {
        "light": visit(other, color_scheme="light", viewport={"width": 1920, "height": 1080}),
        "dark": visit(other, color_scheme="dark", viewport={"width": 390, "height": 844}),
    }
    tab = tabs["light"]
    window = opened(tab)
    assert first[:8] in window.locator(".versions").inner_text()
    window.get_by_text("Load another version").click()
    assert offences(tab) == []
    window.get_by_role("button", name="Load it").click()
    tab.get_by_text("Not done: choose a folder or a ZIP.").wait_for()
    tab.locator("#put-folder").select_option("stripes-november")
    tab.locator("#models-reason").fill("pictures of November")
    window.get_by_role("button", name="Load it").click()
    window.get_by_text("is on trial since").wait_for()
    second = state(other)["trial"]["digest"]
    sent = [other.inspect(path) for path in pictures["good"] + pictures["defective"][:4]]
    other.ask(f"v1/inspections/{sent[0]['id']}/operator", "PUT", json={"verdict": "good"})
    until(
        tab,
        f"document.querySelector('.trial-progress')?.textContent.startsWith('{len(sent)} of {len(sent)}')",
        60,
    )
    found = other.ask("v1/models/stripes/differences?limit=12")["differences"]
    assert len(found) > 1
    cards = window.locator(".difference")
    until(tab, f"document.querySelectorAll('.difference').length === {len(found)}")
    for number, pair in enumerate(found):
        text = cards.nth(number).inner_text()
        assert f"Part {pair['inspection']['seq']:,}" in text
        words = {"OK": "OK", "review": "REVIEW", "NG": "NG"}
        assert text.index(words[pair["inspection"]["verdict"]]) < text.rindex(
            words[pair["shadow"]["verdict"]]
        )
    until(tab, "[...document.querySelectorAll('.difference img')].every(one => one.naturalWidth > 0)")
    window.get_by_text("Of 1 parts called good by operators").wait_for()
    for scheme, one in tabs.items():
        if scheme == "dark":
            opened(one)
            one.locator(".difference").first.wait_for()
            width = one.evaluate("document.querySelector('#models').scrollWidth")
            assert width <= one.evaluate("document.querySelector('#models').clientWidth")
        assert offences(one) == [], scheme
    window.locator(".difference button").first.click()  # the part as a whole
    tab.locator("#past-text", has_text=f"part {found[0]['inspection']['seq']:,}").wait_for()
    assert not window.is_visible()

    window = opened(tab)
    window.get_by_role("button", name="Have it judge").click()
    window.get_by_text(f"Version {second[:8]} of stripes judges now.").wait_for()
    assert (state(other)["active"], state(other)["trial"]) == (second, None)
    assert other.inspect(pictures["good"][0])["model_digest"] == second
    limit = other.ask("v1/models/stripes/rates")["promised"]
    tab.get_by_text(f"At most {float(f'{100 * limit:.3g}'):g}% of good parts rejected").wait_for()
    tabs["dark"].locator("#models .versions", has_text="judged before").wait_for()  # another screen sees it
    window.get_by_role("button", name=f"Roll back to {first[:8]}").click()
    window.get_by_text("stripes was rolled back.").wait_for()
    assert state(other)["active"] == first
    window.get_by_role("button", name="judge by it").click()
    window.get_by_text(f"Version {second[:8]} judges.").wait_for()
    assert state(other)["active"] == second


def test_a_model_is_retired_by_a_second_click_and_comes_back(serve, visit, pictures):
    other = serve()
    other.inspect(pictures["good"][0])
    tab = visit(other)
    window = opened(tab)
    window.get_by_text("Load another version").click()
    window.get_by_text("The service was started without a folder of models").wait_for()
    tab.locator("#models-reason").fill("the line is gone")
    window.get_by_role("button", name="Retire").click()
    assert state(other)["retired"] is False
    assert offences(tab) == []
    window.get_by_role("button", name="Really retire stripes?").click()
    window.get_by_text("Retired: no version judges.").wait_for()
    assert state(other)["retired"] is True
    change = other.ask("v1/changes?limit=1")["changes"][0]
    assert (change["what"], change["after"]["reason"]) == ("model retired", "the line is gone")
    window.get_by_role("button", name="Roll back").click()
    window.get_by_text("stripes was rolled back.").wait_for()
    assert other.inspect(pictures["good"][1])["verdict"]


def test_a_zip_is_uploaded_and_one_that_is_none_is_refused_in_words(serve, visit, root, stricter, tmp_path):
    other = serve("--models", str(root))
    tab = visit(other, expects=[422])
    window = opened(tab)
    window.get_by_text("Load another version").click()
    tab.locator("#put-trial").uncheck()
    (tmp_path / "no.zip").write_bytes(b"no zip")
    tab.locator("#put-file").set_input_files(tmp_path / "no.zip")
    window.get_by_role("button", name="Load it").click()
    tab.locator("#models-error", has_text="no ZIP").wait_for()
    assert offences(tab) == []
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in stricter.iterdir():
            archive.write(path, f"station/{path.name}")
    (tmp_path / "station.zip").write_bytes(packed.getvalue())
    tab.locator("#put-model").fill("another")
    tab.locator("#put-file").set_input_files(tmp_path / "station.zip")
    window.get_by_role("button", name="Load it").click()
    window.get_by_text("It judges for another now.").wait_for()
    assert {one["name"] for one in other.ask("v1/models")} == {"stripes", "another"}
    tab.locator("#model option", has_text="another").wait_for(state="attached")


def test_a_key_of_another_role_is_told_so(serve, visit, tmp_path):
    lines = [
        f"{hashlib.sha256(key.encode()).hexdigest()} roles={role} {role}\n" for role, key in KEYS.items()
    ]
    (tmp_path / "keys").write_text("".join(lines))
    (tmp_path / "keys").chmod(0o600)
    locked = serve("--keys", str(tmp_path / "keys"), headers={"X-API-Key": KEYS["engineer"]})
    tab = visit(locked, expects=[401, 403], wait=False)
    tab.locator("#key").fill(KEYS["confirm"])
    tab.keyboard.press("Enter")
    tab.get_by_text("Live", exact=True).wait_for()
    tab.get_by_role("button", name="Models").click()
    tab.get_by_text("This API key may not do that.").wait_for()
    assert not tab.locator("#models").is_visible()
