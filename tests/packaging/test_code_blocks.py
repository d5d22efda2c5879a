"""Every block of Python in README and manual is executed, and TOML read; test_tutorial.py has those of the tutorial."""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import shutil
import subprocess
import warnings
from datetime import datetime, timezone

import numpy as np
import pytest
from PIL import Image

from differnet import DifferNetWarning
from differnet.config import as_toml, presets
from differnet.config.documents import parse
from differnet.features.backbone import network
from support.tiny import ROOT, SMALL, defective_image, good_image


def script():
    spec = importlib.util.spec_from_file_location("code_blocks", ROOT / "scripts" / "code_blocks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BLOCKS = script().blocks()
# Where blocks are executed: here, in test_readme.py (README), and in test_tutorial.py.
EXECUTED = {
    "README.md": ["python"],
    "docs/howto/python.md": ["python"],
    "docs/station.md": ["python"],
    "docs/tutorial.md": ["console"] * 7 + ["python"] * 2,
    "docs/watch.md": ["python"],
}


def of(page, kind):
    (text,) = [text for found, text in BLOCKS[page] if found == kind]
    return text


def test_no_block_is_left_out():
    kinds = {
        page: sorted(kind for kind, _ in found if kind in script().EXECUTED) for page, found in BLOCKS.items()
    }
    assert {page: found for page, found in kinds.items() if found} == EXECUTED


def test_the_count_is_said(capsys):
    script().main()
    count = sum(map(len, EXECUTED.values()))
    assert f"{count} executed by tests" in capsys.readouterr().out


def test_the_block_of_the_estimator_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(presets, "PRESETS", {"default": presets.resolve("default", SMALL | {"epochs": 1})})
    build = network.build
    monkeypatch.setattr(network, "build", lambda settings, source: build(settings, source or "random"))
    given = {"good_images": np.stack([good_image(index) for index in range(24)])}
    given["new_images"] = np.stack([defective_image(index)[0] for index in range(2)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        exec(of("docs/howto/python.md", "python"), given)  # noqa: S102
    assert (tmp_path / "part.safetensors").is_file()
    assert set(given["detector"].predict(given["new_images"])) <= {-1, 1}


def test_the_block_of_the_station_runs(tmp_path, monkeypatch, capsys, tiny_station):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_station, "station")
    Image.fromarray(defective_image(0)[0]).save("new_part.png")
    exec(of("docs/station.md", "python"), {})  # noqa: S102
    verdict, p_value, percent = capsys.readouterr().out.split()
    assert verdict in ("OK", "review", "NG")
    assert 0 < float(p_value) <= 1
    assert float(percent) > 0


def test_the_block_of_the_webhook_lets_pass_what_is_signed_alone():
    webhooks = pytest.importorskip("standardwebhooks")
    given = {}
    exec(of("docs/watch.md", "python"), given)  # noqa: S102
    key, body, now = b"k" * 32, b'{"verdict": "NG"}', datetime.now(tz=timezone.utc)
    signed = webhooks.Webhook("whsec_" + base64.b64encode(key).decode()).sign("msg_1", now, body.decode())
    head = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signed,
    }
    assert given["checked"](head, body, key) == {"verdict": "NG"}
    with pytest.raises(webhooks.WebhookVerificationError):
        given["checked"](head, b'{"verdict": "OK"}', key)


def test_toml_is_what_it_says():
    resolved = presets.resolve("default", as_toml.read(of("docs/howto/choose.md", "toml"), "part.toml"))
    assert (resolved.flow.hidden, resolved.decision.rate) == (256, 0.05)
    table = parse(of("docs/watch.md", "toml"), "line.toml")
    assert set(table) <= {"serve", "watch"}


@pytest.mark.long
def test_the_block_that_installs_runs(tmp_path):
    """As it stands, in a copy of the project without dependencies, which make package installs."""
    (text,) = [text for kind, text in BLOCKS["docs/tutorial.md"] if kind == "" and "pip install" in text]
    for name in ("src", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    project = (tmp_path / "pyproject.toml").read_text()
    without = re.sub(r"^(dependencies|demo) = \[.*?\]$", r"\1 = []", project, flags=re.DOTALL | re.MULTILINE)
    assert without.count(" = []\n") == 2
    (tmp_path / "pyproject.toml").write_text(without)
    shell = shutil.which("bash") or "/bin/sh"
    surroundings = os.environ | {"PYTHONPATH": ""}
    said = "\npython -c 'import differnet; print(differnet.__file__)'\n"
    done = subprocess.run(
        [shell, "-ec", text + said], cwd=tmp_path, env=surroundings, capture_output=True, text=True
    )
    if done.returncode and "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("the build backend cannot be fetched here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(str(tmp_path / ".venv"))
