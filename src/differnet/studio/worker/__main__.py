"""Run one job: ``python -m differnet.studio.worker FOLDER``, whose ``job.json`` says what is wanted."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from differnet.errors import DifferNetError, DifferNetWarning, in_words
from differnet.runtime.memory import keep_large_tables_apart
from differnet.runtime.threads import use as use_threads
from differnet.studio.worker.telling import Teller, apart, end_with_parent


def main() -> int:
    """Do the job of the folder that is given; 0 when it is done, 1 when it failed, for the reason that was said."""
    own = apart()

    def write(line: str) -> None:
        own.write(line)
        own.flush()

    tell = Teller(write)
    end_with_parent()
    keep_large_tables_apart()
    use_threads(None)

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        print(f"{category.__name__}: {message}", file=sys.stderr)
        if issubclass(category, DifferNetWarning):
            tell.say(warning=str(message))

    for name in ("tifffile", "PIL"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("always", DifferNetWarning)
        warnings.showwarning = show
        try:
            work(Path(sys.argv[1]), tell)
        except (DifferNetError, OSError) as error:
            tell.say(error=in_words(error))
            return 1
        except Exception:
            traceback.print_exc()
            return 1
    return 0


def work(folder: Path, tell: Teller) -> None:
    """Do what the folder's ``job.json`` wants."""
    tell("starting", 0, 1)
    wanted = json.loads((folder / "job.json").read_bytes())
    if wanted["kind"] == "fit":
        from differnet.studio.worker.fit import fit

        fit(folder, wanted, tell)
    elif wanted["kind"] == "judge":
        from differnet.studio.worker.judge import judge

        judge(folder, wanted, tell)
    else:
        from differnet.studio.worker.ship import ship

        ship(folder, wanted, tell)


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # all is on disk, and to give up what has computed would take seconds
