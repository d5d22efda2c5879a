"""Ask a server what its /openapi.json allows and forbids, by schemathesis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def asks(address, folder, checks, *more):
    """Fail where an answer is not what the document of a server says; ``more``: further options."""
    tool = Path(sys.executable).with_name("schemathesis")
    if not tool.exists():
        pytest.skip("schemathesis is not installed")
    command = [tool, "run", f"{address}/openapi.json", "--checks", ",".join(checks), "--max-examples", "10"]
    command += ["--seed", "1", "--phases", "examples,coverage,fuzzing", "--request-timeout", "60", *more]
    run = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=folder)
    assert run.returncode == 0, run.stdout[-5000:]
