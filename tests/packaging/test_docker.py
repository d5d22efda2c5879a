"""The image: what it installs is what pyproject.toml says, and no more files get into it than are named."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys

import pytest

from support.tiny import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
# of the dependencies, what needs no torch
STATION = {"numpy", "pillow", "rich", "tifffile", "tomli", "typer"}


def table(name):
    """Return a list of strings of pyproject.toml, without the help of Python 3.11's tomllib."""
    found = re.search(
        rf"^{name} = \[(.*?)\]\n", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE
    )
    return set(re.findall(r'"([^"]+)"', found[1])) if found else set()


def extra(name):
    """Return the requirements of an extra, which may contain brackets."""
    text = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2]
    found = re.search(rf"^{name} = \[(.*?)\]$", text, re.DOTALL | re.MULTILINE)
    return set(re.findall(r'"([^"]+)"', found[1]))


def script():
    spec = importlib.util.spec_from_file_location("check_docker", ROOT / "scripts" / "check_docker.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_installs_what_the_extras_say_and_what_a_station_needs():
    lines = (ROOT / "docker" / "requirements.txt").read_text().splitlines()
    found = {line for line in lines if not line.startswith("#")}
    needed = {line for line in table("dependencies") if re.split(r"[>=<;\[]", line)[0] in STATION}
    assert len(needed) == len(STATION)
    assert found == needed | extra("codecs") | extra("serve") | extra("watch") | extra("postgres")
    assert not any("torch" in line for line in found)


def test_it_runs_without_rights_and_says_whether_it_is_healthy():
    last = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[-1]
    assert re.search(r"^USER 10001$", last, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*health\.py", last, re.MULTILINE)
    assert "--no-deps ." in DOCKERFILE


def test_every_file_that_is_copied_is_let_in_and_there():
    allowed = set((ROOT / ".dockerignore").read_text().splitlines())
    assert "*" in allowed
    steps = script().steps(DOCKERFILE)
    assert [name for name, _ in steps] == ["ARG", "WORKDIR", "COPY", "RUN", "COPY", "COPY", "RUN"]
    copied = [source for name, rest in steps if name == "COPY" for source in rest.split()[:-1]]
    for source in [*copied, "docker/health.py"]:
        assert f"!{source}" in allowed
        assert (ROOT / source).exists()


def test_the_health_check_fails_where_nobody_answers():
    done = subprocess.run(
        [sys.executable, ROOT / "docker" / "health.py", "1"], capture_output=True, timeout=60
    )
    assert done.returncode == 1


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_has_nothing_to_say():
    subprocess.run([shutil.which("hadolint"), ROOT / "Dockerfile"], check=True, timeout=60)
