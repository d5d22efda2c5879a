"""The tutorial, run from its page: with a tiny backbone quickly, and as it stands, beside the output that it shows."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
import warnings

import pytest
from typer.testing import CliRunner

from differnet import DifferNetWarning
from differnet.cli.app import app
from differnet.config import presets
from differnet.evaluation.demo import write_demo_data
from differnet.features.backbone import network
from support.tiny import COMBINED, ROOT

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
RUN = [(kind, text) for kind, text in BLOCKS if kind in ("console", "python")]
MADE = ("brick.safetensors", "verdicts.csv", "report.html")


def command_of(block):
    first = block.partition("\n")[0]
    assert first.startswith("$ differnet ")
    return shlex.split(first)[2:]


def shown_after(block):
    """Return what the page shows that a block says: below its command, or in the block of text that follows."""
    kind, text = block
    if kind == "console":
        return text.partition("\n")[2]
    following = BLOCKS[BLOCKS.index(block) + 1]
    assert following[0] == "text"
    return following[1]


def pattern_of(shown):
    """Return what output must look like: any numbers where there are numbers, anything where there are dots."""
    lines = []
    for line in shown.splitlines():
        words = re.escape(re.sub(r"\s+", " ", line))
        words = re.sub(r"\d+(?:\\\.\d+)?(?:e\\-\d+)?", r"[\\d.e+-]+", words)
        lines.append(words.replace(r"\.\.\.", ".*"))
    return "\\s*".join(line.replace(r"\ ", r"\s+") for line in lines) + r"\s*"


def test_only_the_commands_that_install_are_not_run():
    assert [kind for kind, _ in BLOCKS].count("console") == 7
    assert [kind for kind, _ in BLOCKS].count("python") == 2
    (install,) = [text for kind, text in BLOCKS if kind == ""]
    assert "pip install" in install


def test_what_is_shown_can_be_told_from_something_else():
    assert re.fullmatch(
        pattern_of("OK  1.5  7%\n...\nOpen it"), "OK 22.25   9%\nmore\nand more\nOpen it\n", re.DOTALL
    )
    assert not re.fullmatch(pattern_of("OK 1.5 7%"), "NG 1.5 7%", re.DOTALL)
    assert not re.fullmatch(pattern_of("OK 1.5 7%"), "OK 1.5 7%\nmore", re.DOTALL)


def test_blocks_run_with_a_tiny_backbone(tmp_path, monkeypatch):
    """All but the demo, which takes minutes, and the station, whose graphs take seconds: see the last test."""
    monkeypatch.chdir(tmp_path)
    write_demo_data(tmp_path / "demo-output/data/seed-0", 0, ("brick",))  # what the demo leaves
    for path in tmp_path.glob("demo-output/data/seed-0/brick/t*/*/*[4-7].png"):
        path.unlink()
    tiny = presets.resolve("default", COMBINED | {"min_steps": 5})
    monkeypatch.setattr(presets, "PRESETS", {"default": tiny})
    build = network.build
    monkeypatch.setattr(network, "build", lambda settings, source: build(settings, source or "random"))
    blocks = [block for block in RUN if not re.search(r"differnet demo|station", block[1])]
    assert len(blocks) == len(RUN) - 3
    for block in blocks:
        kind, text = block
        if kind == "console":
            done = CliRunner().invoke(app, command_of(text))
            assert done.exit_code == 0, (text, done.output)
            assert done.stdout
        else:
            said = _said_by(text)
            assert [line for line in said if re.fullmatch(r"(OK|review|NG) \d+ %", line)] == said
            assert len(said) == len(shown_after(block).splitlines()) == 2
    assert [name for name in MADE if not (tmp_path / name).is_file()] == []


def _said_by(text):
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()) as said:
        warnings.simplefilter("ignore", DifferNetWarning)
        exec(text, {})  # noqa: S102
    return said.getvalue().splitlines()


@pytest.mark.long
@pytest.mark.slow
def test_every_block_says_what_the_page_shows(tmp_path):
    environment = os.environ | {"COLUMNS": "200"}
    for block in RUN:
        kind, text = block
        call = ["-m", "differnet", *command_of(text)] if kind == "console" else ["-c", text]
        done = subprocess.run(
            [sys.executable, *call], cwd=tmp_path, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, (text, done.stderr)
        assert re.fullmatch(pattern_of(shown_after(block)), done.stdout, re.DOTALL), (text, done.stdout)


def test_a_newcomer_needs_five_commands_and_the_page_shows_those_of_the_script(tmp_path, monkeypatch):
    """They are run here with a tiny backbone, and by scripts/newcomer.py in a clean environment."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    newcomer = importlib.import_module("newcomer")
    shown = PAGE.partition(newcomer.BEGIN)[2].partition(newcomer.END)[0]
    commands = re.findall(r"^\$ (.*)$", shown, flags=re.MULTILINE)
    assert commands == list(newcomer.COMMANDS)
    assert len(commands) <= 5
    newcomer.draw(tmp_path)
    for path in tmp_path.glob("good_parts/*[4-7].png"):
        path.unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(presets, "PRESETS", {"fast": presets.resolve("default", COMBINED | {"min_steps": 5})})
    build = network.build
    monkeypatch.setattr(network, "build", lambda settings, source: build(settings, source or "random"))
    for command in commands[2:]:
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, (command, done.output)
    assert (tmp_path / "report.html").is_file()
    assert len(list((tmp_path / "maps").iterdir())) == 12
    assert shown.count("new_parts/") == 6
    assert "Open report.html" in shown
