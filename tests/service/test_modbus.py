"""The last verdict in the registers of Modbus TCP, read by the library's own client."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("pymodbus", reason='pip install "differnet[modbus]"')
pytest.importorskip("fastapi", reason='pip install "differnet[serve]"')

from pymodbus.client import ModbusTcpClient

from differnet.errors import ConfigError
from differnet.service.delivery.modbus import REGISTERS, Modbus, parse
from differnet.service.record.inspection import Inspection


def row(**values):
    known = {"model": "bolts", "model_digest": "", "source": "", "image_digest": "", "verdict": "OK"}
    return Inspection(**(known | values))


@contextmanager
def polled(host, port):
    client = ModbusTcpClient(host, port=port)
    assert client.connect()
    try:
        yield lambda first=0, count=REGISTERS: client.read_holding_registers(first, count=count)
    finally:
        client.close()


@pytest.fixture
def server():
    found = Modbus("0", ["bolts", "nuts"])
    found.open()
    yield found
    found.close()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"verdict": "OK", "percent": 99.99, "seq": 7}, [1, 999, 1, 0, 0, 7]),
        ({"verdict": "review", "percent": 84.0, "seq": 65536}, [2, 840, 1, 0, 1, 0]),
        ({"verdict": "NG", "percent": 100.0, "model": "nuts", "seq": 70000}, [3, 1000, 2, 0, 1, 4464]),
        ({"verdict": "NG", "percent": 1e9, "drift": "darker"}, [3, 65534, 1, 1, 0, 0]),
        ({"verdict": "error", "percent": None}, [4, 65535, 1, 0, 0, 0]),
        ({"verdict": None, "percent": None, "model": "unknown"}, [5, 65535, 0, 0, 0, 0]),
        ({"verdict": "OK", "percent": -3.0}, [1, 0, 1, 0, 0, 0]),
    ],
)
def test_each_register_says_what_the_table_says(server, given, wanted):
    with polled(server.host, server.port) as read:
        assert read().registers[:4] == [0, 0, 0, 65535]  # nothing yet
        server.take(row(**given))
        found = read().registers
    verdict, high, low, share, _, model, drift, *seq, version = found
    assert [verdict, share, model, drift, *seq] == wanted
    assert (high, low, version) == (0, 1, 1)


def test_the_counter_goes_over_a_word_and_the_heart_beats(server):
    server.table._count = 65535
    server.take(row())
    with polled(server.host, server.port) as read:
        assert read(1, 2).registers == [1, 0]
        first = read(4, 1).registers[0]
        time.sleep(1.1)
        assert read(4, 1).registers[0] in (first + 1, first + 2)


def test_nothing_can_be_written_and_other_registers_are_refused(server):
    server.take(row(verdict="NG", percent=150.0))
    client = ModbusTcpClient(server.host, port=server.port)
    client.connect()
    assert client.write_register(0, 1).isError()
    assert client.write_registers(3, [0, 0]).isError()
    assert client.read_holding_registers(0, count=REGISTERS + 1).isError()
    assert client.read_input_registers(0, count=4, device_id=9).registers == [3, 0, 1, 1500]
    client.close()


def test_a_request_has_all_registers_of_one_moment(server):
    """A verdict with the score of another part would sort a part wrongly: OK has 500 here, NG 2000."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            server.take(row(verdict="OK", percent=50.0, seq=1))
            server.take(row(verdict="NG", percent=200.0, seq=2))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with polled(server.host, server.port) as read:
            seen, count, until = set(), 0, time.monotonic() + 30
            # on a busy machine the two threads take turns
            while count < 150 or (len(seen) < 2 and time.monotonic() < until):
                found, count = read().registers, count + 1
                seen.add((found[0], found[3], found[8]))
    finally:
        stop.set()
        thread.join()
    assert seen <= {(0, 65535, 0), (1, 500, 1), (3, 2000, 2)}
    assert len(seen) >= 2


def test_a_port_that_is_taken_is_named(server):
    with pytest.raises(OSError, match=rf"cannot listen for Modbus at 127\.0\.0\.1:{server.port}"):
        Modbus(str(server.port), []).open()


@pytest.mark.parametrize("address", ["", "plant:x", "http://plant:502", "plant:70000", "me@plant:502"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:502"):
        parse(address)


def test_alone_a_port_is_of_this_machine(server):
    assert server.host == "127.0.0.1"
    assert parse(":1502") == ("127.0.0.1", 1502)


def test_the_service_shows_its_last_part(tiny_station, tmp_path):
    import httpx

    from support.service_fixture import bad_part, good_part, process, send

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"tmp_path": tmp_path, "folder": tiny_station}
    with (
        process("--modbus", str(port), **options) as (_, address),
        httpx.Client(base_url=address, timeout=30) as client,
        polled("127.0.0.1", port) as read,
    ):
        for count, content in enumerate((good_part(), bad_part()), 1):
            said = send(client, content).json()
            found = read().registers
            assert found[0] == {"OK": 1, "review": 2, "NG": 3}[said["verdict"]]
            assert found[1:4] == [0, count, min(int(10 * said["percent"]), 65534)]
            assert found[8] == said["seq"]
    assert said["verdict"] == "NG"


def test_without_the_package_the_command_is_named(monkeypatch):
    import sys

    from differnet.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "pymodbus", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'differnet\[modbus\]'"):
        Modbus("0", [])
