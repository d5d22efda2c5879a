"""What README and manual show: Python runs as it stands (with a tiny backbone), commands, options and links exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings

import pytest
from PIL import Image

from differnet import DifferNetWarning
from differnet.cli.app import app
from differnet.config import presets
from differnet.features.backbone import network
from support.tiny import ROOT, TINY, defective_image, good_image

README = (ROOT / "README.md").read_text()
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *ROOT.glob("docs/**/*.md"),
    )
    if "_build" not in path.parts
}
COMMAND = re.compile(r"^(?:\$ )?differnet ([\w-]+)((?:.*\\\n)*.*)$", flags=re.MULTILINE)
LINK = re.compile(r"\]\((?!http|#)([^)#]+)(?:#[^)]*)?\)")


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "good_parts").mkdir()
    for i in range(20):
        Image.fromarray(good_image(i)).save(tmp_path / "good_parts" / f"{i}.png")
    Image.fromarray(defective_image(0)[0]).save(tmp_path / "new_part.png")
    monkeypatch.chdir(tmp_path)
    tiny = presets.resolve("default", TINY | {"holdout": 0.3, "rate": 0.2})
    monkeypatch.setattr(presets, "PRESETS", {"default": tiny})
    build = network.build
    monkeypatch.setattr(network, "build", lambda settings, source: build(settings, source or "random"))
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        exec(example, {})  # noqa: S102
    verdict, shape = capsys.readouterr().out.splitlines()
    score, threshold, is_defective, p_value = verdict.split()
    assert (float(score) >= float(threshold)) == (is_defective == "True")
    assert 0 < float(p_value) <= 1
    assert shape == "(64, 64)"


def test_the_readme_is_short():
    assert README.count("\n") <= 100


def test_every_page_of_the_manual_was_found():
    assert {"README.md", "docs/index.md", "docs/tutorial.md", "docs/howto/commands.md"} <= PAGES.keys()


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if COMMAND.search(text)])
def test_every_command_and_option_that_is_shown_exists(page):
    from typer.main import get_command

    commands = get_command(app).commands
    for name, rest in COMMAND.findall(PAGES[page]):
        options = re.sub(r"\s#.*", "", rest)
        known = {flag for one in commands[name].params for flag in (*one.opts, *one.secondary_opts)}
        assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", options)) <= known, name


LINKS = sorted({(page, link) for page, text in PAGES.items() for link in LINK.findall(text)})


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_links_lead_somewhere(page, link):
    assert ((ROOT / page).parent / link).exists()


def test_every_page_is_in_the_manual():
    index = PAGES["docs/index.md"]
    named = {f"docs/{line}.md" for line in re.findall(r"^[\w/-]+$", index, flags=re.MULTILINE)}
    folders = {f"docs/{line}" for line in re.findall(r"^([\w/-]+)/\*$", index, flags=re.MULTILINE)}
    pages = {page for page in PAGES if page.startswith("docs/")} - {"docs/index.md"}
    assert {page for page in pages - named if page.rpartition("/")[0] not in folders} == set()


def test_the_pages_of_settings_and_options_are_what_the_code_says():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reference.py", "--check"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_variable_that_is_read_is_described():
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    read = set(re.findall(r"[\"$(`](DIFFERNET_[A-Z_]*[A-Z])[\"`. )]", source))
    assert {"DIFFERNET_THREADS", "DIFFERNET_STORE_PASSWORD", "DIFFERNET_WEBHOOK_KEY"} <= read
    assert {name for name in read if name not in PAGES["docs/reference/environment.md"]} == set()
