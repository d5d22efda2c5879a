"""Check the image of the Dockerfile where there is no Docker: the same steps in a fresh environment, and what runs.

Usage: python scripts/check_docker.py [STATION] [--at FOLDER]

Takes the files that Dockerfile and .dockerignore let in, runs the RUN steps of the stage "build" with another folder in
place of /opt/differnet, and prints the size of the result. Then it asks for the help of `serve` and `watch`, makes sure
that torch is not there, and with a STATION (a folder of `differnet export`) serves it until it is healthy, judges an
image over HTTP, and watches a folder once. What the base image brings along is not checked.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACE = "/opt/differnet"


def steps(text: str) -> list[tuple[str, str]]:
    """Return instruction and arguments of the stage "build", lines that go on joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    stages = re.split(r"^FROM ", joined, flags=re.MULTILINE)
    (build,) = [stage for stage in stages if stage.splitlines()[0].endswith(" AS build")]
    found = [line.partition(" ") for line in build.splitlines()[1:] if line.strip()]
    return [(name, rest.strip()) for name, _, rest in found]


def build(target: Path, work: Path) -> None:
    """Run the steps of the stage "build"; ``target`` takes the place of /opt/differnet, ``work`` that of WORKDIR."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    for name, rest in steps((ROOT / "Dockerfile").read_text()):
        if name == "ARG":
            key, _, value = rest.partition("=")
            environment[key] = value.strip('"')
        elif name == "COPY":
            *sources, to = rest.split()
            for source in sources:
                if source not in allowed:
                    raise SystemExit(f"COPY {source}: .dockerignore does not let it in")
                copy(ROOT / source, work / to if len(sources) == 1 else work / to / source)
        elif name == "RUN":
            command = rest.replace(PLACE, str(target)).replace("python -m venv", f"{sys.executable} -m venv")
            print(f"RUN {command}", flush=True)
            subprocess.run(["/bin/sh", "-ec", command], cwd=work, env=environment, check=True)  # noqa: S603


def copy(source: Path, to: Path) -> None:
    """Copy a file or a folder, without what .dockerignore leaves out."""
    to.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    else:
        shutil.copy2(source, to)


def sizes(target: Path) -> dict[str, float]:
    """Return the megabytes of each installed package, the largest first."""
    found: dict[str, float] = {}
    (packages,) = (target / "lib").glob("python*/site-packages")
    for path in packages.rglob("*"):
        if path.is_file() and not path.is_symlink():
            name = path.relative_to(packages).parts[0]
            found[name] = found.get(name, 0.0) + path.stat().st_size / 1e6
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def check_commands(target: Path) -> None:
    """Ask for help, and make sure that torch is not there."""
    for command in (["--help"], ["serve", "--help"], ["watch", "--help"], ["make-key", "somebody"]):
        subprocess.run([target / "bin/differnet", *command], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    code = "import importlib.util as u, sys; sys.exit(any(u.find_spec(n) for n in ('torch', 'pip', 'scipy')))"
    subprocess.run([target / "bin/python", "-c", code], check=True)  # noqa: S603


def check_station(target: Path, station: Path, work: Path) -> None:
    """Serve a station until it is healthy, judge an image over HTTP, stop it, and watch a folder once."""
    make = "import sys; from PIL import Image; Image.new('RGB', (64, 64)).save(sys.argv[1])"
    (work / "images").mkdir()
    image = work / "images" / "black.png"
    python = target / "bin" / "python"
    subprocess.run([python, "-c", make, image], check=True)  # noqa: S603
    store = ["--store", f"sqlite:///{work}/record.sqlite3"]
    start = time.perf_counter()
    served = [
        target / "bin/differnet",
        "serve",
        station,
        "--name",
        f"part={station}",
        "--port",
        "18231",
        *store,
    ]
    with subprocess.Popen([*served[:2], *served[3:]], stderr=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            health = [python, ROOT / "docker/health.py", "18231"]
            while subprocess.run(health, stderr=subprocess.DEVNULL).returncode:  # noqa: S603
                if process.poll() is not None or time.perf_counter() - start > 120:
                    raise SystemExit("the service did not become healthy")
                time.sleep(0.1)
            print(f"healthy after {time.perf_counter() - start:.1f} s")
            post("http://127.0.0.1:18231/v1/models/part/inspect", image.read_bytes())
        finally:
            process.terminate()
    watch = [target / "bin/differnet", "watch", work / "images", "--model", station, "--once", *store]
    subprocess.run(watch, check=True)  # noqa: S603


def post(url: str, content: bytes) -> None:
    """Judge one image over HTTP and print what was said."""
    border = "differnet-border"
    head = f'--{border}\r\nContent-Disposition: form-data; name="image"; filename="black.png"\r\n\r\n'
    body = head.encode() + content + f"\r\n--{border}--\r\n".encode()
    request = urllib.request.Request(url, body)  # noqa: S310
    request.add_header("Content-Type", f"multipart/form-data; boundary={border}")
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        print(f"judged over HTTP: {answer.status} {answer.read(300).decode()}")


def main() -> None:
    """Build, measure, run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("station", type=Path, nargs="?")
    parser.add_argument("--at", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work, target = Path(temporary), (options.at or Path(temporary, "differnet")).resolve()
        (work / "src").mkdir()
        build(target, work / "src")
        by_package = sizes(target)
        print(f"installed: {sum(by_package.values()):.0f} MB")
        for name, size in list(by_package.items())[:10]:
            print(f"  {name}: {size:.1f} MB")
        check_commands(target)
        if options.station is not None:
            check_station(target, options.station.resolve(), work)
    print("what runs in the image runs here")


if __name__ == "__main__":
    main()
