"""Fit a detector to photographs that come along, export it, serve it, and send it some parts to show.

Usage: python scripts/serve_demo.py [FOLDER] [--port 8000] [--parts 40]

FOLDER (demo-output/service) keeps data, model and record; what is there already is not made again. Prints the URL of
the page and serves until Ctrl-C. `--parts`: how many test images are sent, two a second, each once.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from differnet.data.images import find
from differnet.evaluation.demo import cell_of, write_demo_data

NAME = "brick"


def prepare(folder: Path) -> list[Path]:
    """Make data, model and station where they are missing; return the test images."""
    data = folder / "data"
    if not (data / NAME).exists():
        write_demo_data(data, 0, (NAME,))
    if not (folder / NAME / "manifest.json").exists():
        from differnet.detector.detector import DifferNet
        from differnet.detector.export import export

        good = find(data / NAME / "train" / "good")
        print(f"Fitting to {len(good)} good tiles of {NAME} ...", flush=True)
        detector = DifferNet("fast", 0, rate=0.1, review_rate=0.3, holdout=0.3, map_views=2)
        detector.fit(good, groups=[cell_of(path) for path in good])
        detector.save(folder / f"{NAME}.safetensors")
        print(f"Exporting: {export(detector, folder / NAME, 'openvino', images=good[:8])}", flush=True)
    return find(data / NAME / "test")


def send(address: str, path: Path, name: str | None = None) -> dict[str, Any]:
    """Send one image as a camera would, under another name if one is given; return the recorded inspection."""
    name = name or f"{path.parent.name}-{path.name}"
    head = f'--part\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
    body = head.encode() + path.read_bytes() + b"\r\n--part--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=part"}
    request = urllib.request.Request(f"{address}/v1/models/{NAME}/inspect", body, kind)  # noqa: S310  http, here
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        found: dict[str, Any] = json.loads(answer.read())
    return found


def check_free(port: int) -> None:
    """Refuse a port at which something listens already: parts must not be sent to whatever that is."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise SystemExit(
                f"port {port} of this machine is taken ({error.strerror}); --port N is another"
            ) from error


def said_address(run: subprocess.Popen[bytes]) -> str:
    """Return the address at which the service itself says that it listens, and show what else it says from then on."""
    lines = iter(run.stderr or ())
    for line in lines:
        sys.stderr.buffer.write(line)
        if b'"address"' in line:
            threading.Thread(target=sys.stderr.buffer.writelines, args=(lines,), daemon=True).start()
            return str(json.loads(line)["address"])
    raise SystemExit("the service did not start; the lines above say why")


def wait_for(address: str, run: subprocess.Popen[bytes]) -> None:
    """Wait until the service takes images."""
    while run.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/ready", timeout=5).close()  # noqa: S310
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit("the service did not start; the lines above say why")


def main() -> None:
    """Prepare, serve, send."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("demo-output/service"))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--parts", type=int, default=40)
    arguments = parser.parse_args()
    check_free(arguments.port)
    images = prepare(arguments.folder)
    command = [
        sys.executable,
        "-m",
        "differnet",
        "serve",
        str(arguments.folder / NAME),
        "--keep-images",
        "all",
    ]
    command += ["--port", str(arguments.port), "--log-level", "warning"]
    command += ["--store", f"sqlite:///{arguments.folder / 'record.sqlite3'}"]
    run = subprocess.Popen(command, stderr=subprocess.PIPE)  # noqa: S603
    try:
        address = said_address(run)
        wait_for(address, run)
        print(f"The page: {address}/   (Ctrl-C stops)", flush=True)
        step = max(1, len(images) // max(1, arguments.parts))
        for path in images[::step][: arguments.parts]:
            send(address, path)
            time.sleep(0.5)
        run.wait()
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        run.terminate()
        run.wait(60)


if __name__ == "__main__":
    main()
