"""A service that runs: its models, its record, its line, and whom it tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import HTTPException

from differnet.errors import DuplicateError, StoreError
from differnet.service.http.events import Hub
from differnet.service.http.limits import Limits
from differnet.service.http.model import Outcome, Served, Task
from differnet.service.http.queue import Line
from differnet.service.http.telemetry import Metrics, say
from differnet.service.record.store import Store

_TIDY = 60.0  # seconds between two looks at what is to be forgotten and saved


class Service:
    """All that the routes of one application share."""

    hub: Hub

    def __init__(self, models: dict[str, Served], store: Store, limits: Limits) -> None:
        self.models, self.store, self.limits = models, store, limits
        self.line = Line(limits.queue, limits.workers)
        self.metrics = Metrics(list(models))
        self.metrics.capacity.set(self.line.capacity)
        self.metrics.queue.set_function(lambda: self.line.inside)
        self.is_stopping = False

    def model(self, name: str) -> Served:
        """Return a model; answers 404 for an unknown name."""
        found = self.models.get(name)
        if found is None:
            raise HTTPException(404, f"no model {name!r}; there are {', '.join(sorted(self.models))}")
        return found

    async def judge(self, model: Served, task: Task) -> Outcome:
        """Have an image judged and recorded in its turn; a key that is recorded already gives what was said then."""
        try:
            return await self.line.run(lambda: self._inspect(model, task), self.limits.timeout)
        except DuplicateError:
            found = await asyncio.to_thread(self.store.by_key, model.name, task.source_key or "")
            if found is None:
                raise
            return Outcome(found)

    def _inspect(self, model: Served, task: Task) -> Outcome:
        start = time.perf_counter()
        outcome = model.inspect(task)
        row = outcome.inspection
        self.metrics.seconds.labels(model.name).observe(time.perf_counter() - start)
        self.metrics.inspections.labels(model.name, row.source, row.verdict or "none").inc()
        self.hub.wake()
        if outcome.alarm_changed:
            self.tell_drift(model)
        say("inspection", id=row.id, seq=row.seq, model=row.model, verdict=row.verdict, score=row.score)
        return outcome

    def tell_drift(self, model: Served) -> None:
        """Tell listeners, Prometheus and the log whether the stream of a model has changed."""
        if model.monitor is None:
            return
        self.metrics.drift.labels(model.name).set(model.monitor.is_alarm)
        data = {"model": model.name, "alarm": model.monitor.is_alarm, "text": model.monitor.text}
        self.hub.tell("drift", model.name, data)
        say("drift", 30 if model.monitor.is_alarm else 20, **data)

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Run what runs beside the requests; at the end finish what was accepted, and save."""
        self.hub = Hub(self.store)
        for model in self.models.values():
            self.metrics.drift.labels(model.name).set(model.monitor is not None and model.monitor.is_alarm)
        tasks = [asyncio.create_task(work) for work in (self.hub.run(), self._tidy())]
        try:
            yield
        finally:
            self.hub.close()
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            await asyncio.to_thread(self.line.close)
            await asyncio.to_thread(self._save)
            self.store.close()
            say("stopped; everything that was accepted is recorded")

    async def _tidy(self) -> None:
        while True:
            await asyncio.to_thread(self._retain)
            await asyncio.sleep(_TIDY)
            await asyncio.to_thread(self._save)

    def _retain(self) -> None:
        limits = self.limits
        try:
            found = self.store.retain(limits.max_age_days, limits.max_bytes)
        except (StoreError, OSError) as error:
            say("the record could not be tidied", 40, error=str(error))
            return
        if found.inspections or found.files or found.stray:
            say("tidied", inspections=found.inspections, files=found.files, stray=found.stray)

    def _save(self) -> None:
        for model in self.models.values():
            try:
                if model.monitor is not None:
                    model.monitor.save()
            except StoreError as error:
                say("the state of a drift monitor could not be saved", 40, error=str(error))
