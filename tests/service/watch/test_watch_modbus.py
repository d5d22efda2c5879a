"""A watch serves its last verdict by Modbus TCP as the service does."""

from __future__ import annotations

import json
import subprocess

import pytest

pytest.importorskip("pymodbus", reason='pip install "differnet[modbus]"')
pytest.importorskip("watchfiles", reason='pip install "differnet[watch]"')

from support import brokers
from support.watching import LIMIT, command, put


def test_a_controller_reads_what_the_watch_judged_last(station, images, tmp_path):
    from pymodbus.client import ModbusTcpClient

    port = brokers.free_port()
    process = subprocess.Popen(
        command(station, images, tmp_path, "--modbus", str(port)), stdout=subprocess.PIPE, text=True
    )
    client = ModbusTcpClient("127.0.0.1", port=port)
    try:
        for count in (1, 2):
            put(images, f"{count}.png", 600 + count)
            said = json.loads(process.stdout.readline())
            assert said["event"] == "inspection"
            assert client.connect()
            found = client.read_holding_registers(0, count=10).registers
            assert found[0] == {"OK": 1, "review": 2, "NG": 3}[said["verdict"]]
            assert found[1:4] == [0, count, min(int(10 * said["percent"]), 65534)]
            assert found[8] == said["seq"]
    finally:
        client.close()
        process.terminate()
        process.wait(LIMIT)
        process.stdout.close()
    assert process.returncode == 0
