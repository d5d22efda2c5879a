"""Count the code blocks of README and manual by kind: python scripts/code_blocks.py; tests hold what it says.

Python and console blocks are executed (tests/packaging), TOML is read, and of plain blocks each command and option of
differnet is looked up.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\S*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
EXECUTED, READ = ("python", "console"), ("toml",)


def blocks() -> dict[str, list[tuple[str, str]]]:
    """Return kind and text of each block, by page; pages that programs write show what was run, and are left out."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    kept = [page for page in pages if not {"_build", "results"} & set(page.parts)]
    return {page.relative_to(ROOT).as_posix(): BLOCK.findall(page.read_text()) for page in kept}


def main() -> None:
    """Print one line."""
    kinds = Counter(kind for found in blocks().values() for kind, _ in found if not kind.startswith("{"))
    executed, read = (sum(kinds[kind] for kind in names) for names in (EXECUTED, READ))
    print(
        f"Code blocks in README and manual: {executed} executed by tests (Python and console), {read} read (TOML), of "
        f"{kinds['']} plain ones each command and option looked up, {kinds['text']} of output compared"
    )


if __name__ == "__main__":
    main()
