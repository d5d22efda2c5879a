"""Draw the packages from the imports, and hold them to their floors: docs/images/architecture.svg.

    python scripts/architecture.py            # draw it anew
    python scripts/architecture.py --check    # fail for an old picture, a folder of too many floors, a circle

A package stands on a floor above all packages that it imports. What the picture shows is measured, never written by
hand.
"""

from __future__ import annotations

import argparse
import ast
import sys
import textwrap
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "differnet"
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
MOST_FLOORS = 10  # of the packages
MOST_FLOORS_INSIDE = 8  # of what lies in one folder: modules, and folders as a whole
WIDTH, LINE, MARGIN, GAP = 1160, 17, 24, 20

Arrows = Mapping[str, set[str]]


def arrows_between(graph: grimp.ImportGraph, rooms: Iterable[str]) -> dict[str, set[str]]:
    """Return which of the ``rooms``, packages or modules, each imports, itself left out."""
    known = list(rooms)

    def room_of(module: str) -> str | None:
        inside = [room for room in known if module == room or module.startswith(f"{room}.")]
        return max(inside, key=len, default=None)

    found: dict[str, set[str]] = {room: set() for room in known}
    for module in graph.modules:
        home = room_of(module)
        if home is None:
            continue
        targets = {room_of(name) for name in graph.find_modules_directly_imported_by(module)}
        found[home] |= {target for target in targets if target is not None} - {home}
    return found


def floors_of(arrows: Arrows) -> dict[str, int]:
    """Return the floor of each room, from 1: one above the highest that it imports; raises ValueError for a circle."""
    floors: dict[str, int] = {}

    def floor(room: str, above: tuple[str, ...]) -> int:
        if room in above:
            raise ValueError(" imports ".join([*above[above.index(room) :], room]))
        if room not in floors:
            floors[room] = 1 + max((floor(other, (*above, room)) for other in arrows[room]), default=0)
        return floors[room]

    for room in sorted(arrows):
        floor(room, ())
    return floors


def without_shortcuts(arrows: Arrows) -> dict[str, set[str]]:
    """Leave out arrows that a longer way implies."""

    def reach(room: str) -> set[str]:
        return arrows[room] | {far for near in arrows[room] for far in reach(near)}

    return {
        room: {one for one in near if not any(one in reach(other) for other in near - {one})}
        for room, near in arrows.items()
    }


def promise_of(room: str) -> str:
    """Return the first line of a package's or module's docstring."""
    place = SOURCE / room.removeprefix("differnet.")
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


def contents_of(room: str) -> str:
    """Return the names of what is in a package, folders with a slash; nothing for a module."""
    place = SOURCE / room.removeprefix("differnet.")
    if not place.is_dir():
        return ""
    folders = sorted(path.name + "/" for path in place.iterdir() if any(path.rglob("*.py")))
    files = sorted(path.stem for path in place.glob("*.py") if path.stem != "__init__")
    return ", ".join([*files, *folders])


def drawn(arrows: Arrows, floors: Mapping[str, int]) -> str:
    """Return the picture: one row of boxes a floor, the lowest at the bottom, and an arrow for each import."""
    boxes, shapes = {}, []
    top = MARGIN
    for number in range(max(floors.values()), 0, -1):
        row = sorted(room for room in floors if floors[room] == number)
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        width = min(width, 760)
        left = (WIDTH - width * len(row) - GAP * (len(row) - 1)) / 2
        texts = [_text_of(room, width) for room in row]
        height = LINE * max(map(len, texts)) + 16
        for index, (room, lines) in enumerate(zip(row, texts, strict=True)):
            x = left + index * (width + GAP)
            boxes[room] = (x, top, width, height)
            shapes.append(_box(x, top, width, height, lines))
        top += height + 46
    paths = []
    for room, near in sorted(without_shortcuts(arrows).items()):
        for index, other in enumerate(sorted(near, key=lambda one: boxes[one][0])):
            paths.append(_arrow(boxes[room], boxes[other], (index + 1) / (len(near) + 1)))
    style = "text{font-family:sans-serif;font-size:12px;fill:#223}.n{font-weight:bold;font-size:14px}.f{fill:#667}"
    head = (
        '<marker id="tip" markerWidth="9" markerHeight="9" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 8,4 0,8z" fill="#557"/></marker>'
    )
    size = f'width="{WIDTH}" height="{top:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:.0f}" {size}>\n'
        f"<style>{style}</style><defs>{head}</defs>\n"
        f'<rect {size} fill="#fff"/>\n' + "\n".join([*paths, *shapes]) + "\n</svg>\n"
    )


def _text_of(room: str, width: float) -> list[tuple[str, str]]:
    names = contents_of(room)
    most = int(width / 6.6)
    title = room.removeprefix("differnet.") + ("/" if names else ".py")
    promise = textwrap.wrap(promise_of(room), most)
    return [("n", title), *(("p", text) for text in promise)] + [
        ("f", text) for text in textwrap.wrap(names, most)
    ]


def _box(x: float, y: float, width: float, height: float, lines: list[tuple[str, str]]) -> str:
    place = f'x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}"'
    shape = f'<rect {place} rx="4" fill="#eef3fa" stroke="#36c"/>'
    texts = [
        f'<text class="{kind}" x="{x + 10:.0f}" y="{y + 20 + LINE * i:.0f}">{escape(text)}</text>'
        for i, (kind, text) in enumerate(lines)
    ]
    return "\n".join([shape, *texts])


def _arrow(start: tuple[float, ...], end: tuple[float, ...], share: float) -> str:
    x, y = start[0] + start[2] * share, start[1] + start[3]
    to_x, to_y = min(max(x, end[0] + 20), end[0] + end[2] - 20), end[1] - 2
    middle = (y + to_y) / 2
    path = f"M{x:.0f},{y:.0f} C{x:.0f},{middle:.0f} {to_x:.0f},{middle:.0f} {to_x:.0f},{to_y:.0f}"
    return f'<path d="{path}" fill="none" stroke="#557" marker-end="url(#tip)"/>'


def measured(graph: grimp.ImportGraph) -> tuple[Arrows, dict[str, int], list[str]]:
    """Return the arrows between packages, their floors, and what is wrong with them or inside of them."""
    rooms = sorted(graph.find_children("differnet") - {"differnet.__main__"})
    arrows = arrows_between(graph, rooms)
    floors, faults = floors_of(arrows), []
    print(f"{len(rooms)} packages on {max(floors.values())} floors, {sum(map(len, arrows.values()))} arrows")
    if max(floors.values()) > MOST_FLOORS:
        faults.append(
            f"the packages stand on {max(floors.values())} floors; at most {MOST_FLOORS} were wanted"
        )
    for folder in sorted(graph.find_descendants("differnet")):
        if not graph.find_children(folder):
            continue
        inside = max(floors_of(arrows_between(graph, graph.find_children(folder))).values())
        print(f"  {folder:40} {inside} floors inside")
        if inside > MOST_FLOORS_INSIDE:
            faults.append(f"{folder} has {inside} floors; at most {MOST_FLOORS_INSIDE} were wanted")
    return arrows, floors, faults


def main() -> None:
    """Draw, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    sys.path.insert(0, str(SOURCE.parent))
    graph = grimp.build_graph("differnet", exclude_type_checking_imports=True, cache_dir=None)
    try:
        arrows, floors, faults = measured(graph)
    except ValueError as circle:
        sys.exit(f"a circle: {circle}")
    picture = drawn(arrows, floors)
    if not check:
        PICTURE.write_text(picture)
        print(f"Look at {PICTURE.relative_to(ROOT)}")
    elif not PICTURE.exists() or PICTURE.read_text() != picture:
        faults.append(f"{PICTURE.relative_to(ROOT)} is not what the imports are: make architecture")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
