"""The shape of the code: imports go one way, importing the package is cheap, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "differnet"
ORDER = [
    "errors", "settings", "config", "seeds", "threads", "heap", "locks", "whole", "storage", "pixels", "deep_png",
    "decoding", "images", "squares", "frame", "anytime", "engines",
    "samples", "tables", "layouts", "datasets", "synthetic", "views", "weights",
    "backbone", "torch_runtime", "graph_check", "openvino_runtime",
    "onnx_runtime", "placement", "quantize", "reading", "gaussian",
    "flow", "score", "slopes",
    "metrics", "known", "groups", "calibrate", "standard", "gate", "light", "drift", "train", "features", "bank",
    "record", "evidence", "choice", "trial", "localize", "graphs", "formats", "artifact",
    "verdict", "station.folder", "station.inspector", "runtime",
    "station.inputs", "station.changes", "station.arrivals", "station.frames",
    "service.inspection", "service.tables", "service.migrations.versions.v0001_inspections",
    "service.migrations.versions.v0002_watch", "service.migrations.env",
    "service.database", "service.kept", "service.retention", "service.store", "service.page_files",
    "service.limits", "service.picture", "service.rates", "service.served", "service.line", "service.metrics",
    "service.logs", "service.keys", "service.schemas", "service.events", "service.guard", "service.running",
    "service.inspect_routes", "service.record_routes", "service.model_routes", "service.app", "service.serving",
    "service.outbox", "service.notify", "service.watching",
    "scorer", "preparing", "fitting", "crossfit", "recalibrate", "conversion",
    "detector", "export", "demo", "pictures", "charts", "findings", "report", "maps", "evaluate", "evaluation_files",
    "stopwatch", "plans", "published", "reproduction", "reports", "targets", "reproduction_files",
    "baselines.method", "baselines.ours", "baselines.classical", "baselines.pixels", "baselines.geotrans",
    "baselines.ganomaly", "baselines.dsebm", "baselines.adgan", "baselines.peers", "baselines.peer_flows",
    "baselines.catalogue", "cells", "compare", "comparison_table",
    "journal", "rows", "showcase", "watch", "places", "inventory", "parts", "intake", "judging", "cluster", "many",
    "console", "fleet", "telling", "options", "deciding", "reproduce_command",
    "compare_command", "scale_command", "score_command", "many_command", "export_command", "serve_command",
    "watch_options", "watch_telling", "watch_command", "cli", "__main__",
]  # fmt: skip
LEAVES = {
    "heap",
    "whole",
    "locks",
    "deep_png",
    "pixels",
    "seeds",
    "threads",
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
    "engines",
}
TORCH_FREE = [
    "runtime",
    *(module for module in ORDER if module.startswith("station.")),
]  # and all they import
FOREIGN = {"numpy", "PIL", "onnxruntime", "openvino"}  # what a station has installed
SERVED = [module for module in ORDER if module.startswith("service.")]
SERVING = {"fastapi", "starlette", "uvicorn", "pydantic", "sqlalchemy", "alembic", "prometheus_client"}


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


@pytest.mark.parametrize(
    ("modules", "installed"), [(TORCH_FREE, FOREIGN), (SERVED, FOREIGN | SERVING)], ids=["station", "service"]
)
def test_a_station_needs_nothing_that_it_has_not(modules, installed):
    """Of what it imports when it is imported; the rest is imported where it is needed, and said when it is missing."""
    needed, waiting = set(), list(modules)
    while waiting:
        module = waiting.pop()
        needed.add(module)
        waiting += imports(module) - needed
        tops = [
            node for node in ast.parse(source(module)).body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = [alias.name for node in tops if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module for node in tops if isinstance(node, ast.ImportFrom)]
        foreign = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"differnet"}
        assert foreign <= installed, module
    assert needed >= set(modules)


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
        "import sys; sys.argv = ['differnet', '--help']; import differnet.cli.app as c\n"
        "try: c.main()\nexcept SystemExit: print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == "False"


def test_what_decodes_on_a_cluster_imports_no_torch():
    code = (
        "import sys, differnet.batch.cluster.scoring, differnet.batch.cluster.loading\n"
        "print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["[]"]
