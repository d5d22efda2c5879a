"""Draw the pictures of docs/studio.md: the studio before a fit and after it, as PNG in docs/images.

Usage: python scripts/studio_pictures.py [FOLDER]

Fits to tiles of a photograph that comes along. FOLDER (demo-output/studio) keeps them and what the studio makes.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from differnet.evaluation.demo import write_demo_data

IMAGES = Path(__file__).parent.parent / "docs" / "images"
WIDE = {"width": 1240, "height": 660}
WAIT = 600_000  # milliseconds


def prepare(folder: Path) -> None:
    """Write good pictures, one of another size among them."""
    write_demo_data(folder / "data", textures=("brick",))
    good = folder / "bricks"
    shutil.copytree(folder / "data" / "brick" / "train" / "good", good)
    for path in sorted(good.iterdir())[60:]:
        path.unlink()
    with Image.open(next(iter(sorted(good.iterdir())))) as image:
        image.resize((160, 112)).save(good / "wide.png")


def shoot(tab: Page, name: str, section: str) -> None:
    """Take a picture of what stands below the head of a section, small and in few colours."""
    tab.locator(section).scroll_into_view_if_needed()
    tab.evaluate(f"document.querySelector('{section}').scrollIntoView()")
    tab.wait_for_timeout(1500)
    place = IMAGES / f"{name}.png"
    tab.screenshot(path=place)
    with Image.open(place) as image:
        image.convert("RGB").quantize(64).save(place, optimize=True)


def look(tab: Page) -> None:
    """Choose a folder and look at its pictures."""
    tab.locator("#open-good").click()
    tab.get_by_role("button", name="bricks", exact=True).click()
    tab.locator("#folder-here", has_text="61 pictures").wait_for()
    tab.locator("#folder-take").click()
    tab.locator("#n-odd", has_text="1").wait_for()
    tab.locator("#notices .close").first.click()
    shoot(tab, "studio-look", "#look")


def fit(tab: Page) -> None:
    """Fit without the picture of another size."""
    tab.get_by_role("button", name="Leave out wide.png").click()
    tab.locator("#n-used", has_text="60").wait_for()
    tab.locator("#fit-go").click()
    tab.locator("#unusual li").first.wait_for(timeout=WAIT)
    tab.locator("#notices .close").first.click()
    shoot(tab, "studio-found", "#results")


def main() -> None:
    """Draw them."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output/studio").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    prepare(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "differnet", "studio", "--port", str(port)]
    process = subprocess.Popen(command, cwd=folder)  # noqa: S603
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
                break
            except urllib.error.URLError:
                time.sleep(0.2)
        with sync_playwright() as start:
            own = shutil.which("chromium") or shutil.which("google-chrome")
            browser = start.chromium.launch(executable_path=own, args=["--no-sandbox"])
            tab = browser.new_page(viewport=WIDE)
            tab.goto(f"http://127.0.0.1:{port}/")
            look(tab)
            fit(tab)
            browser.close()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
