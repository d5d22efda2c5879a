"""The shape of the code: imports go one way, importing the package is cheap, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "differnet"
ORDER = [
    "errors", "settings", "config", "seeds", "threads", "heap", "locks", "storage", "pixels", "deep_png", "decoding",
    "images", "frame",
    "samples", "tables", "layouts", "datasets", "synthetic", "views", "weights",
    "backbone", "runtime", "graph_check", "openvino_runtime",
    "onnx_runtime", "placement", "quantize", "reading", "gaussian",
    "flow", "score",
    "metrics", "known", "groups", "calibrate", "anytime", "gate", "light", "drift", "train", "features", "bank",
    "record", "evidence", "choice", "trial", "localize", "formats", "artifact",
    "verdict", "scorer", "preparing", "fitting", "crossfit", "recalibrate", "conversion",
    "detector", "demo", "pictures", "charts", "findings", "report", "maps", "evaluate", "evaluation_files",
    "stopwatch", "plans", "published", "reproduction", "reports", "targets", "reproduction_files",
    "baselines.method", "baselines.ours", "baselines.classical", "baselines.pixels", "baselines.geotrans",
    "baselines.ganomaly", "baselines.dsebm", "baselines.adgan", "baselines.peers", "baselines.peer_flows",
    "baselines.catalogue", "cells", "compare", "comparison_table",
    "journal", "rows", "showcase", "watch", "places", "inventory", "parts", "intake", "judging", "cluster", "many",
    "console", "fleet", "telling", "options", "deciding", "reproduce_command",
    "compare_command", "scale_command", "score_command", "many_command", "cli", "__main__",
]  # fmt: skip
LEAVES = {
    "heap",
    "locks",
    "deep_png",
    "pixels",
    "seeds",
    "threads",
    "storage",
    "flow",
    "score",
    "metrics",
    "known",
    "groups",
    "calibrate",
    "anytime",
    "gate",
    "graph_check",
    "gaussian",
    "light",
    "drift",
}


def source(module):
    return (SOURCE / f"{module.replace('.', '/')}.py").read_text()


def imports(module):
    """Return the modules that one imports: their names below the package, with dots."""
    names = set()
    for node in ast.walk(ast.parse(source(module))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "differnet":
            home = node.module.partition(".")[2]
            found = {home} | {f"{home}.{alias.name}".strip(".") for alias in node.names}
            names |= {name for name in found if name in ORDER}
    return names


def test_every_module_has_its_place():
    found = [path.relative_to(SOURCE).with_suffix("") for path in SOURCE.rglob("*.py")]
    assert sorted(ORDER) == sorted(".".join(path.parts) for path in found if path.name != "__init__")


def test_subpackages_import_nothing_by_themselves():
    for path in SOURCE.glob("*/__init__.py"):
        assert not any(
            isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(path.read_text()).body
        )


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_down_the_list(module):
    above = set(ORDER[: ORDER.index(module)])
    assert imports(module) <= above


@pytest.mark.parametrize("module", sorted(LEAVES))
def test_leaves_import_only_errors(module):
    assert imports(module) <= {"errors"}


@pytest.mark.parametrize("module", ORDER)
def test_files_and_functions_stay_small(module):
    text = source(module)
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
