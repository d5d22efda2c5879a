"""The operator's page in a real browser: a service to look at, and what the tests ask of a tab."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')

import httpx

from support.browsers import found_module

SECOND = 1000  # in Playwright's milliseconds
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


class Service:
    """``differnet serve`` as its own process, and the few questions that the tests ask it themselves."""

    def __init__(self, arguments, log, headers):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self.log, self.process = f"http://127.0.0.1:{self.port}/", log, None
        self.arguments = [*arguments, "--port", str(self.port), "--log-level", "warning"]
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=60)
        self.start()

    def start(self):
        command = [sys.executable, "-m", "differnet", "serve", *self.arguments]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        for _ in range(600):
            assert self.process.poll() is None, self.log.read_text()
            with suppress(httpx.TransportError):
                self.client.get("ready").raise_for_status()
                return
            time.sleep(0.2)
        raise AssertionError(f"the service did not become ready: {self.log.read_text()}")

    def stop(self):
        self.process.kill()
        self.process.wait()

    @contextmanager
    def silent(self):
        """Nothing is heard of it for a while, though its connections stay open."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def ask(self, path, method="GET", **more):
        return self.client.request(method, path, **more).raise_for_status().json()

    def inspect(self, path, model="stripes", name=None):
        files = {"image": (name or path.name, path.read_bytes(), "image/png")}
        return self.ask(f"v1/models/{model}/inspect", "POST", files=files)

    def newest(self):
        return self.ask("v1/inspections?limit=1")["inspections"][0]


@contextmanager
def serving(station, folder, *more, headers=None):
    models = ["--name", f"stripes={station}"]
    kept = ["--store", f"sqlite:///{folder}/store.sqlite3", "--keep-images", "all"]
    service = Service([*models, *kept, *more], folder / "service.log", headers)
    try:
        yield service
    finally:
        service.stop()


def word(tab):
    return tab.locator("#word").inner_text()


def until(tab, condition, seconds=10):
    """Wait for a JavaScript expression; Playwright's own way evaluates strings, which the page's policy forbids."""
    for _ in range(seconds * 20):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"not within {seconds} s: {condition}")


def shows(tab, row, timeout=10 * SECOND):
    """Wait until a part stands on the stage, and return the word for it."""
    tab.get_by_text(re.compile(rf"^Part {row['seq']:,}$")).first.wait_for(timeout=timeout)
    return word(tab)


def counted(tab, number):
    """Wait until so many parts of today are counted."""
    until(tab, f"document.querySelector('#today-all').textContent === '{number:,}'")


def is_drawn(tab, name):
    until(
        tab,
        f"(image => !image.hidden && image.complete && image.naturalWidth > 0)(document.getElementById('{name}'))",
    )
    box = tab.locator(f"#{name}").bounding_box()
    return box["width"] * box["height"] > 200 * 200


def classes(tab):
    return tab.locator("#verdict").get_attribute("class").split()


def settle(tab):
    """Wait until a key is surely meant for the part that is shown."""
    tab.wait_for_timeout(800)


WORDS = {"OK": "OK", "review": "REVIEW", "NG": "NG", "error": "ERROR"}


def parts(tab):
    tab.locator("#rows .pick").first.wait_for()
    return [int(text.replace(",", "")) for text in tab.locator("#rows .pick").all_inner_texts()]


def offences(tab):
    """Return what axe finds wrong, by rule and place, once no colour is on its way from one to another."""
    until(tab, "document.getAnimations().every(one => one.playState !== 'running')")
    axe = found_module("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(tab, options=WCAG | {"resultTypes": ["violations", "passes"]}).response
    assert len(found["passes"]) > 15  # it did look
    return [(one["id"], [node["target"] for node in one["nodes"]]) for one in found["violations"]]
