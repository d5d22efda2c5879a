"""Judge images in a fresh environment that has no torch: how large it is, and how soon it is ready.

Usage: python scripts/station_environment.py STATION IMAGES [--at FOLDER]

STATION: a folder of `differnet export`; IMAGES: a folder of images. Makes a virtual environment with this source,
NumPy, Pillow and what runs the graphs, and nothing else (in FOLDER, kept, or in one that is removed afterwards), and
prints how large what was installed is, the seconds from starting Python to the first verdict, and those of one image.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
CODE = """
import sys, time
import differnet
from differnet.images import find
inspector, images = differnet.Inspector(sys.argv[1]), find(sys.argv[2])
print("ready", flush=True)
first = inspector.predict(images[0])
print("first", first.verdict, first.score, flush=True)
start = time.perf_counter()
for image in images[:50]:
    inspector.predict(image)
print("each", (time.perf_counter() - start) / len(images[:50]))
print("torch" in sys.modules)
"""


def make(folder: Path, engine: str) -> Path:
    """Make the environment and return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "numpy", "pillow", engine], check=True)  # noqa: S603
    subprocess.run([*pip, "--no-deps", ROOT], check=True)  # noqa: S603
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"], check=False)  # noqa: S603
    return python


def sizes(folder: Path) -> dict[str, float]:
    """Return the megabytes of each installed package, the largest first, pip left out."""
    found: dict[str, float] = {}
    (packages,) = (folder / "lib").glob("python*/site-packages")
    for path in packages.rglob("*"):
        name = path.relative_to(packages).parts[0]
        if path.is_file() and not name.startswith("pip") and "__pycache__" not in path.parts:
            found[name] = found.get(name, 0.0) + path.stat().st_size / 1e6
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("station", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--at", type=Path, default=None)
    options = parser.parse_args()
    engine = json.loads((options.station / "manifest.json").read_text())["engine"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.at or Path(temporary, "environment")
        python = make(folder, engine)
        by_package = sizes(folder)
        command = [str(python), "-c", CODE, str(options.station), str(options.images)]
        for attempt in ("cold", "warm"):
            start, moments = time.perf_counter(), {}
            run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
            for line in run.stdout or ():
                moments[line.split()[0]] = time.perf_counter() - start, line.strip()
            if run.wait():
                raise SystemExit(f"the station failed with {run.returncode}")
            print(
                f"{attempt}: ready after {moments['ready'][0]:.2f} s, first verdict after {moments['first'][0]:.2f} s"
            )
            print(f"  {moments['first'][1]}; seconds an image: {moments['each'][1].split()[1]}")
            if "False" not in moments:
                raise SystemExit("torch was imported")
    print(f"installed: {sum(by_package.values()):.0f} MB")
    for name, size in list(by_package.items())[:8]:
        print(f"  {name}: {size:.1f} MB")


if __name__ == "__main__":
    main()
