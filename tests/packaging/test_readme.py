"""The Python example of the README runs as it stands (with a tiny backbone in place of the default one)."""

from __future__ import annotations

import re
import warnings

import pytest
from PIL import Image

from differnet import DifferNetWarning
from differnet.cli.app import app
from differnet.config import presets
from differnet.features.backbone import network
from support.tiny import ROOT, TINY, defective_image, good_image

README = (ROOT / "README.md").read_text()


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


def test_every_command_and_option_of_the_readme_exists():
    from typer.main import get_command

    commands = get_command(app).commands
    for name, options in re.findall(r"^differnet (\w+)((?:.*\\\n)*.*)$", README, flags=re.MULTILINE):
        known = {flag for parameter in commands[name].params for flag in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", options)) <= known, name


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)]+)\)", README))))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()
