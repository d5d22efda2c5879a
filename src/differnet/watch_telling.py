"""What ``differnet watch`` tells a person or a program."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from differnet.console import err, out, printable

_COLOURS = {"OK": "green", "review": "yellow", "NG": "bold red", "error": "magenta"}


class Telling:
    """What a person, or with ``as_json`` a program, is told: inspections on stdout, other things on stderr or there."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._lock = threading.Lock()
        self._status = err.status("waiting for images") if err.is_terminal and not as_json else None
        self._count = 0

    def __enter__(self) -> Telling:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def row(self, row: Any, left: int | None, drift: str | None) -> None:
        """Tell of an inspection that was recorded."""
        from differnet.service.watch.outbox import document

        if self.as_json:
            self._line({"event": "inspection", **document(row)})
            return
        self._count += 1
        verdict = row.verdict or "-"
        colour = _COLOURS.get(verdict, "default")
        figures = "" if row.score is None else f" score {row.score:.4g}"
        figures += "" if row.percent is None else f" {row.percent:.0f} %"
        figures += "" if row.p_value is None else f" p {row.p_value:.3g}"
        text = f"{row.time.astimezone():%H:%M:%S} [{colour}]{verdict:<6}[/]{figures} "
        out.print(text + _plain(row.error or row.file_name or ""))
        if self._status is not None:
            waiting = "" if left is None else f", {left} waiting"
            self._status.update(f"{self._count} judged{waiting}{', drift' if drift else ''}")

    def tell(self, event: str, text: str) -> None:
        """Tell of anything else; from any thread."""
        if self.as_json:
            self._line({"event": event, "text": text})
        else:
            err.print(f"[yellow]{event}:[/] {_plain(text)}")

    def end(self, tally: Any, left: dict[str, int]) -> None:
        """Tell what was done."""
        counts = {kind: tally[kind] for kind in ("OK", "review", "NG", "error", "none") if tally[kind]}
        if self.as_json:
            self._line({"event": "stopped", "inspections": tally.total(), **counts, "undelivered": left})
            return
        said = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing arrived"
        err.print(f"stopped: {tally.total()} judged ({said})")
        for destination, count in left.items():
            if count:
                err.print(f"{_plain(destination)}: {count} to be delivered at the next start")

    def _line(self, document: dict[str, Any]) -> None:
        with self._lock:
            sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
            sys.stdout.flush()


def _plain(text: str) -> str:
    return printable(text).replace("[", r"\[")
