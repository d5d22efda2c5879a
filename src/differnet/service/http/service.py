"""A service that runs: its models, its record, its line, and whom it tells."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import HTTPException

from differnet.decision.words.sentences import of_limit
from differnet.errors import ConfigError, DuplicateError, StoreError, counted, in_a_line
from differnet.service.delivery import outgoing
from differnet.service.delivery.outgoing import Outgoing, Wanted
from differnet.service.http.events import Hub
from differnet.service.http.limits import Limits
from differnet.service.http.model import Outcome, Served, Task
from differnet.service.http.queue import LateError, Line
from differnet.service.http.schemas import as_json
from differnet.service.http.telemetry import Metrics, say
from differnet.service.http.versions.models import Models
from differnet.service.promised import Promised, Ticket, Waiting
from differnet.service.record.inspection import Inspection
from differnet.service.record.store import Store
from differnet.service.recorder import JudgedRow

_FOLLOW = 2.0  # seconds between two looks at which versions judge
_TIDY = 60.0  # seconds between two looks at what is to be forgotten and saved
_SEND = 5.0  # seconds at the end in which is sent what waits; what is left, the next start sends
_WARN = 3600.0  # seconds after which it is said again what is not forgotten


class BehindError(StoreError):
    """Inspections before this one wait for the record."""


class Service:
    """All that the routes of one application share."""

    hub: Hub

    def __init__(self, versions: Models, store: Store, limits: Limits) -> None:
        self.versions, self.store, self.limits = versions, store, limits
        self.line = Line(limits.queue, limits.workers)
        self.metrics = Metrics(list(versions.served))
        versions.tell, versions.count = self._tell_model, self.metrics.count_trial
        versions.rates_moved = self._tell_rates
        self.line.on_busy = versions.stand_back
        self.metrics.capacity.set(self.line.capacity)
        self.metrics.queue.set_function(lambda: self.line.inside)
        self.promised = Promised(self._lost)
        self.metrics.promised_waiting.set_function(lambda: len(self.promised))
        self.is_stopping, self._warn_at = False, 0.0
        self.outgoing: Outgoing | None = None

    def tell_others(self, wanted: Wanted, resend: bool = False) -> None:
        """Tell a webhook, a broker and a controller of what is recorded; raises as :func:`outgoing.opened`."""
        if not wanted.is_any:
            return

        def tell(event: str, text: str) -> None:
            say(f"{event}: {text}", logging.WARNING)

        self.outgoing = outgoing.opened(self.store, outgoing.SERVE, wanted, tell, list(self.models))
        self.outgoing.start(resend)

    @property
    def models(self) -> Mapping[str, Served]:
        """What judges now, by the names of models."""
        return self.versions.served

    def model(self, name: str) -> Served:
        """Return a model; answers 404 for an unknown name, or one that is retired."""
        found = self.models.get(name)
        if found is None:
            raise HTTPException(
                404, f"no model {name!r}; there are {', '.join(sorted(self.models)) or 'none'}"
            )
        return found

    async def judge(self, model: Served, task: Task) -> Outcome:
        """Have an image judged and recorded in its turn; a key that is recorded already gives what was said then.

        Raises :class:`LateError` when it takes too long; where it was begun, it will be recorded, or it is logged and
        counted that it could not be. :class:`StoreError` when it was not recorded.
        """
        if waiting := len(self.promised):
            raise BehindError(f"{counted(waiting, 'inspection')} before this one could not be recorded yet")
        ticket = Ticket()
        try:
            return await self.line.run(lambda: self._inspect(model, task, ticket), self.limits.timeout)
        except asyncio.CancelledError:
            with suppress(Exception):
                ticket.leave()
            raise
        except LateError as late:
            row = ticket.leave() if late.started else None
            if row is None:
                raise
            return Outcome(row, map_error=f"the heat map was not drawn within {self.limits.timeout:g} s")

    def reason(self, error: LateError | StoreError) -> str:
        """Say to a sender why there is no verdict, and whether the part will be recorded.

        What the record said goes to the log, since it may name host and user.
        """
        if isinstance(error, StoreError):
            say("the record cannot be reached", logging.ERROR, error=str(error))
        if isinstance(error, BehindError):
            return f"the record cannot be reached: {error}"
        if isinstance(error, StoreError):
            return "the record cannot be reached; the log of the service says why"
        after = "it was not begun, and is not recorded"
        if error.started:
            after = (
                "it will be recorded, unless the service is killed before; sent again under the same Idempotency-Key "
                "it is recorded once"
            )
        return f"not judged within {self.limits.timeout:g} s; {after}"

    def _inspect(self, model: Served, task: Task, ticket: Ticket) -> Outcome:
        start, hand = time.perf_counter(), list[JudgedRow]()

        def add(judged: JudgedRow) -> Inspection:
            hand[:] = [judged]
            row = model.recorder.add(judged, None if self.outgoing is None else self.outgoing.put)
            ticket.recorded(row)
            self._note(model, judged, row, time.perf_counter() - start)
            return row

        try:
            outcome = model.inspect(task, add)
        except (ConfigError, DuplicateError) as error:
            if ticket.failed(error):
                say("not recorded", logging.WARNING, error=in_a_line(error), model=model.name)
            raise
        except Exception as error:
            if ticket.failed(error):
                judged = hand[0] if hand else model.judge_anyway(task, error)
                self.promised.put(Waiting(judged.row, lambda: model.add_late(judged, add), self._kept_word))
            raise
        if outcome.inspection.heat_map is not None and not outcome.is_replay:
            self.hub.tell("map", model.name, as_json(outcome.inspection))
        if not outcome.is_replay:
            self.versions.offer(model, task, outcome.inspection)
        return outcome

    def _note(self, model: Served, judged: JudgedRow, row: Inspection, seconds: float) -> None:
        """Tell Prometheus, listeners and the log of an inspection that was recorded."""
        self.metrics.seconds.labels(model.name).observe(seconds)
        self.metrics.inspections.labels(model.name, row.source, row.verdict or "none").inc()
        self.hub.wake()
        if self.outgoing is not None:
            self.outgoing.recorded(row)
        if judged.alarm_changed:
            self.tell_drift(model)
        limit = of_limit(row.verdict, row.score, row.threshold, row.review_threshold)
        say(
            "inspection",
            id=row.id,
            seq=row.seq,
            model=row.model,
            verdict=row.verdict,
            score=row.score,
            limit=limit,
        )

    def _kept_word(self, row: Inspection) -> None:
        self.metrics.promised.labels("recorded").inc()
        say("recorded as promised", logging.WARNING, id=row.id, model=row.model)

    def _lost(self, row: Inspection, error: Exception) -> None:
        self.metrics.promised.labels("lost").inc()
        say("promised and not recorded", logging.ERROR, error=in_a_line(error), inspection=as_json(row))

    def tell_drift(self, model: Served) -> None:
        """Tell listeners, Prometheus and the log whether the stream of a model has changed."""
        if model.monitor is None or self.models.get(model.name) is not model:
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
        tasks = [asyncio.create_task(work) for work in (self.hub.run(), self._tidy(), self._follow())]
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
            await asyncio.to_thread(self.promised.close, self.limits.timeout)
            await asyncio.to_thread(self.versions.close)
            await asyncio.to_thread(self._save)
            if self.outgoing is not None:
                await asyncio.to_thread(self.outgoing.close, _SEND)
            self.store.close()
            say("stopped; everything that was accepted is recorded")

    def _tell_model(self, name: str) -> None:
        """Tell listeners, Prometheus and the log that another version of a model judges, or none."""
        model, trial = self.models.get(name), self.versions.trials.get(name)
        data: dict[str, Any] = {"model": name, "digest": model and model.digest}
        data["shadow"] = trial and trial.digest
        self.metrics.judges(name, model is not None)
        say("model", **data)
        if hasattr(self, "hub"):
            self.hub.tell("model", name, data)
        if model is not None:
            self.tell_drift(model)

    def _tell_rates(self, name: str) -> None:
        """Tell listeners that another process moved the rates of a model."""
        self.hub.tell("rates", name, {"model": name})

    async def _follow(self) -> None:
        """Take over what other processes of this record changed."""
        while True:
            await asyncio.sleep(_FOLLOW)
            try:
                await asyncio.to_thread(self.versions.follow)
            except StoreError as error:
                say("which versions judge cannot be read", logging.ERROR, error=str(error))

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
            say("the record could not be tidied", logging.ERROR, error=str(error))
            return
        if time.monotonic() >= self._warn_at:
            for text in found.warnings(limits.max_age_days):
                say(text, logging.WARNING)
                self._warn_at = time.monotonic() + _WARN
        if found.inspections or found.files or found.stray:
            say("tidied", inspections=found.inspections, files=found.files, stray=found.stray)

    def _save(self) -> None:
        for model in self.models.values():
            try:
                if model.monitor is not None:
                    model.monitor.save()
            except StoreError as error:
                say("the state of a drift monitor could not be saved", 40, error=str(error))
