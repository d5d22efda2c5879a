"""The shape of the code: imports go one way, importing the package is cheap, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "differnet"
ORDER = [
    "errors", "settings", "config", "seeds", "threads", "storage", "pixels", "deep_png", "decoding", "images",
    "frame", "datasets", "synthetic", "views", "weights",
    "backbone", "runtime", "graph_check",
    "openvino_runtime", "onnx_runtime", "placement", "quantize", "reading", "gaussian",
    "flow", "score",
    "metrics", "calibrate", "anytime", "gate", "train", "features", "bank", "evidence",
    "choice", "trial", "localize", "formats", "artifact",
    "verdict", "scorer", "fitting", "conversion", "detector", "demo", "pictures", "evaluate", "evaluation_files",
    "journal", "rows", "showcase", "console", "telling", "cli", "__main__",
]  # fmt: skip
LEAVES = {
    "deep_png",
    "pixels",
    "seeds",
    "threads",
    "storage",
    "flow",
    "score",
    "metrics",
    "calibrate",
    "anytime",
    "gate",
    "graph_check",
    "gaussian",
}


def imports(module):
    tree = ast.parse((SOURCE / f"{module}.py").read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "differnet":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("differnet."):
            names.add(node.module.split(".")[1])
    return names & set(ORDER)


def test_every_module_has_its_place():
    assert sorted(ORDER) == sorted(p.stem for p in SOURCE.glob("*.py") if p.stem != "__init__")


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_down_the_list(module):
    above = set(ORDER[: ORDER.index(module)])
    assert imports(module) <= above


@pytest.mark.parametrize("module", sorted(LEAVES))
def test_leaves_import_only_errors(module):
    assert imports(module) <= {"errors"}


@pytest.mark.parametrize("module", ORDER)
def test_files_and_functions_stay_small(module):
    text = (SOURCE / f"{module}.py").read_text()
    assert text.count("\n") <= 350
    long = [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > 60
    ]
    assert long == []


def test_asking_the_version_imports_no_torch():
    code = (
        "import differnet, sys; differnet.__version__; print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


def test_help_imports_no_torch():
    code = (
        "import sys; sys.argv = ['differnet', '--help']; import differnet.cli as c\n"
        "try: c.main()\nexcept SystemExit: print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == "False"
