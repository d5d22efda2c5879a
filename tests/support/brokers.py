"""A real MQTT broker for tests: amqtt in a process of its own, or mosquitto."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

AMQTT = """
import asyncio, sys
from amqtt.broker import Broker

async def main():
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{sys.argv[1]}"}}, "plugins": plugins})
    await broker.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


def mosquitto():
    """Return the program, or nothing."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def missing():
    """Say why no broker can be started here; nothing where it can."""
    if importlib.util.find_spec("amqtt") or mosquitto():
        return None
    return "no MQTT broker here: neither the package amqtt nor the program mosquitto"


def free_port():
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def broker(port):
    """Run a broker on ``port`` of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        if importlib.util.find_spec("amqtt"):
            command = [sys.executable, "-c", AMQTT, str(port)]
        else:
            configuration = Path(folder, "mosquitto.conf")
            configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
            command = [mosquitto(), "-c", str(configuration)]
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait(process, port, Path(folder, "log"))
            yield
        finally:
            process.terminate()
            process.wait(20)


def _wait(process, port, log):
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the broker did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.1)
