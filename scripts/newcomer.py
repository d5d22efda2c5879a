"""Do what a newcomer does, in an empty home and a clean environment, and write what is seen into docs/tutorial.md.

    python scripts/newcomer.py dist/differnet-0.1.0-py3-none-any.whl [--python python3.12]

Pictures are tiles of the demo (scikit-image has their photographs). Each command is run as it is shown, in a shell;
pip is told by a constraint to take the wheel. Ends with an error where a command does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from package_check import KEPT, ROOT

COMMANDS = (
    "python3 -m venv .venv && . .venv/bin/activate",
    "pip install --quiet differnet",
    "differnet fit good_parts --out part.safetensors --rate 0.1 --preset fast",
    "differnet score part.safetensors new_parts --maps maps",
    "differnet report part.safetensors new_parts --out report.html",
)
PAGE = ROOT / "docs" / "tutorial.md"
BEGIN, END = "<!-- written by scripts/newcomer.py -->\n", "<!-- until here -->\n"


def main() -> None:
    """Run the commands and put the transcript into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", default=sys.executable, help="which Python makes the environment")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="differnet-newcomer-") as place:
        home = Path(place, "home")
        draw(home)
        shown = transcript(home, asked.wheel.resolve(), shutil.which(asked.python) or asked.python)
    print(shown)
    write(shown)


def draw(home: Path) -> None:
    """Put good parts and some new ones where a newcomer has them."""
    from differnet.evaluation.demo import write_demo_data

    write_demo_data(home / "data", 0, ("brick",))
    tiles = home / "data" / "brick"
    shutil.copytree(tiles / "train" / "good", home / "good_parts")
    (home / "new_parts").mkdir()
    for kind in ("good", "scratch"):
        for path in sorted((tiles / "test" / kind).glob("*.png"))[:3]:
            shutil.copy(path, home / "new_parts" / f"{kind}-{path.name}")
    shutil.rmtree(home / "data")


def transcript(home: Path, wheel: Path, python: str) -> str:
    """Return commands and what they print, with the seconds that each took."""
    tools, constraint = home.parent / "tools", home.parent / "constraint.txt"
    tools.mkdir()
    (tools / "python3").symlink_to(python)
    constraint.write_text(f"differnet @ {wheel.as_uri()}\n")
    kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    kept |= {"HOME": str(home), "PATH": f"{home}/.venv/bin:{tools}:/usr/bin:/bin", "PIP_NO_CACHE_DIR": "1"}
    kept |= {"PIP_CONSTRAINT": str(constraint), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "COLUMNS": "110"}
    shell, lines, times = shutil.which("bash") or "/bin/sh", [], []
    for command in COMMANDS:
        began = time.perf_counter()
        done = subprocess.run(  # noqa: S603
            [shell, "-ec", command], cwd=home, env=kept, capture_output=True, text=True, check=False
        )
        times.append(time.perf_counter() - began)
        if done.returncode:
            sys.exit(f"{command}: ended with {done.returncode}\n{done.stdout}{done.stderr}")
        lines += [f"$ {command}", *done.stdout.splitlines()]
    version = subprocess.check_output([python, "-V"], text=True).strip()  # noqa: S603
    taken = ", ".join(f"{seconds:.0f} s" for seconds in times)
    block = "\n".join(lines)
    where = f"{version}, an empty home, two cores that others used too"
    return f"```text\n{block}\n```\n\n{where}; the commands took {taken}.\n"


def write(shown: str) -> None:
    """Put the transcript in the place of the one before."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{PAGE}: has no place for it, between {BEGIN.strip()} and {END.strip()}")
    PAGE.write_text(f"{before}{BEGIN}{shown}{END}{after}")


if __name__ == "__main__":
    main()
