"""A real browser for tests of pages."""

from __future__ import annotations

import importlib
import os
import shutil
from contextlib import contextmanager

import pytest


def without(reason):
    """Skip the tests of the page, or fail where a browser is demanded, so that they cannot go missing unseen."""
    (pytest.fail if os.environ.get("DIFFERNET_NEEDS_BROWSER") else pytest.skip)(reason)


def found_module(module):
    try:
        return importlib.import_module(module)
    except ImportError:
        return without("pip install playwright, see make browser")


@contextmanager
def chromium(*more):
    """A headless Chromium: the system's, or Playwright's own; ``more``: flags."""
    playwright = found_module("playwright.sync_api")
    own = os.environ.get("DIFFERNET_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with playwright.sync_playwright() as start:
        try:
            found = start.chromium.launch(executable_path=own, args=[*flags, *more])
        except playwright.Error as error:
            without(f"no browser can be started here (make browser installs one): {error}")
        yield found
        found.close()
