"""Logs as one JSON object a line on stderr, each with the id of the request that it is about."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from contextlib import suppress
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from differnet.service.record.changes import NOBODY, By
from differnet.service.record.inspection import JUDGEMENTS

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
asker: ContextVar[By] = ContextVar("asker", default=NOBODY)
log = logging.getLogger("differnet.service")
_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class JsonLines(logging.Formatter):
    """One JSON object a record; ``extra={"data": {...}}`` adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if (known := request_id.get()) is not None:
            line["request_id"] = known
        line |= getattr(record, "data", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def set_up(level: str = "info") -> None:
    """Let this service, uvicorn and whatever else says something write such lines, warnings included."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    for name in ("differnet.service", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(level.upper())
    logging.captureWarnings(True)
    warnings.showwarning = _say_warning
    sys.excepthook = threading.excepthook = _say_end


def announce(message: str, **data: Any) -> None:
    """Write a line whatever the level of the log is."""
    line = log.makeRecord(log.name, logging.INFO, "", 0, message, (), None, extra={"data": data})
    for handler in logging.getLogger().handlers:
        handler.handle(line)


def _say_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    say(str(message), logging.WARNING, category=category.__name__)


def _say_end(*found: Any) -> None:
    """Write down an exception that ends a thread, or the process."""
    kind, value, trace = found if len(found) == 3 else found[0][:3]
    log.critical("ended by an exception", exc_info=(kind, value or kind(), trace))


def say(message: str, level: int = logging.INFO, **data: Any) -> None:
    """Write a line with further members."""
    log.log(level, message, extra={"data": data})


class Metrics:
    """The numbers of one service, apart from those of others in the same process."""

    def __init__(self, models: list[str]) -> None:
        self.registry = CollectorRegistry()
        of: Any = {"registry": self.registry, "namespace": "differnet"}
        self.inspections = Counter(
            "inspections", "Recorded inspections.", ("model", "source", "verdict"), **of
        )
        self.seconds = Histogram(
            "inspection_seconds", "From the bytes of an image to its row.", ("model",), buckets=_SECONDS, **of
        )
        self.requests = Counter("http_requests", "Answered requests.", ("route", "method", "status"), **of)
        self.request_seconds = Histogram(
            "http_request_seconds",
            "From the head of a request to its answer.",
            ("route",),
            buckets=_SECONDS,
            **of,
        )
        self.refused = Counter("refused", "Requests for an inspection that were refused.", ("reason",), **of)
        self.promised = Counter(
            "promised",
            "Inspections that were promised when their sender waited no longer: recorded later, or lost.",
            ("outcome",),
            **of,
        )
        self.promised_waiting = Gauge("promised_waiting", "Promised inspections to be recorded.", **of)
        self.queue = Gauge("queue_length", "Requests that wait or are being judged.", **of)
        self.capacity = Gauge("queue_capacity", "The most requests that may wait or be judged.", **of)
        self.drift = Gauge("drift_alarm", "1 while the stream of images has changed.", ("model",), **of)
        self.streams = Gauge("event_streams", "Who listens to /events.", **of)
        self.trials = Counter("trial_parts", "Parts of versions on trial.", ("model", "outcome"), **of)
        for outcome in ("recorded", "lost"):
            self.promised.labels(outcome)
        for name in models:
            self.judges(name, True)

    def judges(self, model: str, is_there: bool) -> None:
        """Show the numbers of a model from the beginning; one that is retired drifts no more."""
        if not is_there:
            with suppress(KeyError):
                self.drift.remove(model)
            return
        self.drift.labels(model)
        for verdict in JUDGEMENTS:
            self.inspections.labels(model, "http", verdict)

    def count_trial(self, model: str, outcome: str) -> None:
        """Count a part of a version on trial: judged, failed or dropped."""
        self.trials.labels(model, outcome).inc()

    def text(self) -> bytes:
        """Return all of them in Prometheus' text format."""
        return generate_latest(self.registry)
