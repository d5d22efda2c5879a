"""What the tests of the page share: one service, one browser, and pictures to send."""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest
from PIL import Image

from support.browsers import chromium
from support.tiny import defective_image, good_image


@pytest.fixture(scope="session")
def station(tmp_path_factory):
    """The folder of a tiny model that tells squares from stripes."""
    from support.service_fixture import export_tiny

    return export_tiny(tmp_path_factory.mktemp("page") / "station", rate=0.1, review_rate=0.25)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Good and defective parts as files."""
    folder, found = tmp_path_factory.mktemp("pictures"), {"good": [], "defective": []}
    for index in range(12):
        for kind, pixels in (
            ("good", good_image(700 + index)),
            ("defective", defective_image(40 + index)[0]),
        ):
            path = folder / f"{kind}-{index:02}.png"
            Image.fromarray(pixels).save(path)
            found[kind].append(path)
    return found


@pytest.fixture(scope="session")
def service(station, tmp_path_factory):
    from support.page import serving

    with serving(station, tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium with a camera that shows a test picture."""
    with chromium("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream") as found:
        yield found


@pytest.fixture
def serve(station, tmp_path):
    """Start a service of its own, with more options; it ends after the pages that look at it."""
    from support.page import serving

    with ExitStack() as running:
        yield lambda *more, headers=None: running.enter_context(
            serving(station, tmp_path, *more, headers=headers)
        )


@pytest.fixture
def visit(browser, serve):
    """Open the page of a service; it may say nothing on the console but what is expected, and ask no other host.

    ``expects``: statuses of answers that the test brings about, which the browser itself writes on the console.
    """
    from support.page import until

    said, asked, hosts, pages = [], [], set(), []

    def go(service, path="", expects=(), wait=True, **options):
        hosts.add(f"127.0.0.1:{service.port}")
        tab = browser.new_page(**{"viewport": {"width": 1280, "height": 900}} | options)
        pages.append(tab)
        known = re.compile("|".join([rf"status of {status} " for status in expects if status] or ["(?!)"]))
        if 0 in expects:
            known = re.compile(f"{known.pattern}|net::ERR_|Failed to fetch")
        tab.on("console", lambda message: known.search(message.text) or said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(service.url + path)
        if wait:
            tab.get_by_text("Live", exact=True).wait_for()
            until(tab, "document.querySelector('#model').value !== ''")
            until(tab, "document.querySelector('#rows .pick') || !document.querySelector('#empty').hidden")
        return tab

    yield go
    for tab in pages:
        tab.close()
    assert said == []
    others = {
        url for url in asked if not url.startswith(("blob:", "data:")) and url.split("/")[2] not in hosts
    }
    assert others == set()


@pytest.fixture(scope="session")
def many(service, pictures):
    """More inspections than two pages of the list have."""
    return [service.inspect(path) for path in (pictures["good"] + pictures["defective"]) * 2]
