"""A webhook is signed as the standard says, and for one more release as before, with the same key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import subprocess
import sys
import threading

import pytest

pytest.importorskip("httpx")
standardwebhooks = pytest.importorskip("standardwebhooks")
from differnet.service.delivery.notify import Webhook  # noqa: E402
from differnet.service.delivery.outbox import Delivery  # noqa: E402

KEY = "0123456789abcdef0123456789abcdef"
ID = "5f" * 16
BODY = '{"verdict": "NG", "file_name": "ümlaut.png"}'


@pytest.fixture
def posted():
    """Headers and body of what was sent to a receiver."""
    found = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            found.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        hook = Webhook(f"http://127.0.0.1:{server.server_address[1]}/hook", KEY.encode())
        hook.send(Delivery(1, ID, BODY, 0))
        hook.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    return found[0]


def secret(key):
    """Return the key as libraries of the standard want it, in any language."""
    return "whsec_" + base64.b64encode(key.encode()).decode()


def test_a_receiver_of_the_standard_takes_it(posted):
    headers, body = posted
    assert standardwebhooks.Webhook(secret(KEY)).verify(body, headers) == {
        "verdict": "NG",
        "file_name": "ümlaut.png",
    }
    assert headers["webhook-id"] == ID


@pytest.mark.parametrize("what", ["key", "body", "webhook-id", "webhook-timestamp"])
def test_it_refuses_what_was_changed(posted, what):
    headers, body = posted
    key = KEY.replace("0", "1") if what == "key" else KEY
    body = body.replace(b"NG", b"OK") if what == "body" else body
    if what in headers:
        headers[what] = str(int(headers[what], 16 if what == "webhook-id" else 10) + 1)
    with pytest.raises(standardwebhooks.webhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret(key)).verify(body, headers)


def test_a_receiver_of_before_takes_it_too(posted):
    headers, body = posted
    timestamp = headers["X-Differnet-Timestamp"]
    wanted = hmac.new(KEY.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Differnet-Signature"] == f"sha256={wanted}"
    assert headers["X-Differnet-Delivery"] == ID
    assert headers["webhook-timestamp"] == timestamp


def test_the_package_that_is_missing_is_named():
    code = (
        "import sys; sys.modules['standardwebhooks'] = None\n"
        "from differnet.service.delivery.notify import Webhook\n"
        "try: Webhook('http://127.0.0.1:1/x', b'k' * 16)\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "webhooks need standardwebhooks: pip install 'differnet[watch]'\n"
