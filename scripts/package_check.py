"""Build what is released, look at it as an index would, and install and run it as a newcomer would.

    python scripts/package_check.py --fast              # build, check, and import the wheel from a folder of its own
    python scripts/package_check.py                     # and install it, with its dependencies, in each Python there is
    python scripts/package_check.py --pythons 3.12 --demo

Needs the packages of the dependency group ``release``. Each Python gets an environment of its own in a temporary
folder, with an empty home, which is removed before the next: with PyTorch for GPUs one takes about 6 GB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# What a clean environment keeps of this one: how pip reaches its index, and through what.
KEPT = (
    "PIP_",
    "SSL_",
    "REQUESTS_CA",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "OMP_",
    "LANG",
)
HIDDEN = ("__pycache__", ".pyc")
BRICK = "demo-output/data/seed-0/brick"
MAKE_DATA = """
from pathlib import Path
from differnet.evaluation.demo import write_demo_data
write_demo_data(Path("demo-output/data/seed-0"), 0, ("brick",))
"""


def main() -> None:
    """Do what was asked for; the first fault ends it with what failed."""
    asked = _asked()
    with tempfile.TemporaryDirectory(prefix="differnet-package-") as place:
        folder = Path(place)
        wheel = asked.wheel.resolve() if asked.wheel else build(asked.dist)
        if not asked.wheel:
            imported(wheel, folder / "wheel")
        if not asked.fast:
            rows = [tried(python, wheel, folder, asked) for python in found(asked.pythons.split(","))]
            print("\n| Python | installed in | size | smoke test | demo |\n|---|---|---|---|---|")
            print("\n".join(rows))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fast", action="store_true", help="no environments")
    parser.add_argument("--demo", action="store_true", help="run the demo in each Python, some minutes more")
    parser.add_argument("--pythons", default=",".join(PYTHONS), help="versions, with commas between")
    parser.add_argument(
        "--dist", type=Path, default=ROOT / "dist", help="folder for the files that are built"
    )
    parser.add_argument("--wheel", type=Path, help="a wheel that is built already, to be tried alone")
    parser.add_argument(
        "--first", default="", help="requirements to install before, such as a torch of one's own"
    )
    return parser.parse_args()


def build(dist: Path) -> Path:
    """Build sdist and, from it, wheel into an empty folder, check both, and return the wheel."""
    others = [one.name for one in dist.glob("*") if not one.name.startswith("differnet-")]
    if others:
        sys.exit(
            f"{dist}: has {others[0]}, which was not built here; a folder for wheel and sdist alone was wanted"
        )
    shutil.rmtree(dist, ignore_errors=True)
    run([sys.executable, "-m", "build", "--outdir", dist, ROOT], quiet=True)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    run([sys.executable, "-m", "twine", "check", "--strict", wheel, sdist], quiet=True)
    run([Path(sys.executable).with_name("check-wheel-contents"), wheel], quiet=True)
    check_files(wheel, sdist)
    for one in (wheel, sdist):
        print(f"{one.name}: {one.stat().st_size / 1e6:.1f} MB")
    return wheel


def check_files(wheel: Path, sdist: Path) -> None:
    """Refuse a wheel that lacks a file of the package, or an sdist that lacks what its tests need."""
    wanted = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "differnet").rglob("*")
        if path.is_file() and not any(part.endswith(HIDDEN) for part in path.parts)
    }
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.startswith("differnet/")}
    if inside != wanted:
        sys.exit(f"{wheel.name}: lacks {sorted(wanted - inside)}, and has besides {sorted(inside - wanted)}")
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    kept = {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "tests/conftest.py",
        "docs/index.md",
        "scripts/package_check.py",
    }
    if not kept <= names:
        sys.exit(f"{sdist.name}: lacks {sorted(kept - names)}")


def imported(wheel: Path, target: Path) -> None:
    """Unpack the wheel without dependencies and ask it for its version and its help, which need little."""
    run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, wheel])
    surroundings = os.environ | {"PYTHONPATH": str(target)}
    code = "import differnet, pathlib; print(pathlib.Path(differnet.__file__).parent)"
    place = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], env=surroundings, cwd=target, capture_output=True, text=True, check=True
    )
    if Path(place.stdout.strip()) != target / "differnet":
        sys.exit(f"{place.stdout.strip()} was imported, where the wheel in {target} was wanted")
    for words in (["--version"], ["--help"], ["plan", "--rate", "0.1"]):
        run([sys.executable, "-m", "differnet", *words], surroundings, target, quiet=True)


def found(versions: Sequence[str]) -> Iterator[Path]:
    """Yield a Python of each version that there is; says which there is not."""
    for version in versions:
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        named = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
        python = next((Path(one) for one in named if one and _is(Path(one), version)), None)
        if python is None:
            print(f"Python {version}: there is none here, so it was not tried")
        else:
            yield python


def _is(python: Path, version: str) -> bool:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() == version


def tried(python: Path, wheel: Path, folder: Path, asked: argparse.Namespace) -> str:
    """Install the wheel in a clean environment of a Python, run it, and return a row of figures."""
    place, home = folder / "environment", folder / "home"
    for one in (place, home):
        shutil.rmtree(one, ignore_errors=True)
    run([python, "-m", "venv", place])
    home.mkdir()
    clean = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    clean |= {"HOME": str(home), "PATH": f"{place / 'bin'}:/usr/bin:/bin", "PIP_NO_CACHE_DIR": "1"}
    pip = [place / "bin" / "python", "-m", "pip", "install", "-q", "--upgrade"]
    run([*pip, "pip>=25.1"], clean)
    began = time.perf_counter()
    if asked.first:
        run([*pip, *asked.first.split()], clean)
    run([*pip[:-1], f"{wheel}[demo]"], clean)
    times = [time.perf_counter() - began]
    times += [smoke(clean, home), demo(clean, home) if asked.demo else float("nan")]
    version = subprocess.check_output([place / "bin/python", "-V"], text=True)  # noqa: S603
    size = sum(path.lstat().st_size for path in place.rglob("*") if not path.is_dir()) / 1e6
    shutil.rmtree(place)
    row = f"| {version.split()[1]} | {times[0]:.0f} s | {size:.0f} MB | {times[1]:.0f} s | {times[2]:.0f} s |"
    print(row.replace("nan s", "not run"), flush=True)
    return row.replace("nan s", "not run")


def smoke(clean: dict[str, str], home: Path) -> float:
    """Fit, judge, report and export as installed, from an empty home; returns the seconds."""
    began = time.perf_counter()
    run(["differnet", "doctor"], clean, home, quiet=True)
    run(["python", "-c", MAKE_DATA], clean, home)
    given = f"{BRICK}/train/good --out brick.safetensors --rate 0.1 --set holdout=0.3 --preset fast"
    run(["differnet", "fit", *given.split()], clean, home, quiet=True)
    run(
        ["differnet", "score", "brick.safetensors", f"{BRICK}/test", "--maps", "maps"],
        clean,
        home,
        quiet=True,
    )
    run(["differnet", "report", "brick.safetensors", BRICK, "--out", "report.html"], clean, home, quiet=True)
    words = ["brick.safetensors", "--to", "station", "--format", "openvino", "--check", f"{BRICK}/test/good"]
    run(["differnet", "export", *words], clean, home, quiet=True)
    code = f"import differnet; print(differnet.Inspector('station').predict('{BRICK}/test/scratch/001.png').verdict)"
    run(["python", "-c", code], clean, home, quiet=True)
    return time.perf_counter() - began


def demo(clean: dict[str, str], home: Path) -> float:
    """Run the demo; returns the seconds."""
    began = time.perf_counter()
    run(["differnet", "demo", "--out", "demo-output"], clean, home, quiet=True)
    return time.perf_counter() - began


def run(
    words: Sequence[str | Path],
    surroundings: dict[str, str] | None = None,
    cwd: Path = ROOT,
    quiet: bool = False,
) -> None:
    """Run a command; where it fails its output is shown, and all ends."""
    program = str(words[0])
    path = (surroundings or os.environ).get("PATH")
    call = [shutil.which(program, path=path) or program, *map(str, words[1:])]
    asked = {"env": surroundings, "cwd": cwd, "capture_output": quiet, "text": True}
    done = subprocess.run(call, check=False, **asked)  # noqa: S603
    if done.returncode:
        said = f"{done.stdout}{done.stderr}" if quiet else ""
        sys.exit(f"{said}\nfailed with {done.returncode}: {' '.join(map(str, words))}")


if __name__ == "__main__":
    main()
