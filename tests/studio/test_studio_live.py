"""Live judging inside the studio: one station takes the place of another, and one that cannot be loaded of none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[studio]"')

from differnet.service.http.limits import Limits
from differnet.studio.live import LiveHost


async def served(host, station):
    host.serve("tiny", Path(station))
    for _ in range(600):
        if host.live.status != "starting":
            return host.live
        await asyncio.sleep(0.05)
    raise AssertionError("it was not loaded within 30 s")


def test_a_station_that_cannot_be_loaded_leaves_the_one_before(tiny_station, tmp_path):
    async def go():
        host = LiveHost(tmp_path, Limits())
        host.begin()
        assert (await served(host, tiny_station)).status == "on"
        first = host.serving
        failed = await served(host, tmp_path / "nothing")
        assert failed.status == "failed"
        assert "nothing" in failed.error
        assert host.serving is first
        assert not first.task.done()
        assert (await served(host, tiny_station)).status == "on"
        assert host.serving is not first
        await asyncio.wait_for(first.task, 10)  # what was accepted is finished, and it has ended
        await host.close()
        assert host.serving is None

    asyncio.run(go())


def test_rates_that_do_not_fit_another_model_are_given_up_and_said(tiny_station, tmp_path):
    async def go():
        host = LiveHost(tmp_path, Limits())
        host.begin()
        assert (await served(host, tiny_station)).note is None
        host.serving.service.store.set_setting("tiny", 1e-5, 0.95)
        found = await served(host, tiny_station)
        assert found.status == "on"
        assert "do not fit this model" in found.note
        assert host.serving.service.models["tiny"].recorder.applied is None
        await host.close()

    asyncio.run(go())
