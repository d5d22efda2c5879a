"""Run the command line: differnet, or python -m differnet."""

from __future__ import annotations

import sys


def main() -> None:
    """Run it, or say what it lacks where a station has installed the runtime alone."""
    try:
        from differnet.cli.app import main as run
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] == "differnet":
            raise
        sys.exit(
            f"The command differnet needs {error.name}, which is not installed: pip install differnet. Where an "
            "engine, NumPy and Pillow are all there is, differnet.Inspector judges images from Python."
        )
    run()


if __name__ == "__main__":
    main()
