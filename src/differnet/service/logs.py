"""Logs as one JSON object a line on stderr, each with the id of the request that it is about."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
log = logging.getLogger("differnet.service")


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
    """Let this service and uvicorn write such lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("differnet.service", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = (
            [handler] if name != "uvicorn.error" else [],
            name == "uvicorn.error",
        )
        logger.setLevel(level.upper())


def say(message: str, level: int = logging.INFO, **data: Any) -> None:
    """Write a line with further members."""
    log.log(level, message, extra={"data": data})
