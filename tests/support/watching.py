"""A watch of a folder as a process and in this one, and a receiver of its messages."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("sqlalchemy", reason='pip install "differnet[watch]"')
pytest.importorskip("watchfiles", reason='pip install "differnet[watch]"')


from differnet.service.watch.folder import Folder
from differnet.service.watch.loop import Watch, Wishes
from differnet.service.watch.memory import StoreMemory
from support.tiny import good_image, save

KEY = "a key that nobody knows"
LIMIT = 180


def put(folder, name, index):
    """Write an image as a careful program does."""
    hidden = folder / f".{name}"
    save(hidden, good_image(index))
    hidden.replace(folder / name)


def command(station, source, tmp_path, *options):
    return [
        *(sys.executable, "-m", "differnet", "--threads", "1", "watch", str(source), "--model", str(station)),
        *("--store", f"sqlite:///{tmp_path}/record.sqlite3", "--json", "--patience", "0.5", *options),
    ]


def run(*arguments, **settings):
    """Run the command to its end; return its exit code and what it said."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=LIMIT, **settings)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def events(lines, name):
    return [line for line in lines if line["event"] == name]


def watching(inspector, store, folder, told=None, wishes=None, outbox=None, **settings):
    memory = StoreMemory(store, "stripes", "line")
    tell = (lambda *what: told.append(what)) if told is not None else (lambda *_: None)
    source = Folder(folder, "line", memory, tell, settle=0.1, patience=0.2, **settings)
    return Watch(inspector, memory, wishes or Wishes(), tell, outbox), source


def once(*arguments, **settings):
    work, source = watching(*arguments, **settings)
    return list(work.run(source, threading.Event(), True))


class Receiver(http.server.BaseHTTPRequestHandler):
    """Notes what was posted and well signed, and answers what it is told to."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        timestamp = self.headers["X-Differnet-Timestamp"]
        wanted = hmac.new(KEY.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        signed = hmac.compare_digest(self.headers["X-Differnet-Signature"], f"sha256={wanted}")
        fresh = abs(time.time() - int(timestamp)) < 30
        document = json.loads(body)
        status = self.answers.pop(0) if self.answers else 204
        self.asked.append((status, document["file_name"]))
        if status == 204 and signed and fresh and self.headers["X-Differnet-Delivery"] == document["id"]:
            self.received.append(document)
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def receiver(*answers, port=0):
    handler = type("Handler", (Receiver,), {"answers": list(answers), "received": [], "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
