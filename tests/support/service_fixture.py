"""A real service for tests: a tiny model that was fitted and exported, behind the real server on a free port."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager, suppress

from PIL import Image

from differnet.errors import DifferNetWarning
from support.tiny import TINY, defective_image, good_image

SETTINGS = TINY | {
    "rotation": "none",
    "score_rotations": "even",
    "grid": 2,
    "pooling": "largest",
    "start": "gaussian",
    "epochs": 2,
    "hidden": 8,
    "blocks": 2,
    "rate": 0.2,
    "review_rate": 0.4,
}
READY = 60  # seconds
IMAGE_BYTES, PIXELS = 200_000, 100_000  # the most that a service of the tests takes


def export_tiny(folder, **settings):
    """Fit a tiny detector on 60 synthetic good images and write its folder."""
    from differnet import DifferNet
    from differnet.detector import export

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        images = [good_image(i) for i in range(60)]
        detector = DifferNet("default", seed=1, weights="random", **(SETTINGS | settings)).fit(images)
        export.export(detector, folder, "openvino", images=images[:3])
    return folder


def png(pixels):
    """Return the bytes of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def good_part(index=500):
    """Return a PNG that looks like the images of the model."""
    return png(good_image(index))


def bad_part(index=3):
    """Return a PNG with a bright square."""
    return png(defective_image(index)[0])


def send(client, content, name="part.png", model="tiny", **options):
    """Have a service judge a picture."""
    return client.post(f"/v1/models/{model}/inspect", files={"image": (name, content)}, **options)


def rows(client, **query):
    """Return what a service has recorded."""
    return client.get("/v1/inspections", params={"limit": 999} | query).json()["inspections"]


@contextmanager
def running(folders, tmp_path, host="127.0.0.1", root=None, forget_versions=(), **limits):
    """Run the real server in a thread; yields its URL. ``folders``: a folder, or folders by the names of models.

    ``root``: the folder of versions that may be put in place; ``forget_versions``: see ``build``.
    """
    from differnet.service.http import server as serving
    from differnet.service.http.limits import Limits

    named = {"tiny": str(folders)} if isinstance(folders, str | os.PathLike) else folders
    url = f"sqlite:///{tmp_path / 'record.sqlite3'}"
    service = serving.build(named, url, None, host, Limits(**limits), (), root, forget_versions)
    opened = serving.bind(host, 0)
    server = serving.server(service, "warning")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    address = serving.address(opened)
    try:
        until_ready(address)
        yield Address(address, service)
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop"


class Address(str):
    """The URL of a service, with what runs behind it."""

    def __new__(cls, text, service):
        made = super().__new__(cls, text)
        made.service = service
        return made


@contextmanager
def process(*arguments, tmp_path, folder, store=None):
    """Run ``differnet serve`` as a process of its own; yields it and its URL."""
    command = [sys.executable, "-m", "differnet", "--threads", "1", "serve", "--name", f"tiny={folder}"]
    command += ["--port", "0", "--store", store or f"sqlite:///{tmp_path / 'record.sqlite3'}", *arguments]
    with (tmp_path / "log.txt").open("ab") as log:
        start = log.tell()
        run = subprocess.Popen(command, stderr=log, cwd=tmp_path)
    try:
        yield run, until_said(tmp_path / "log.txt", start, run)
    finally:
        if run.poll() is None:
            run.kill()
        run.wait(30)


def until_said(log, start, run):
    """Return the URL at which the service says that it serves, once it is ready."""
    end = time.monotonic() + READY
    while time.monotonic() < end and run.poll() is None:
        for line in log.read_bytes()[start:].decode().splitlines():
            if line.startswith("{") and "address" in (said := json.loads(line)):
                until_ready(said["address"])
                return said["address"]
        time.sleep(0.05)
    raise AssertionError(f"it did not start: {log.read_text()}")


def until_ready(address):
    """Wait until the service takes images."""
    import httpx

    end = time.monotonic() + READY
    while time.monotonic() < end:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{address}/ready", timeout=5, verify=False).status_code == 200:  # noqa: S501
                return
        time.sleep(0.05)
    raise AssertionError(f"{address} did not become ready")
