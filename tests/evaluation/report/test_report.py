"""The report: its figures, what it must not leak or load, and the page itself in a real browser."""

from __future__ import annotations

import base64
import copy
import io
import json
import math
import re
import shutil
import time

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from differnet.cli.app import app
from differnet.data import datasets
from differnet.decision.light import Light
from differnet.decision.verdict import Prediction
from differnet.decision.words.sentences import SAYS
from differnet.errors import LayoutError
from differnet.evaluation.report import page as report
from differnet.evaluation.report.findings import ReportedImage, _chance_of_outside, find
from support.browsers import chromium, found_module
from support.tiny import defective_image, good_image

RUN = CliRunner()
EVIL = "x'\"><script>alert(1)</script>.png"


@pytest.fixture(scope="module")
def banded(detector):
    again = copy.copy(detector)
    again.calibrate([good_image(700 + i) for i in range(30)], rate=0.05, review_rate=0.4, confidence=None)
    return again


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Plain folders with labels, one name that no page may believe, and masks nowhere."""
    root = tmp_path_factory.mktemp("labelled")
    for kind, picture, count in (("good", good_image, 12), ("square", None, 6)):
        (root / kind).mkdir()
        for i in range(count):
            pixels = picture(4000 + i) if picture else defective_image(i)[0]
            Image.fromarray(pixels).save(root / kind / f"{i:02}.png")
    evil = root / "square" / EVIL.replace("/", "_")
    Image.fromarray(defective_image(9)[0]).save(evil)
    return root


@pytest.fixture(scope="module")
def page(banded, mvtec_root, tmp_path_factory):
    """A report of the miniature data set in the MVTec layout, with masks."""
    target = tmp_path_factory.mktemp("page") / "report.html"
    data, known = datasets.read_to_judge(mvtec_root, categories=["stripes"])
    found = report.write(banded, data, known, target)
    return target, found, data


def embedded(text, name):
    (content,) = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)
    return json.loads(content)


def test_the_figures_are_those_of_the_verdicts(page, banded):
    target, found, data = page
    predictions = [banded.predict(sample.path) for sample in data.test]
    flagged = [one.verdict == "NG" for one in predictions]
    bad = [sample.is_defective for sample in data.test]
    assert found.counts["NG"] == sum(flagged)
    assert sum(found.counts.values()) == len(data.test)
    assert found.alarms.count == sum(f and not b for f, b in zip(flagged, bad, strict=True))
    assert (found.known[-1].found, found.known[-1].count) == (
        sum(f and b for f, b in zip(flagged, bad, strict=True)),
        8,
    )
    rows = embedded(target.read_text(), "rows")
    worst_first = sorted(predictions, key=lambda one: -one.score)
    assert [row[3] for row in rows] == pytest.approx([one.score for one in worst_first])
    assert [row[2] for row in rows] == [one.verdict for one in worst_first]
    assert len(embedded(target.read_text(), "pictures-0")) == len(rows)
    assert found.roc.mark == pytest.approx((found.alarms.value, found.known[-1].found / 8))
    at = {one.rate: one for one in found.at_rates}
    assert at[0.001].threshold is None  # 30 images cannot promise it
    assert at[0.05].alarms == found.alarms


def test_the_page_loads_nothing_and_allows_nothing(page):
    text = page[0].read_text()
    assert "default-src 'none'" in text
    outside = re.sub(r"data:[a-z/]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert re.findall(r"<[^>]+\s(?:src|href)=", outside) == ['<link rel="icon" href=']
    assert "http" not in outside.replace("http-equiv", "")
    assert not re.search(r"\son\w+=", outside)
    assert not re.search(r"\sstyle=", outside)


def test_each_row_has_its_own_picture(banded, tmp_path, monkeypatch):
    """Also across stretches of pictures, which are in the order of the rows."""
    monkeypatch.setattr(report, "PAGE", 3)
    root = tmp_path / "images"
    root.mkdir()
    for i in range(8):
        Image.fromarray(good_image(6000 + i)[: 20 + 5 * i]).save(root / f"{i}.png")
    data, known = datasets.read_to_judge(root)
    report.write(banded, data, known, tmp_path / "r.html", maps=False)
    text = (tmp_path / "r.html").read_text()
    pictures = [one for chunk in range(3) for one in embedded(text, f"pictures-{chunk}")]
    heights = [Image.open(io.BytesIO(base64.b64decode(one[0].partition(",")[2]))).height for one in pictures]
    rows = embedded(text, "rows")
    assert heights == [20 + 5 * int(row[0][0]) for row in rows]
    assert [row[3] for row in rows] == sorted((row[3] for row in rows), reverse=True)


def test_no_two_images_have_one_name(banded, tmp_path):
    for day in ("mon", "tue"):
        (tmp_path / "data" / day / "cam").mkdir(parents=True)
        Image.fromarray(good_image(6000)).save(tmp_path / "data" / day / "cam" / "1.png")
    data, known = datasets.read_to_judge(tmp_path / "data")
    report.write(banded, data, known, tmp_path / "r.html", maps=False)
    names = {row[0] for row in embedded((tmp_path / "r.html").read_text(), "rows")}
    assert names == {"mon/cam/1.png", "tue/cam/1.png"}


def test_missed_defects_are_named(banded, tmp_path):
    for kind in ("good", "dent"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(good_image(6100 + i)).save(tmp_path / "data" / kind / f"{kind}{i}.png")
    Image.fromarray(defective_image(1)[0]).save(tmp_path / "data" / "dent" / "seen.png")
    data, known = datasets.read_to_judge(tmp_path / "data")
    found = report.write(banded, data, known, tmp_path / "r.html", maps=False)
    (dent,) = found.known
    listed = re.findall(r"<li>(dent/[^<]*)</li>", (tmp_path / "r.html").read_text())
    assert listed == list(dent.missed)
    assert "dent/seen.png" not in listed
    assert len(listed) + dent.review == 3
    model = tmp_path / "m.safetensors"
    banded.save(model)
    told = RUN.invoke(
        app, ["report", str(model), str(tmp_path / "data"), "--out", str(tmp_path / "c.html"), "--no-maps"]
    )
    assert [
        line.partition("missed: ")[2] for line in told.stdout.splitlines() if "  missed: " in line
    ] == listed


def test_cross_fitting_is_named_wherever_a_rate_is_promised(labelled, tmp_path):
    from support.tiny import fit

    images = [good_image(i) for i in range(24)]
    crossed = fit(images, settings={"folds": 3, "epochs": 1, "rate": 0.1, "review_rate": 0.3})
    data, known = datasets.read_to_judge(labelled)
    report.write(crossed, data, known, tmp_path / "r.html", maps=False)
    text = (tmp_path / "r.html").read_text()
    assert "as estimated over 3 folds (cross-fitted, no proof)" in text
    assert "promised</small>" not in text
    assert "of good parts are not OK (cross-fitted, an estimate)" in text


@pytest.mark.parametrize(
    ("share", "low", "high"),
    [(1 / 153, "0.65 %", "0.66 %"), (0.05, "5 %", "5 %"), (0.0996, "9.9 %", "10 %"), (0.504, "50 %", "51 %")],
)
def test_bounds_are_rounded_outward(share, low, high):
    assert report.percent(report._outward(share, math.floor)) == low
    assert report.percent(report._outward(share, math.ceil)) == high


def test_the_ends_of_shares_stay():
    for whole in (math.floor, math.ceil):
        assert report.percent(report._outward(0.0, whole)) == "0 %"
        assert report.percent(report._outward(1.0, whole)) == "100 %"


def test_names_are_text_and_never_code(banded, labelled, tmp_path):
    target = tmp_path / "report.html"
    data, known = datasets.read_to_judge(labelled)
    report.write(banded, data, known, target, maps=False, title="<b>&")
    text = target.read_text()
    assert "<script>alert" not in text
    assert "<h1>&lt;b&gt;&amp;</h1>" in text
    names = [row[0] for row in embedded(text, "rows")]
    assert any("<script>alert(1)<_script>" in name for name in names)


def test_images_that_the_model_knows_are_left_out_of_the_figures(banded, labelled, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(labelled, root)
    Image.fromarray(good_image(700)).save(root / "good" / "known.png")  # calibrated on as an array
    data, known = datasets.read_to_judge(root)
    again = copy.copy(banded)
    files = [path for path in sorted((root / "good").iterdir()) if path.name != "known.png"]
    again.calibrate([*files, good_image(700), *(good_image(800 + i) for i in range(20))], confidence=None)
    found = report.write(again, data, known, tmp_path / "r.html", maps=False)
    assert (found.seen, found.new) == (13, 7)
    assert found.alarms is None
    assert found.roc is None
    text = (tmp_path / "r.html").read_text()
    assert "13 of these images were fitted to or calibrated on" in text
    assert all(row[6] == (row[1] == "good") for row in embedded(text, "rows"))


def test_without_labels_nothing_is_said_of_right_and_wrong(banded, tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for i in range(5):
        Image.fromarray(good_image(6000 + i)).save(root / f"{i}.png")
    data, known = datasets.read_to_judge(root)
    found = report.write(banded, data, known, tmp_path / "r.html")
    assert not known
    assert (found.alarms, found.known, found.auroc, found.roc) == (None, (), None, None)
    assert "No labels are known here" in (tmp_path / "r.html").read_text()


def test_a_model_without_a_threshold_still_has_a_page(labelled, good_images, tmp_path):
    from support.tiny import fit

    bare = fit(good_images, settings={"holdout": 0.0, "epochs": 1})
    data, known = datasets.read_to_judge(labelled)
    found = report.write(bare, data, known, tmp_path / "r.html", maps=False)
    assert found.counts == {"none": 19}
    assert found.at_rates == ()
    assert "no verdicts: the model has no threshold" in (tmp_path / "r.html").read_text()


def test_light_beyond_chance_is_said(banded):
    record, said = banded.model.calibrated_on, Prediction(1.0, 100.0, False, 0.5, 1)
    calm = [ReportedImage(f"{i}", None, said, Light(np.median(record.brightness), 1.0)) for i in range(9)]
    dark = [ReportedImage(f"{i}", None, said, Light(1.0, np.median(record.sharpness))) for i in range(9)]
    assert any("9 of 9 images are darker than all 30" in text for text in find(banded.model, dark).outside)
    assert not any("darker" in text for text in find(banded.model, calm).outside)


def test_the_chance_of_images_outside_is_that_of_a_simulation():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(20_000, 40))
    outside = (draws[:, 30:] > draws[:, :30].max(axis=1, keepdims=True)).sum(axis=1)
    for count in (1, 2, 3):
        assert np.mean(outside >= count) == pytest.approx(_chance_of_outside(count, 10, 30), abs=0.01)


def test_the_command_writes_it(detector, labelled, tmp_path):
    model, target = tmp_path / "m.safetensors", tmp_path / "out" / "r.html"
    detector.save(model)
    done = RUN.invoke(app, ["report", str(model), str(labelled), "--out", str(target), "--no-maps", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["report"] == str(target)
    assert document["known_defects"][0]["defect"] == "square"
    assert "Inspection report" in target.read_text()
    told = RUN.invoke(app, ["report", str(model), str(labelled), "--out", str(target), "--no-maps"])
    assert "Known defects, square: " in told.stdout


def test_what_cannot_be_judged_is_refused(mvtec_root, tmp_path):
    shutil.copytree(mvtec_root, tmp_path / "two")
    shutil.copytree(mvtec_root / "stripes", tmp_path / "two" / "other")
    with pytest.raises(LayoutError, match="2 categories .other, stripes.*--category"):
        datasets.read_to_judge(tmp_path / "two")
    with pytest.raises(LayoutError, match="no split file"):
        datasets.read_to_judge(mvtec_root / "stripes" / "test", split_file="names.txt")


# --- in a browser ---------------------------------------------------------------------------------------------------


def test_a_browser_that_is_demanded_is_not_missed_in_silence(monkeypatch):
    monkeypatch.setenv("DIFFERNET_NEEDS_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="pip install playwright"):
        found_module("no_such_module")
    monkeypatch.delenv("DIFFERNET_NEEDS_BROWSER")
    with pytest.raises(pytest.skip.Exception, match="pip install playwright"):
        found_module("no_such_module")


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium: the system's, or Playwright's own."""
    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser):
    """Open a page and keep what it says and asks for; at the end of the test both must be nothing."""
    said, asked, pages = [], [], []

    def visit(path, **options):
        tab = browser.new_page(viewport={"width": 1240, "height": 900}, **options)
        pages.append(tab)
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        return tab

    yield visit
    for tab in pages:
        tab.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert sum(url.startswith("file:") for url in asked) == len(pages)


def column(tab, number):
    return [text.strip() for text in tab.locator(f"#table tbody td:nth-child({number})").all_inner_texts()]


def test_sorting(opened, page):
    tab = opened(page[0])
    shown = list(zip(column(tab, 3), column(tab, 5), map(float, column(tab, 6)), strict=True))

    def place(row):
        verdict, label, score = row
        is_missed, is_alarm = verdict == "OK" and label != "good", verdict == "NG" and label == "good"
        return (0 if is_missed else 1 if is_alarm else 2), -score

    assert shown == sorted(shown, key=place)  # what was judged wrongly first
    assert tab.locator("th[aria-sort]").count() == 0
    scores = [score for *_, score in shown]
    tab.get_by_role("button", name="score").click()
    assert [float(text) for text in column(tab, 6)] == sorted(scores, reverse=True)
    tab.get_by_role("button", name="score").click()
    assert [float(text) for text in column(tab, 6)] == sorted(scores)
    assert tab.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    tab.get_by_role("button", name="file").click()
    assert column(tab, 4) == sorted(column(tab, 4))
    tab.get_by_role("button", name="verdict").click()
    rank = {"NG": 0, "review": 1, "OK": 2}
    ranks = [rank[text] for text in column(tab, 3)]
    assert ranks == sorted(ranks)


def test_filtering(opened, page):
    target, found, _ = page
    tab = opened(target)
    tab.locator(".chips button", has_text="NG").click()
    assert column(tab, 3) == ["NG"] * found.counts["NG"]
    tab.locator(".chips button", has_text="all").click()
    tab.locator("#label").select_option("square")
    assert column(tab, 5) == ["square"] * 8
    tab.locator("#search").fill("SQUARE/003")
    assert column(tab, 4) == ["square/003.png"]
    tab.locator("#search").fill("nothing like it")
    assert tab.get_by_text("No image is like that.").is_visible()
    tab.locator("#search").fill("")
    tab.locator("#label").select_option("")
    tab.locator("#wrong").check()
    wrong = found.alarms.count + len(found.known[-1].missed)
    assert tab.locator("#where").inner_text().endswith(f"of {wrong}")


def painted(tab, locator):
    """Wait until an image is decoded, and return the area in pixels of the box that it is drawn in."""
    locator.scroll_into_view_if_needed()
    tab.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=locator.element_handle())
    box = locator.bounding_box()
    return box["width"] * box["height"]


def test_picture_heat_map_and_mask_are_to_be_seen(opened, page):
    tab = opened(page[0])
    tab.locator("#search").fill("square/002")
    for kind in ("picture", "heat-layer", "mask"):
        assert painted(tab, tab.locator(f"#table img.{kind}").first) > 50 * 50
    tab.locator("#heat").uncheck()
    assert not tab.locator("#table img.heat-layer").first.is_visible()
    tab.locator("#table td.file").first.click()  # the row opens its picture
    large = tab.locator("#large img.picture").first
    assert painted(tab, large) > 200 * 200
    said = tab.locator("#large figcaption").inner_text()
    assert "label square" in said
    verdict = tab.locator("#table tbody .badge").first.inner_text()
    assert SAYS[verdict] in said
    assert re.search(r"\d+ % of the limit" + (" to review" if verdict != "NG" else ","), said)
    tab.keyboard.press("Escape")
    assert not large.is_visible()
    ink = tab.evaluate(
        """() => { const image = document.querySelector("#table img.mask"), canvas = document.createElement("canvas");
        canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
        const brush = canvas.getContext("2d"); brush.drawImage(image, 0, 0);
        const data = brush.getImageData(0, 0, canvas.width, canvas.height).data;
        return data.filter((value, i) => i % 4 == 1 && value > 128).length }"""
    )
    assert ink == 4 * 14 - 4  # the edge of the square that was drawn


def test_on_a_phone_the_scores_can_be_read_and_nothing_is_cut_off(opened, page):
    tab = opened(page[0])
    tab.set_viewport_size({"width": 390, "height": 844})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    size = tab.evaluate(
        """() => [...document.querySelectorAll("svg.plot .tick")].map((one) => {
          const drawn = one.ownerSVGElement.getScreenCTM().a;
          return drawn * parseFloat(getComputedStyle(one).fontSize);
        })"""
    )
    assert len(size) > 10
    assert min(size) > 11  # pixels


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1920])
def test_axe_finds_nothing_wrong(opened, page, scheme, width):
    pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')
    from support.page import offences

    tab = opened(
        page[0], color_scheme=scheme, bypass_csp=True
    )  # which forbids foreign scripts, so axe as well
    tab.set_viewport_size({"width": width, "height": 900})
    assert offences(tab) == []
    tab.locator("#table td.file").first.click()
    assert offences(tab) == []


def test_both_colour_schemes_can_be_read(opened, page):
    for scheme in ("light", "dark"):
        tab = opened(page[0], color_scheme=scheme)
        colours = tab.evaluate(
            "() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor] }"
        )
        ink, paper = (np.mean([int(n) for n in re.findall(r"\d+", colour)[:3]]) for colour in colours)
        assert abs(ink - paper) > 150
        assert (ink < paper) == (scheme == "light")


def test_names_of_files_are_harmless(opened, banded, labelled, tmp_path):
    data, known = datasets.read_to_judge(labelled)
    report.write(banded, data, known, tmp_path / "report.html", maps=False)
    tab = opened(tmp_path / "report.html")
    tab.locator("#search").fill("script")
    assert column(tab, 4) != []
    assert "<script>" in tab.locator("#table tbody td.file").inner_text()


def test_thousands_of_images_do_not_freeze_it(opened, page, tmp_path):
    """The page of a few images, with its rows and pictures repeated three hundred times."""
    text, times = page[0].read_text(), 300
    rows, pictures = embedded(text, "rows"), embedded(text, "pictures-0")
    many = [[f"{i}-{row[0]}", *row[1:]] for i in range(times) for row in rows]
    all_pictures = pictures * times
    chunks = [all_pictures[i : i + report.PAGE] for i in range(0, len(all_pictures), report.PAGE)]
    start = text.index('<script type="application/json" id="rows">')
    stop = text.index("<script>", start)
    setup = re.search(r'<script type="application/json" id="setup">.*?</script>', text).group()
    parts = [f'<script type="application/json" id="rows">{json.dumps(many)}</script>', setup]
    parts += [
        f'<script type="application/json" id="pictures-{i}">{json.dumps(chunk)}</script>'
        for i, chunk in enumerate(chunks)
    ]
    (tmp_path / "many.html").write_text(text[:start] + "\n".join(parts) + text[stop:])
    begun = time.perf_counter()
    tab = opened(tmp_path / "many.html")
    assert tab.locator("#where").inner_text() == f"1 to 50 of {len(many)}"
    tab.get_by_role("button", name="p-value").click()
    for _ in range(3):
        tab.get_by_role("button", name="next").click()
    assert tab.locator("#where").inner_text().startswith("151 to 200")
    assert tab.locator("#table tbody tr").count() == 50
    assert painted(tab, tab.locator("#table img.picture").last) > 0
    tab.get_by_role("button", name="file").click()
    first = column(tab, 4)
    assert first[0].startswith("0-")
    assert [int(name.partition("-")[0]) for name in first] == sorted(int(n.partition("-")[0]) for n in first)
    assert time.perf_counter() - begun < 60  # seconds, but for a machine that does ten other things
