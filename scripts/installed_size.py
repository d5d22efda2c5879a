"""What an installation takes on disk, by dependency: run it in an environment where differnet and its extras are.

    python scripts/installed_size.py [PYPROJECT]

Prints two tables. Of each dependency: the size of its files, and how much less there would be without it, with what
it alone drags in. Of each extra: how much it adds to the default. Files that Python compiles are not counted.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure what is installed here."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "pyproject.toml"
    project = tomllib.loads(path.read_text())["project"]
    there = {canonicalize_name(one.metadata["Name"]): one for one in importlib.metadata.distributions()}
    sizes = {name: _size(one) for name, one in there.items()}

    def total(names: Iterable[str]) -> float:
        return sum(sizes[name] for name in names) / 1e6

    default = _names(project["dependencies"])
    whole = closure(default, there)
    print(f"In all {total(whole):.0f} MB in {len(whole)} packages.\n")
    print("| dependency | its files, MB | with what it alone drags in, MB | of these |\n|---|---|---|---|")
    rows = []
    for name in default:
        alone = whole - closure([other for other in default if other != name], there)
        others = sorted(alone - {name}, key=lambda one: -sizes[one])
        rows.append(
            (total(alone), f"| {name} | {total([name]):.1f} | {total(alone):.1f} | {', '.join(others[:4])} |")
        )
    print("\n".join(row for _, row in sorted(rows, reverse=True)))
    print("\n| extra | adds, MB |\n|---|---|")
    for extra, lines in sorted(project["optional-dependencies"].items()):
        names = _names(lines)
        missing = [name for name in names if name not in there]
        added = closure(names, there) - whole
        print(f"| {extra} | {'not installed here' if missing else f'{total(added):.1f}'} |")


def closure(names: Iterable[str], there: dict[str, importlib.metadata.Distribution]) -> set[str]:
    """Return packages with all that they need of what is installed."""
    found: set[tuple[str, str]] = set()
    waiting = [(name, "") for name in names]
    while waiting:
        name, extra = waiting.pop()
        if name in there and (name, extra) not in found:
            found.add((name, extra))
            for one in _wanted(there[name].requires or [], extra):
                waiting += [(canonicalize_name(one.name), inner) for inner in ("", *one.extras)]
    return {name for name, _ in found}


def _names(lines: Iterable[str]) -> list[str]:
    return [canonicalize_name(one.name) for one in _wanted(lines, "")]


def _wanted(lines: Iterable[str], extra: str) -> list[Requirement]:
    """Return those of some requirements that are for this system, and for an extra or, under an empty name, for all."""
    wanted = [Requirement(line) for line in lines]
    return [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": extra})]


def _size(distribution: importlib.metadata.Distribution) -> int:
    files = [Path(str(distribution.locate_file(file))) for file in distribution.files or []]
    return sum(file.stat().st_size for file in files if file.suffix != ".pyc" and file.is_file())


if __name__ == "__main__":
    main()
