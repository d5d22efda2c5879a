"""A record to try, in each database."""

from __future__ import annotations

import pytest


@pytest.fixture
def store(url, tmp_path):
    """An empty record, with a folder for pictures."""
    from differnet.service.record.store import Store

    opened = Store.open(url, tmp_path / "images")
    yield opened
    opened.close()
