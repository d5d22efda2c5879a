"""The shape of the code: which packages there are, how large they are, and what a station does without.

Which package may import which is the contract in ``pyproject.toml``; ``lint-imports`` holds the code to it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import differnet

SOURCE = Path(differnet.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
AT_THE_LINE = ("data", "decision", "runtime")
STATION = {"numpy", "PIL", "onnxruntime", "openvino"}  # what a station has installed
SERVICE = {
    "fastapi",
    "starlette",
    "uvicorn",
    "pydantic",
    "sqlalchemy",
    "alembic",
    "prometheus_client",
    "zipstream",
}
MOST_LINES = 330
MOST_LINES_OF_A_FUNCTION = 45


def name_of(path):
    return str(path.relative_to(SOURCE))


def imports_at_the_top(path):
    """Return the packages that a module imports when it is imported; the rest waits until it is needed."""
    nodes = ast.parse(path.read_text()).body
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)


def test_the_top_folder_has_at_most_thirteen_entries():
    """Beside the door for those who come from scikit-learn."""
    entries = {path.name for path in SOURCE.iterdir()} - {"sklearn.py"}
    assert len(entries - {"__init__.py", "__main__.py", "py.typed", "__pycache__"}) <= 13


def test_no_folder_is_crowded():
    crowded = {}
    for folder in [path for path in SOURCE.rglob("*") if path.is_dir() and path.name != "page"]:
        count = len([path for path in folder.glob("*.py") if path.name != "__init__.py"])
        if count > 13:
            crowded[name_of(folder)] = count
    assert crowded == {}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("__init__.py")), ids=name_of)
def test_packages_say_what_they_promise_and_import_nothing_of_it_by_themselves(path):
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert imports_at_the_top(path) == set()


def too_long(path):
    """Return the name of a module that is too long, and of the functions in it that are."""
    text, name = path.read_text(), path.relative_to(SOURCE).as_posix()
    found = {name} if text.count("\n") > MOST_LINES else set()
    for node in ast.walk(ast.parse(text)):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and node.end_lineno - node.lineno > MOST_LINES_OF_A_FUNCTION:
            found.add(f"{name}:{node.name}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_stay_small(path):
    assert too_long(path) == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_judges_at_the_line_needs_nothing_that_a_station_has_not(path):
    package = path.relative_to(SOURCE).parts[0]
    if package in AT_THE_LINE:
        assert imports_at_the_top(path) <= STATION | {"differnet"}
    elif package == "service":
        assert imports_at_the_top(path) <= STATION | SERVICE | {"differnet"}


def loaded_by(code, *names):
    """Return which of the modules ``names`` are there after ``code`` has run in a fresh process."""
    after = f"\nimport sys; print(*sorted({set(names)!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code + after], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()[-1].split()


def test_asking_the_version_imports_no_torch():
    assert loaded_by("import differnet; differnet.__version__", "torch", "numpy") == []


def test_help_imports_no_torch():
    code = (
        "import sys; sys.argv = ['differnet', '--help']; import differnet.cli.app as c\n"
        "try: c.main()\nexcept SystemExit: pass"
    )
    assert loaded_by(code, "torch", "numpy", "pydantic") == []


def test_to_fit_and_score_with_the_default_network_imports_no_other(tmp_path):
    """timm, torchvision and scikit-learn take 3 seconds and 0.3 GB, of which the default uses nothing."""
    code = (
        "import numpy as np, differnet\n"
        "good = [np.random.default_rng(n).integers(0, 256, (64, 64, 3), dtype=np.uint8) for n in range(8)]\n"
        "fitted = differnet.DifferNet('default', epochs=1, min_steps=0, blocks=1).fit(good)\n"
        f"fitted.save({str(tmp_path / 'm.safetensors')!r})\n"
        f"differnet.DifferNet.load({str(tmp_path / 'm.safetensors')!r}).predict(good[0], heat_map=True)"
    )
    assert loaded_by(code, "timm", "torchvision", "torch._dynamo", "sklearn", "pandas", "scipy.stats") == []


def test_the_server_of_the_studio_imports_no_torch():
    pytest.importorskip("fastapi")
    assert loaded_by("import differnet.studio.http.server", "torch", "scipy", "matplotlib") == []


def test_what_decodes_on_a_cluster_imports_no_torch():
    code = "import differnet.batch.cluster.scoring, differnet.batch.cluster.loading"
    assert loaded_by(code, "torch", "matplotlib") == []
