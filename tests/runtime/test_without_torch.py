"""The station where NumPy, Pillow and one engine are all that is installed."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

import differnet
from differnet import Inspector
from differnet.errors import (
    MissingExtraError,
)
from differnet.runtime import engines
from support.stations import pictures

ABSENT = (
    "torch",
    "torchvision",
    "timm",
    "scipy",
    "sklearn",
    "pydantic",
    "safetensors",
    "tifffile",
    "imagecodecs",
    "typer",
)


def linked(names, target):
    """Link what these distributions and those they need have installed into ``target``, torch's not."""
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found = metadata.distribution(name)
        for top in {
            file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")
        }:
            if not (target / top).exists():
                (target / top).symlink_to(found.locate_file(top))
        needed = [re.match(r"[\w.-]+", line)[0] for line in found.requires or () if "extra" not in line]
        waiting += [one for one in needed if is_installed(one)]
    return seen


def is_installed(name):
    try:
        return metadata.distribution(name) is not None
    except metadata.PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment without pip, into which NumPy, Pillow, an engine and what they need are linked."""

    def make(engine):
        root = tmp_path_factory.mktemp(f"environment-{engine}")
        venv.create(root, with_pip=False, symlinks=True)
        (packages,) = root.glob("lib/python*/site-packages")
        seen = linked(["numpy", "pillow", engine], packages)
        assert not seen & {"torch", "scipy", "pydantic"}
        (packages / "differnet").symlink_to(Path(differnet.__file__).parent)
        return root / "bin" / "python"

    return make


@pytest.mark.skipif(sys.platform == "win32", reason="links files into an environment")
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_it_runs_in_an_environment_without_torch(upright, fixed, environment, engine, tmp_path, request):
    """In one that has NumPy, Pillow and the engine alone, by the names that the documentation gives."""
    pytest.importorskip(engine)
    place = fixed
    if engine == "onnxruntime":
        place, _ = request.getfixturevalue("upright_onnx")
    Image.fromarray(pictures()[1]).save(tmp_path / "part.png")
    code = (
        "import importlib.util as u, sys\n"
        f"print([name for name in {ABSENT!r} if u.find_spec(name) is not None])\n"
        "import differnet\n"
        "from differnet.runtime import Inspector\n"
        "assert Inspector is differnet.Inspector\n"
        f"found = Inspector({str(place)!r}).predict({str(tmp_path / 'part.png')!r}, heat_map=True)\n"
        "print(repr(found.score), found.verdict, found.p_value, found.heat_map.shape)\n"
    )
    python = environment(engine)
    run = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    present, found = run.stdout.splitlines()
    score, verdict, p_value, shape = found.split(maxsplit=3)
    wanted = upright.predict(pictures()[1])
    assert present == "[]"
    assert float(score) == pytest.approx(wanted.score, rel=1e-4)
    assert (verdict, float(p_value), shape) == (wanted.verdict, wanted.p_value, "(64, 64)")
    command = [python, "-m", "differnet", "score"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 1
    assert re.fullmatch(r"The command differnet needs \w+, .* pip install differnet\. .*\n", run.stderr)


def test_without_an_engine_the_command_that_installs_it_is_named(fixed, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    engines._core.cache_clear()
    with pytest.raises(MissingExtraError, match="pip install openvino"):
        Inspector(fixed)
