"""The extras: what the default does not use is not installed, and where it is wanted the error names the command."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from differnet.cli.app import app
from differnet.config import sections
from differnet.errors import MissingExtraError
from differnet.evaluation import plots
from differnet.features.backbone import select
from support.tiny import ROOT, write_pictures

PROJECT = (ROOT / "pyproject.toml").read_text()
EXTRAS = PROJECT.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
NAMES = set(re.findall(r"^(\w+) = \[", EXTRAS, re.MULTILINE))
OPTIONAL = ("imagecodecs", "matplotlib", "nncf", "onnxruntime", "onnxscript", "pyarrow", "skimage")
# A finder that finds none of them, whatever is installed.
WITHOUT = f"""
import sys, importlib.abc, importlib.util
class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Nothing())
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {OPTIONAL} else found(name, package)
"""


def test_every_pip_command_of_an_error_names_an_extra_that_exists():
    named = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for names in re.findall(r"pip install\W+differnet\[([\w,]+)\]", path.read_text())
        for name in names.split(",")
    }
    command = (ROOT / "src/differnet/cli/serve.py").read_text()
    named |= set(re.findall(r'extra: str = "(\w+)"', command))  # of a message that is put together
    assert {"codecs", "int8", "plots", "demo", "onnx", "serve", "watch"} <= named
    assert named <= NAMES


def test_no_dependency_stands_among_extras_too():
    needed = PROJECT.partition("\ndependencies = [\n")[2].partition("\n]")[0]
    packages = set(re.findall(r'^\s*"([\w-]+)', needed, re.MULTILINE))
    optional = set(re.findall(r'"([\w-]+)[\[>]', EXTRAS))
    assert len(packages) > 12
    assert packages & optional == set()


@pytest.mark.slow
def test_fit_score_and_report_want_no_extra(tmp_path):
    good = write_pictures(tmp_path / "good", 24)
    code = WITHOUT + (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from typer.testing import CliRunner\n"
        "from differnet.cli.app import app\n"
        "from differnet.config import presets\n"
        "from differnet.features.backbone import network\n"
        "from support.tiny import TINY\n"
        "tiny = presets.resolve('default', TINY | {'epochs': 2, 'precision': 'auto', 'runtime': 'auto'})\n"
        "presets.PRESETS['default'] = tiny\n"
        "build = network.build\n"
        "network.build = lambda settings, source: build(settings, source or 'random')\n"
        f"for words in (['fit', {str(good)!r}, '--out', 'm'], ['score', 'm', {str(good)!r}, '--maps', 'maps'],\n"
        f"              ['report', 'm', {str(good)!r}, '--out', 'page.html']):\n"
        "    words = [str(__import__('pathlib').Path(sys.argv[1], word)) if word in ('m', 'maps', 'page.html')\n"
        "             else word for word in words]\n"
        "    done = CliRunner().invoke(app, words)\n"
        "    assert done.exit_code == 0, (words, done.output, done.exception)\n"
        "    print(done.output)\n"
        "print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.endswith("done\n"), done.stderr
    assert "pip install 'differnet[int8]'" in " ".join(done.stdout.split())
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert len(list((tmp_path / "maps").iterdir())) == 48


@pytest.mark.parametrize(
    "words",
    [
        ["demo", "--out", "x"],
        ["evaluate", "{root}", "--out", "x"],
        ["reproduce", "table2", "{root}", "--out", "x", "--weights", "random"],
    ],
)
def test_figures_are_refused_before_anything_is_fitted(monkeypatch, tmp_path, mvtec_root, words):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        plots.importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name)
    )
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [word.format(root=mvtec_root) for word in words])
    assert done.exit_code == 2
    assert "pip install 'differnet[plots]'" in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []


def test_a_figure_itself_says_it_as_well(monkeypatch, tmp_path):
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"differnet\[plots\]"):
        plots.count_picture(tmp_path / "a.png", [(1, [0.5])], "title")


@pytest.mark.parametrize(
    ("settings", "installed", "lacks"),
    [
        ({}, {"openvino"}, True),
        ({}, {"openvino", "nncf"}, False),
        ({}, {"onnxruntime", "onnxscript"}, False),
        ({"precision": "f32"}, {"openvino"}, False),
        ({"backbone": "vit_small_patch14_dinov2.lvd142m"}, {"openvino"}, False),
    ],
)
def test_integers_are_missed_where_nncf_alone_is_missing(monkeypatch, settings, installed, lacks):
    monkeypatch.setattr(select, "_is_installed", lambda package: package in installed)
    asked = sections.Backbone(**settings)
    assert select.lacks_integers(asked, "cpu") is lacks
    assert not select.lacks_integers(asked, "cuda")
