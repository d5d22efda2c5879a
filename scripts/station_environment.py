"""Judge images in a fresh environment that has no torch: how large it is, and how soon it is ready.

Usage: python scripts/station_environment.py STATION IMAGES [--at FOLDER]

STATION: a folder of `differnet export`; IMAGES: a folder of images. Makes a virtual environment with this source,
NumPy, Pillow and what runs the graphs, and nothing else (in FOLDER, kept, or in one that is removed afterwards), and
prints how large what was installed is, beside differnet and all that it needs in the environment that runs this script,
the seconds, of the clock and of the processor, from starting Python to the first verdict and of one image, and the most
memory that the process took.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import tempfile
import venv
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
CODE = """
import importlib.util, json, resource, sys, time
started = time.perf_counter()
from differnet.runtime import Inspector
from differnet.data.images import find
def spent():
    return time.perf_counter() - started, time.process_time()
found = {"imported": spent()}
inspector, images = Inspector(sys.argv[1]), find(sys.argv[2])[:50]
found["ready"] = spent()
first = inspector.predict(images[0])
found["first verdict"] = spent()
before = spent()
for image in images:
    inspector.predict(image)
found["each image"] = [(late - early) / len(images) for late, early in zip(spent(), before)]
found["peak"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found["said"] = f"{first.verdict}, score {first.score:.6g}, p {first.p_value}"
found["torch"] = importlib.util.find_spec("torch") is not None
print(json.dumps(found))
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


def sizes_with_torch() -> dict[str, float]:
    """Return the megabytes of differnet and each package that it needs, as installed here, without bytecode."""
    found, waiting = dict[str, float](), ["differnet"]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # of another platform, or an extra
            continue
        if name not in found:
            files = [Path(str(file.locate())) for file in package.files or () if file.suffix != ".pyc"]
            found[name] = sum(path.stat().st_size for path in files if path.is_file()) / 1e6
            needed = [line for line in package.requires or () if "extra ==" not in line]
            waiting += [match[0] for line in needed if (match := re.match(r"[\w.-]+", line))]
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def tell(title: str, by_package: dict[str, float]) -> None:
    """Print the sum, and the largest."""
    largest = ", ".join(f"{name} {size:.0f}" for name, size in list(by_package.items())[:6])
    print(f"{title}: {sum(by_package.values()):.0f} MB ({largest})")


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
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        place, images = options.station.resolve(), options.images.resolve()
        for attempt in ("cold", "warm"):
            command = [str(python), "-c", CODE, str(place), str(images)]
            run = subprocess.run(  # noqa: S603
                command, stdout=subprocess.PIPE, text=True, check=True, env=clean, cwd=temporary
            )
            found = json.loads(run.stdout)
            if found.pop("torch"):
                raise SystemExit("torch is installed there")
            print(f"{attempt}: {found.pop('said')}; memory at most {found.pop('peak') / 1e6:.0f} MB")
            for name, (wall, own) in found.items():
                print(f"  {name}: {wall:.3f} s, of the processor {own:.3f} s")
        listed = subprocess.run(  # noqa: S603
            [python, "-m", "pip", "freeze"], stdout=subprocess.PIPE, text=True, check=True
        )
    print("Python", platform.python_version(), *listed.stdout.split("\n"))
    tell("installed", by_package)
    tell("differnet with torch, here", sizes_with_torch())


if __name__ == "__main__":
    main()
