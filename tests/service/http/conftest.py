"""A service for all tests of one file, and services of their own."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from support.service_fixture import IMAGE_BYTES, PIXELS, running


@pytest.fixture(scope="session")
def other_station(tmp_path_factory):
    """The folder of another tiny model, which is of another opinion on some parts."""
    from support.service_fixture import export_tiny

    return export_tiny(tmp_path_factory.mktemp("other") / "other", blocks=1, rate=0.4, review_rate=0.6)


@pytest.fixture(scope="module")
def service(tiny_station, tmp_path_factory):
    limits = {"keep": "all", "image_bytes": IMAGE_BYTES, "pixels": PIXELS, "batch": 4, "timeout": 10}
    with running(tiny_station, tmp_path_factory.mktemp("service"), **limits) as address:
        yield address


@pytest.fixture
def client(service):
    import httpx

    with httpx.Client(base_url=str(service), timeout=30) as client:
        yield client


@pytest.fixture
def fresh(tiny_station, tmp_path):
    """Start services of their own; all of one test have the same record."""
    import httpx

    with ExitStack() as stack:

        def start(**limits):
            address = stack.enter_context(running(tiny_station, tmp_path, **limits))
            return stack.enter_context(httpx.Client(base_url=str(address), timeout=30)), address.service

        yield start
