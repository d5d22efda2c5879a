"""Draw the operator's page at work, as PNG in docs/images: on a wide light screen, and on a dark phone.

Usage: python scripts/page_pictures.py [FOLDER]

Two versions of a model judge tiles of bricks that come along, with serial and lot; some are confirmed. FOLDER
(demo-output/page) keeps data and models. docs/studio.md has pictures of its own (studio_pictures.py).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from serve_demo import NAME, prepare, said_address, send, wait_for

from differnet.evaluation.demo import cell_of

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SCREENS = {
    "wide": ({"width": 1920, "height": 1080}, "light"),
    "phone": ({"width": 390, "height": 844}, "dark"),
}
PATTERN = r"(?P<serial>SN\d+)_(?P<lot>L\d+)"
PAUSE = 1500  # milliseconds, in which pictures load and colours come to rest


def prepare_second(folder: Path, good: Path) -> None:
    """Make another version of the model, which holds out other pictures."""
    if (folder / "versions" / "brick-november" / "manifest.json").exists():
        return
    from differnet.data.images import find
    from differnet.detector.detector import DifferNet
    from differnet.detector.export import export

    images = find(good)
    detector = DifferNet("fast", 1, rate=0.15, review_rate=0.3, holdout=0.4, map_views=2)
    detector.fit(images, groups=[cell_of(path) for path in images])
    (folder / "versions").mkdir(exist_ok=True)
    export(detector, folder / "versions" / "brick-november", "openvino", images=images[:8])


def ask(address: str, path: str, method: str = "GET", body: dict[str, Any] | None = None) -> Any:
    """Ask the service something."""
    sent = None if body is None else json.dumps(body).encode()
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/{path}", sent, head, method=method)  # noqa: S310  http, here
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return json.loads(answer.read())


def send_all(address: str, images: list[Path]) -> list[dict[str, Any]]:
    """Send the parts as a line would, their serials and lots in the names of the files."""
    rows = []
    for number, path in enumerate(images):
        rows.append(send(address, path, f"SN{number:04}_L{number // 8}.png"))
        time.sleep(0.2)
    return rows


def confirm(address: str, rows: list[dict[str, Any]], images: list[Path]) -> None:
    """Say of two parts in three what they are."""
    for number, (row, path) in enumerate(zip(rows, images, strict=True)):
        if number % 3 == 2:
            continue
        kind = path.parent.name
        said = {"verdict": "good"}
        if kind != "good":
            said = {"verdict": "defective", "defect": kind.replace("_", " ")}
        ask(address, f"v1/inspections/{row['id']}/operator", "PUT", said)


def shoot(tab: Page, name: str, screen: str) -> None:
    """Take a picture of what is seen, small and in few colours."""
    tab.wait_for_timeout(PAUSE)
    place = IMAGES / f"page-{name}-{screen}.png"
    tab.screenshot(path=place)
    with Image.open(place) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(place, optimize=True)


def part_at_hand(tab: Page, number: int) -> None:
    """Show a part with its heat, a good one beside it, larger than it is."""
    tab.get_by_role("button", name=str(number), exact=True).click()
    tab.locator("#past-text").wait_for()
    tab.keyboard.press("b")
    tab.locator("#zoom-in").click()
    tab.locator("#stage").scroll_into_view_if_needed()


def models(tab: Page) -> None:
    """Show where the version on trial differs."""
    tab.locator("#open-models").click()
    tab.locator("#models .difference").first.wait_for()


def review(tab: Page) -> None:
    """Show the first part that waits for a person's word."""
    tab.keyboard.press("r")
    tab.locator("#review-picture").wait_for()


def rates(tab: Page) -> None:
    """Show what another rate would have done to the last parts."""
    tab.locator("#open-rates").click()
    tab.locator("#rate").fill("30")
    tab.locator("#review-rate").fill("")
    tab.keyboard.press("Enter")
    tab.locator("#rates-found table").wait_for()
    tab.locator("#rates-found table").scroll_into_view_if_needed()


def quality(tab: Page) -> None:
    """Show escapes, kinds of defects, scores over time."""
    tab.locator("#quality summary").first.click()
    tab.locator("#quality .limit").wait_for(state="attached")
    tab.evaluate("document.querySelector('#quality').scrollIntoView()")


VIEWS = {"models": models, "review": review, "rates": rates, "quality": quality}


def draw(address: str, rows: list[dict[str, Any]]) -> None:
    """Take the pictures."""
    rejected = max(rows[-20:], key=lambda row: row["score"])
    views = VIEWS | {"part": lambda tab: part_at_hand(tab, rejected["seq"])}
    papers = {"report": f"part?id={rejected['id']}", "shift": f"shift?model={NAME}"}
    with sync_playwright() as start:
        own = shutil.which("chromium") or shutil.which("google-chrome")
        browser = start.chromium.launch(executable_path=own, args=["--no-sandbox"])
        for screen, (size, scheme) in SCREENS.items():
            for name, show in views.items():
                tab = browser.new_page(viewport=size, color_scheme=scheme, locale="en-GB")  # type: ignore[arg-type]
                tab.goto(f"{address}/")
                tab.locator("#rows .pick").first.wait_for()
                show(tab)
                shoot(tab, name, screen)
                tab.close()
            for name, path in papers.items() if screen == "wide" else ():
                tab = browser.new_page(viewport=size, color_scheme=scheme, locale="en-GB")  # type: ignore[arg-type]
                tab.goto(f"{address}/{path}")
                shoot(tab, name, screen)
                tab.close()
        browser.close()


def main() -> None:
    """Prepare, serve, send, draw."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output/page").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    images = prepare(folder)
    prepare_second(folder, folder / "data" / NAME / "train" / "good")
    for left in folder.glob("record*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    command = [sys.executable, "-m", "differnet", "serve", str(folder / NAME), "--port", "0"]
    command += ["--models", str(folder / "versions"), "--store", f"sqlite:///{folder}/record.sqlite3"]
    command += ["--keep-images", "all", "--audit-share", "0.6", "--part-pattern", PATTERN]
    run = subprocess.Popen(command, stderr=subprocess.PIPE)  # noqa: S603
    try:
        address = said_address(run)
        wait_for(address, run)
        ask(address, f"v1/models/{NAME}?as=shadow&reason=November", "PUT", {"folder": "brick-november"})
        order = images[::2] + images[1::2]
        rows = send_all(address, order)
        confirm(address, rows, order)
        for _ in range(120):
            trial = ask(address, f"v1/models/{NAME}/versions")["trial"]
            if trial and trial.get("compared", 0) + trial.get("left_out", 0) >= len(rows):
                break
            time.sleep(0.5)
        draw(address, rows)
    finally:
        run.terminate()
        run.wait(60)


if __name__ == "__main__":
    main()
