"""A process that judges for a version on trial: ``python -m differnet.service.http.versions.worker FOLDER PIXELS``.

It runs when nothing else wants the processor, so what judges at the line is not slower for it, and it may die without
harm. Each part comes as a line of JSON and the bytes of its picture; one line of JSON is the answer. The first line
says that the folder is loaded, or why it cannot be.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import IO, Any

Said = dict[str, Any]
_MOST = 300.0  # seconds of computing for a part
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def main() -> None:
    """Answer until the other end is closed."""
    _stand_back()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    warnings.simplefilter("ignore")
    try:
        judge = _judge_of(sys.argv[1], int(sys.argv[2]))
    except Exception as error:
        _write(answers, {"error": _in_a_line(error)})
        return
    _write(answers, {"ready": True})
    for line in iter(sys.stdin.buffer.readline, b""):
        head = json.loads(line)
        content = sys.stdin.buffer.read(head["bytes"])
        if len(content) < head["bytes"]:
            return
        _bound(_MOST)
        try:
            _write(answers, judge(head, content))
        except Exception as error:
            _write(answers, {"verdict": "error", "error": _in_a_line(error)})
        _bound(0.0)


def _stand_back() -> None:
    """Leave the processor to everybody else, and the end of the service to the service: with that it ends, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _bound(seconds: float) -> None:
    """End after so many seconds of computing; those in which it rests do not count. 0: no more."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _judge_of(folder: str, most_pixels: int) -> Any:
    from differnet.runtime.inspector import Inspector
    from differnet.service.http.upload import read

    own = Inspector(folder, 1)
    by_rates = {(None, None, None): own}

    def judge(head: Said, content: bytes) -> Said:
        rates = tuple(head["rates"] or (None, None, None))
        if rates not in by_rates:
            by_rates.clear()
            by_rates.update({(None, None, None): own, rates: own.with_rates(*rates)})
        pixels = read(content, head["name"] or "image", most_pixels, own.station)
        found = by_rates[rates].predict(pixels, views=head["views"]).record._asdict()
        names = "score", "p_value", "percent", "verdict", "threshold", "review_threshold", "views"
        return {name: found[name] for name in names}

    return judge


def _in_a_line(error: Exception) -> str:
    from differnet.errors import in_a_line

    return in_a_line(error)


def _write(answers: IO[bytes], said: Said) -> None:
    answers.write(json.dumps(said).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
