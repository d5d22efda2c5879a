"""The last verdict in the registers of a Modbus TCP server, for a controller that polls it.

One block of registers, the same as holding registers (function 3) and input registers (function 4), at any unit. They
can be read and not written. One request for all of them has them from one moment.

| register | what |
|---|---|
| 0 | the last verdict: 0 none yet, 1 OK, 2 review, 3 NG, 4 error, 5 no threshold to judge by |
| 1, 2 | parts since the start, high word first |
| 3 | score of the last part in per mille of the limit: NG from 1000 on; 65534 for more, 65535 without one |
| 4 | heartbeat: seconds since the start, modulo 65536 |
| 5 | which model judged it: 1 for the first |
| 6 | 1 while drift is in alarm, else 0 |
| 7, 8 | number of the last part in the record, high word first |
| 9 | version of this table: 1 |
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from differnet.errors import ConfigError, MissingExtraError
from differnet.service.record.inspection import Inspection

REGISTERS, VERSION = 10, 1
VERDICTS = {"OK": 1, "review": 2, "NG": 3, "error": 4, None: 5}
_PORT = 502
_MOST, _NO_SCORE = 65534, 65535
_START = 10.0  # seconds to open and to close


class Table:
    """The registers; for any thread. ``models``: their names, in the order of register 5."""

    def __init__(self, models: Sequence[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(models, 1)}
        self._lock, self._start = threading.Lock(), time.monotonic()
        self._last: Inspection | None = None
        self._count, self._alarms = 0, set[str]()

    def take(self, row: Inspection) -> None:
        """Show a part that was recorded."""
        with self._lock:
            self._last, self._count = row, self._count + 1
            (self._alarms.discard if row.drift is None else self._alarms.add)(row.model)

    def values(self) -> list[int]:
        """Return the registers of this moment."""
        with self._lock:
            last, count, is_alarm = self._last, self._count, bool(self._alarms)
        beat = int(time.monotonic() - self._start) % 65536
        if last is None:
            return [0, 0, 0, _NO_SCORE, beat, 0, int(is_alarm), 0, 0, VERSION]
        number = self._numbers.get(last.model, 0)
        verdict = VERDICTS.get(last.verdict, VERDICTS["error"])
        return [
            verdict,
            *_words(count),
            per_mille(last),
            beat,
            number,
            int(is_alarm),
            *_words(last.seq),
            VERSION,
        ]


def per_mille(row: Inspection) -> int:
    """Return the score of a part in per mille of its limit, cut off: 1000 and more is NG, as the verdict is.

    >>> row = Inspection(model="m", model_digest="", source="", image_digest="", verdict="OK", percent=99.99)
    >>> per_mille(row)
    999
    """
    if row.percent is None or row.verdict == "error":
        return _NO_SCORE
    return min(max(int(10 * row.percent), 0), _MOST)


def _words(number: int) -> tuple[int, int]:
    return number >> 16 & 0xFFFF, number & 0xFFFF


def parse(address: str) -> tuple[str, int]:
    """Return host and port of ``HOST[:PORT]``, ``:PORT`` or a port alone, which is one of this machine only.

    >>> parse("1502"), parse("0.0.0.0:502"), parse("[::1]:1502"), parse("plant")
    (('127.0.0.1', 1502), ('0.0.0.0', 502), ('::1', 1502), ('plant', 502))
    """
    text = f"127.0.0.1:{address}" if address.isdecimal() else address
    try:
        found = urlsplit(f"//{text}")
        host, port = found.hostname or "127.0.0.1", _PORT if found.port is None else found.port
        is_plain = not (found.path or found.query or found.fragment or found.username) and bool(address)
    except ValueError:
        is_plain = False
    if not is_plain:
        raise ConfigError(f"modbus {address!r}: HOST:PORT or a port was wanted, such as 127.0.0.1:502")
    return host, port


class Modbus:
    """A Modbus TCP server with a :class:`Table`, in a thread of its own; it has no password, so mind who can reach it.

    Raises :class:`MissingExtraError` without pymodbus.
    """

    def __init__(self, address: str, models: Sequence[str]) -> None:
        self.host, self.port = parse(address)
        self.table = Table(models)
        self._pymodbus = _pymodbus()
        self._loop = asyncio.new_event_loop()
        self._server: Any = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="modbus", daemon=True)

    def open(self) -> None:
        """Listen; raises :class:`OSError` that says which port could not be had."""
        self._check_free()
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_START)

    def take(self, row: Inspection) -> None:
        """Show a part that was recorded; from any thread."""
        self.table.take(row)

    def close(self) -> None:
        """Hang up."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop).result(_START)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START)

    def _check_free(self) -> None:
        """Raise what the library would only log."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((self.host, self.port))
            except OSError as error:
                hint = "; ports below 1024 are for the administrator" if error.errno == 13 else ""
                raise OSError(
                    error.errno,
                    f"cannot listen for Modbus at {self.host}:{self.port}: {error.strerror}{hint}",
                ) from error
            self.port = tried.getsockname()[1]

    async def _listen(self) -> None:
        server, simulator = self._pymodbus

        async def fill(
            _code: int, start: int, _at: int, _count: int, registers: list[int], wanted: list[int] | None
        ) -> None:
            if wanted is None:
                for offset, value in enumerate(self.table.values()):
                    registers[offset - start] = value

        data = simulator.SimData(
            0, values=[0] * REGISTERS, datatype=simulator.DataType.REGISTERS, readonly=True
        )
        device = simulator.SimDevice(0, simdata=[data], action=fill)
        self._server = server.ModbusTcpServer(device, address=(self.host, self.port))
        await self._server.serve_forever(background=True)


def _pymodbus() -> tuple[Any, Any]:
    try:
        from pymodbus import server, simulator
    except ImportError as error:
        raise MissingExtraError("Modbus needs pymodbus: pip install 'differnet[modbus]'") from error
    return server, simulator
