"""The page in the language of the browser: every text has an entry in every language, and nothing goes around them."""

from __future__ import annotations

import re
import shutil

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')

from differnet.decision.words.sentences import SAYS, of_limit, of_rate
from differnet.service.http.routes.page import FOLDER
from support import spoken
from support.page import offences, settle, shows, until

FILES = sorted((FOLDER / "languages").glob("*.js"))
NAMES = re.compile(r"\{(\w+)\}")


def test_the_languages_of_the_switch_are_the_files():
    switch = re.search(r"LANGUAGES = \{(.*?)\}", (FOLDER / "language.js").read_text())[1]
    assert sorted(re.findall(r"(\w+): ", switch)) == sorted(["en", *(path.stem for path in FILES)])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_text_of_the_page_has_its_entry_and_no_entry_is_left_over(path):
    texts, entries = spoken.used(FOLDER), spoken.entries(path.read_text())
    known = dict(entries)
    missing = [f"{place}: {text!r}" for text, place in texts.items() if text not in known]
    assert missing == [], f"texts without an entry in languages/{path.name}"
    assert [text for text in known if text not in texts] == [], f"entries of languages/{path.name} not said"
    assert len(entries) == len(known)
    assert [text for text, other in entries if not other.strip()] == []
    wrong = [text for text, other in entries if sorted(NAMES.findall(text)) != sorted(NAMES.findall(other))]
    assert wrong == [], "other {names} than the English text"


def test_what_is_said_stands_where_it_can_be_found():
    """A text that is put together, or comes from a variable, would be in no language."""
    found = {path.name: spoken.of_script(path.read_text())[1] for path in FOLDER.glob("*.js")}
    del found["language.js"]
    assert {name: calls for name, calls in found.items() if calls} == {}


def test_a_text_without_an_entry_would_be_found(tmp_path):
    (tmp_path / "index.html").write_text('<p title="A tip">Words <b translate="no">X</b> <kbd>K</kbd></p>')
    (tmp_path / "a.js").write_text(
        '// t("no")\nsay(t("One {n}", { n }));\nset(t(`x`)); at("y"); t(\n  "Two");\n'
    )
    assert spoken.used(tmp_path) == {
        "A tip": "index.html",
        "Words": "index.html",
        "One {n}": "a.js",
        "Two": "a.js",
    }
    assert spoken.of_script((tmp_path / "a.js").read_text())[1] == ['t(`x`)); at("y"); t(']


# A language in which every text is itself in brackets: what has none went around it.
BRACKETS = (
    "export default new Proxy({}, { get: (_, text) => typeof text === 'string' ? `⟦${text}⟧` : undefined });"
)
OUTSIDE = """() => {
  const found = [], heard = ["aria-label", "title", "alt", "placeholder"];
  const data = "kbd, script, style, [translate=no], #model, #by-model, .file, td.long, .time, #rates-model"
    + ", .chart .middle, #chart-table th";
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const rest = node.data.replace(/⟦.*⟧/gs, "");
    const isData = rest.trim() === "differnet" || node.parentElement.closest(data);
    if (/\\p{L}/u.test(rest) && !isData) found.push(node.data.trim());
  }
  for (const name of heard) for (const node of document.querySelectorAll(`[${name}]`)) {
    const rest = node.getAttribute(name).replace(/⟦.*⟧/gs, "");
    if (/\\p{L}/u.test(rest) && !node.matches("td.long, .file")) found.push(`${name}: ${rest}`);
  }
  return found;
}"""


def test_all_that_is_seen_and_heard_goes_through_the_language(service, visit, pictures, many, browser):
    tab = visit(service, locale="de-DE", wait=False)
    tab.route(
        "**/languages/de.js", lambda route: route.fulfill(body=BRACKETS, content_type="text/javascript")
    )
    tab.reload()
    tab.get_by_text("⟦Live⟧").wait_for()
    for path in (pictures["good"][8], pictures["defective"][8]):
        row = service.inspect(path)
        tab.get_by_text(re.compile(rf"^⟦Part {row['seq']:,}⟧$".replace(",", "[.,]?"))).first.wait_for()
        settle(tab)
        assert tab.evaluate(OUTSIDE) == []
    tab.keyboard.press("d")
    until(tab, "document.querySelector('#notices').textContent !== ''")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("b")
    settle(tab)
    assert tab.evaluate(OUTSIDE) == []
    tab.keyboard.press("t")
    tab.locator("#rate").fill("20")
    tab.keyboard.press("Enter")
    tab.locator("#rates-found table").wait_for()
    assert tab.evaluate(OUTSIDE) == []


def test_what_opens_goes_through_the_language_too(serve, visit, pictures, station, tmp_path):
    """Models with a version on trial, review, quality, and the pages of a part and a shift."""
    shutil.copytree(station, tmp_path / "models" / "other")
    line = serve("--models", str(tmp_path / "models"), "--audit-share", "1", "--defect-class", "Kratzer")
    rows = [line.inspect(path) for path in pictures["good"][:3] + pictures["defective"][:3]]
    said = {"verdict": "defective", "defect": "Kratzer"}
    line.ask(f"v1/inspections/{rows[-1]['id']}/operator", "PUT", json=said)
    names = [
        "Kratzer",
        "stripes",
        "station",
        "other",
        "differnet serve",
        "differnet 0.1.0",
        *rows[-1].values(),
    ]
    names += [row["file_name"] for row in rows]

    def outside():
        """What is no name, digest or time, which people or machines gave."""
        found = [re.sub(r"^title: ", "", text) for text in tab.evaluate(OUTSIDE)]
        found = [
            re.sub(r"\d+\. ?\w+\.?,? \d+:\d+|\d+\.\d+\.\d+,? [\d:]+|⟦.*⟧|Kratzer", "", text) for text in found
        ]
        left = [text.strip(" ·") for text in found if re.search(r"[^\W\d_]", text)]
        given = {str(name) for name in names} | {
            str(name)[:short] for name in rows[-1].values() for short in (8, 16)
        }
        return [text for text in left if text not in given]

    tab = visit(line, locale="de-DE", wait=False)
    tab.route(
        "**/languages/de.js", lambda route: route.fulfill(body=BRACKETS, content_type="text/javascript")
    )
    tab.reload()
    tab.get_by_text("⟦Live⟧").wait_for()
    tab.locator("#open-models").click()
    tab.locator("#models h3").first.wait_for()
    settle(tab)
    assert outside() == [], "models"
    tab.keyboard.press("Escape")
    tab.keyboard.press("r")
    tab.locator("#review-words b").wait_for()
    settle(tab)
    assert outside() == [], "review"
    tab.keyboard.press("Escape")
    tab.locator("#quality summary").first.click()
    tab.locator("#quality .limit").wait_for(state="attached")
    settle(tab)
    assert outside() == [], "quality"
    for path, seen in (
        (f"part?id={rows[-1]['id']}", ".facts"),
        ("shift?model=stripes", "#shift-found .told"),
    ):
        tab.goto(f"{line.url}{path}")
        tab.locator(seen).first.wait_for()
        settle(tab)
        assert outside() == [], path


def test_the_browser_chooses_and_the_switch_remembers(service, visit, pictures):
    row = service.inspect(pictures["defective"][9])
    tab = visit(service, locale="de-AT", wait=False)
    tab.get_by_text("Aktuell", exact=True).wait_for()
    assert tab.evaluate("document.documentElement.lang") == "de"
    assert tab.locator("#good").inner_text().startswith("Gut")
    tab.get_by_text(f"Teil {row['seq']}", exact=True).first.wait_for()
    assert "des Grenzwerts" in tab.locator("#part").inner_text()
    tab.locator("#language").select_option("es")
    tab.get_by_text("En vivo", exact=True).wait_for()
    tab.reload()
    tab.get_by_text("En vivo", exact=True).wait_for()
    assert tab.locator("#language").input_value() == "es"


@pytest.mark.parametrize("locale", ["de-DE", "es-ES", "zh-CN"])
@pytest.mark.parametrize("width", [390, 1920])
def test_every_language_fits_and_is_for_everyone(service, visit, pictures, locale, width):
    row = service.inspect(pictures["defective"][10])
    tab = visit(service, locale=locale, wait=False, viewport={"width": width, "height": 900})
    until(tab, f"document.querySelector('#part').textContent.includes('{row['file_name']}')")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert offences(tab) == []


def test_a_language_that_there_is_not_is_english(service, visit, many):
    tab = visit(service, locale="fr-FR")
    assert tab.evaluate("document.documentElement.lang") == "en"


def test_phones_have_targets_of_44_pixels(service, visit, many):
    tab = visit(service, viewport={"width": 390, "height": 844})
    small = tab.evaluate(
        """() => [...document.querySelectorAll("button, select, input, summary")]
          .filter((node) => node.checkVisibility() && node.id !== "files")
          .map((node) => [node, node.matches("[type=checkbox], [type=radio]") ? node.closest("label") : node])
          .map(([node, target]) => [node.id || node.className, target.getBoundingClientRect()])
          .filter(([, box]) => box.width > 0 && (box.height < 43.5 || box.width < 43.5))
          .map(([name, box]) => [name, box.width, box.height])"""
    )
    assert small == []


OF_LIMIT = [  # verdict, score, threshold, that to review, p-value
    ("OK", 50, 100, 80, 1, "62% of the limit to review"),
    ("OK", 99.999, 100, None, 0.99, "99% of the limit"),
    ("review", 80, 100, 80, 0.2, "100% of the limit to review"),
    ("NG", 100, 100, 80, 0.01, "100% of the limit"),
    ("NG", 1234, 100, None, 0.01, "1,234% of the limit"),
    (None, 7, None, None, None, None),
    ("error", None, None, None, None, None),
]
NAMED = "verdict", "score", "threshold", "review_threshold", "p_value"


def test_the_percent_is_of_the_limit_that_decided_and_an_ok_part_is_like_no_share_of_good_parts(
    service, visit
):
    tab = visit(service, wait=False)
    for *values, wanted in OF_LIMIT:
        row = dict(zip(NAMED, values, strict=True))
        found = tab.evaluate(
            """async (row) => {
              const { ofLimit, unusual } = await import("/page/words.js");
              const { limitBar } = await import("/page/limit.js");
              const bar = limitBar(row)?.querySelector("[class^=bar]").getAttribute("width");
              return [ofLimit(row)?.text ?? null, unusual(row), bar ?? null];
            }""",
            row,
        )
        assert found[0] == wanted
        in_python = of_limit(*values[:4])
        assert (in_python and in_python.replace(" %", "%")) == (wanted and wanted.replace(",", ""))
        assert ("good parts" in found[1]) == (row["verdict"] in ("review", "NG"))
        if wanted:
            share = row["score"] / ((row["review_threshold"] or 100) if row["verdict"] != "NG" else 100)
            assert float(found[2]) == pytest.approx(60 * min(2, share), abs=0.7)
        else:
            assert found[2] is None


def test_the_verdicts_are_said_in_the_words_of_the_package():
    texts = spoken.used(FOLDER)
    assert {text for text in SAYS.values() if text not in texts} == set()
    of_rates = of_rate(0.05).replace("5 %", "{percent}")
    assert [text for text in texts if text.endswith(f": {of_rates}.")] != []


def test_the_page_says_a_part_was_good_only_in_its_own_words(service, visit, pictures):
    tab = visit(service)
    row = service.inspect(pictures["good"][9])
    shows(tab, row)
    if row["verdict"] == "OK":
        assert "of good parts look" not in tab.locator("#part").inner_text()
