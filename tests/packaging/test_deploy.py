"""The files that start clusters can be read, have the shape that Ray wants, and hold no key."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.tiny import ROOT

yaml = pytest.importorskip("yaml", reason="the files of deploy/ are YAML")
DEPLOY = ROOT / "deploy"


def documents(name):
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def test_ray_up_would_take_the_cluster():
    ray = pytest.importorskip("ray", reason="its schema says what ray up takes")
    jsonschema = pytest.importorskip("jsonschema")
    (cluster,) = documents("ray-cluster.yaml")
    jsonschema.validate(cluster, json.loads(Path(ray.__path__[0], "autoscaler/ray-schema.json").read_text()))
    assert cluster["head_node_type"] in cluster["available_node_types"]
    starts = cluster["head_start_ray_commands"][-1] + cluster["worker_start_ray_commands"][-1]
    assert "--include-dashboard=false" in starts
    assert starts.count("--disable-usage-stats") == 2


def test_the_kuberay_job_has_a_head_and_workers_behind_a_policy():
    job, policy = documents("kuberay.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]["rayClusterSpec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
    (workers,) = spec["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert policy["kind"] == "NetworkPolicy"


def test_the_command_of_the_job_is_one_that_exists():
    from typer.testing import CliRunner

    from differnet.cli.app import app

    words = documents("kuberay.yaml")[0]["spec"]["entrypoint"].split()
    assert words[:2] == ["differnet", "score"]
    shown = CliRunner().invoke(app, ["score", "--help"], env={"COLUMNS": "200"}).output
    for word in words:
        assert not word.startswith("--") or word in shown


@pytest.mark.parametrize("name", ["ray-cluster.yaml", "kuberay.yaml"])
def test_no_key_stands_in_the_files(name):
    text = (DEPLOY / name).read_text()
    assert not re.search(r"AKIA[0-9A-Z]{16}|secret_access_key|password|BEGIN .*PRIVATE", text, re.IGNORECASE)


def test_the_unit_is_one_that_systemd_takes_and_its_options_exist(tmp_path):
    from typer.testing import CliRunner

    from differnet.cli.app import app

    text = (DEPLOY / "differnet.service").read_text()
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    for option in re.findall(r"(?<= )--[a-z-]+", text.partition("[Unit]")[2]):
        assert option in shown or option == "--timeout"
    start = re.search(r"^ExecStart=(\S+) serve ", text, re.MULTILINE)
    assert start is not None
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd here")
    unit = tmp_path / "differnet.service"
    unit.write_text(text.replace(start[1], shutil.which("true") or "/bin/true"))
    run = subprocess.run([tool, "verify", unit], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
