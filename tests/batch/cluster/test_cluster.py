"""The same rows and figures from a Ray cluster as from this machine alone, whoever is killed meanwhile."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import differnet
from differnet import DifferNet
from differnet.batch.cluster import inventory, parts, scoring, session
from differnet.batch.cluster.worker import Parcel
from differnet.batch.rows import inputs, judge_all
from differnet.cli.app import app
from differnet.errors import ClusterError, ConfigError, MissingExtraError
from support.tiny import OPTIONS, TESTS, TINY, good_image, save, write_table

if not importlib.util.find_spec("ray"):  # not imported here: Ray must be told first where to listen
    pytest.skip("a cluster needs Ray: pip install 'differnet[ray]'", allow_module_level=True)
pytestmark = pytest.mark.slow
RUN = CliRunner()
SOURCES = Path(differnet.__file__).parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiles")
    for index in range(60):
        save(root / f"{index:02}.png", good_image(500 + index))
    (root / "07-bad.png").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def model(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    detector.save(path)
    return path


@pytest.fixture(scope="module")
def wanted(detector, folder):
    return list(judge_all(detector, inputs([folder], "skip"), None, lambda *_: None, on_error="skip"))


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    """One Ray for all tests of this file, whose workers see the sources that the tests see."""
    before = os.environ.get("PYTHONPATH")
    places = [str(SOURCES), str(TESTS), str(Path(__file__).parent)]
    os.environ["PYTHONPATH"] = os.pathsep.join([*places, *filter(None, [before])])
    try:
        with session.connected() as found:
            yield found
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def rows_in(out):
    from pyarrow import parquet

    return [
        row
        for file in sorted(Path(out).glob("part-*.parquet"))
        for row in parquet.read_table(file).to_pylist()
    ]


def arguments(model, folder, out, *more):
    return ["score", str(model), str(folder), "--engine", "ray", "--out", str(out), "--part", "8", *more]


def test_ray_of_its_own_listens_on_this_machine_alone(ray):
    import psutil

    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
    found = {
        connection.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    }
    assert found
    assert found <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_rows_equal_those_of_the_local_engine_bit_for_bit(ray, model, folder, wanted, tmp_path):
    out = tmp_path / "rows"
    done = RUN.invoke(app, arguments(model, folder, out, "--json"))
    assert done.exit_code == 3, done.output
    assert rows_in(out) == wanted
    found = json.loads(done.stdout)
    assert (found["images"], found["skipped"]) == (61, 1)
    again = RUN.invoke(app, arguments(model, folder, out))
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    for part in (0, 5):
        (out / parts.name_of(part)).unlink()
    kept = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    assert RUN.invoke(app, arguments(model, folder, out, "--resume")).exit_code == 3
    assert rows_in(out) == wanted
    assert all(file.stat().st_mtime_ns == kept[file] for file in kept)


@pytest.mark.long
def test_a_worker_that_is_killed_loses_no_row(ray, model, folder, wanted, tmp_path):
    run, task = begun(ray, model, folder, tmp_path / "rows")
    killed = []

    def kill_one(stage, done, total):
        victims = judging_processes()
        if len(killed) < 2 and done > 8 * len(killed) and victims:
            os.kill(victims[0], signal.SIGKILL)
            killed.append(victims[0])

    scoring.score(ray, run, task, kill_one)
    assert killed
    assert rows_in(tmp_path / "rows") == wanted


@pytest.mark.long
def test_a_model_that_cannot_be_loaded_there_says_why(ray, model, folder, tmp_path):
    run, task = begun(ray, model, folder, tmp_path / "rows", version="0.0.0")
    with pytest.raises(ConfigError, match=r"on a worker and 0\.0\.0 here"), session.connected():
        scoring.score(ray, run, task, lambda *_: None)


@pytest.mark.long
def test_fits_of_many_keys_are_those_of_the_local_engine(ray, tmp_path):
    table = write_table(tmp_path, ["a", "b", "poisoned"], "poisoned")
    figures = {}
    for engine in ("local", "ray"):
        out = tmp_path / engine
        done = RUN.invoke(app, ["fit-many", str(table), "--out", str(out), "--engine", engine, *OPTIONS])
        assert done.exit_code == 3, done.output
        found = json.loads((out / "summary.json").read_text())
        assert found["failed"] == ["poisoned"]
        figures[engine] = [{**row, "fit_seconds": None} for row in found["keys"]]
    assert figures["ray"] == figures["local"]


@pytest.mark.long
def test_work_whose_process_dies_each_time_is_one_error(ray):
    found = dict(session.each(ray, _die_or_double, [1, -1, 3]))
    assert (found[0], found[2]) == (2, 6)
    assert isinstance(found[1], ClusterError)


def _die_or_double(number):
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


@pytest.mark.long
def test_evaluate_and_reproduce_have_the_figures_of_the_local_engine(ray, categories, tmp_path):
    documents = []
    for engine in ("local", "ray"):
        out = tmp_path / engine
        done = RUN.invoke(
            app,
            ["evaluate", str(categories), "--seeds", "2", "--engine", engine, "--out", str(out), *OPTIONS],
        )
        assert done.exit_code == 0, done.output
        assert (out / "screw" / "gallery.png").is_file()
        documents.append((out / "screw" / "scores.csv").read_text())
    assert documents[0] == documents[1]
    tables = []
    for engine in ("local", "ray"):
        out = tmp_path / f"{engine}-table1"
        command = ["reproduce", "table1", str(categories), "--seeds", "2", "--shots", "4", "--engine", engine]
        done = RUN.invoke(app, [*command, "--out", str(out), *OPTIONS])
        assert done.exit_code == 0, done.output
        assert len(list((out / "cells").glob("*.json"))) == 8
        if engine == "ray":  # the report found every cell computed
            assert done.stderr.count("kept from before") == 8
        tables.append((out / "table1.csv").read_text())
    assert tables[0] == tables[1]


@pytest.mark.long
def test_a_driver_that_is_killed_goes_on_without_loss(model, folder, wanted, tmp_path):
    out = tmp_path / "rows"
    command = [sys.executable, "-m", "differnet", *arguments(model, folder, out, "--resume")]
    names = {"PYTHONPATH": str(SOURCES), "DIFFERNET_THREADS": "1"}
    started = subprocess.Popen(
        command, env=os.environ | names, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 300
    while not (out / parts.name_of(2)).exists() and started.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGKILL)
    started.wait(30)
    before = len(rows_in(out))
    assert before < 61, "it was done before it could be killed"
    done = subprocess.run(command, env=os.environ | names, capture_output=True, text=True, timeout=400)
    assert done.returncode == 3, done.stderr
    assert rows_in(out) == wanted


def test_options_that_only_the_local_engine_knows_are_refused(model, folder, tmp_path):
    for more in (["--maps", str(tmp_path)], ["--all-pages"], ["--on-error", "fail"], ["--engine", "dask"]):
        assert RUN.invoke(app, arguments(model, folder, tmp_path / "o", *more)).exit_code == 2
    nowhere = ["score", str(model), str(folder), "--address", "auto"]
    assert RUN.invoke(app, nowhere).exit_code == 2
    assert RUN.invoke(app, ["score", str(model), str(folder), "--engine", "ray"]).exit_code == 2


def test_a_gate_without_a_threshold_is_refused_before_ray_starts(good_images, folder, tmp_path):
    path = tmp_path / "model.safetensors"
    DifferNet("default", seed=1, weights="random", **TINY, holdout=0.0).fit(good_images).save(path)
    run = RUN.invoke(app, arguments(path, folder, tmp_path / "rows", "--fail-on-defect"))
    assert run.exit_code == 2
    assert "no threshold" in run.stderr
    assert not (tmp_path / "rows").exists()


def test_without_ray_the_advice_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'differnet\[ray\]'"), session.connected():
        pass


def begun(ray, model, folder, out, **changes):
    from differnet.detector import model_file

    loaded = model_file.load(model)
    entries = inventory.entries_of([str(folder)])
    run = scoring.begin(ray, str(out), entries, {}, 8, False)
    parcel = ray.put(Parcel.of(model, "random"))
    actors = scoring.actors_of(ray, "cpu", 2)
    return run, scoring.JudgingTask(
        parcel, None, actors, loaded.settings.canvas, loaded.config.views, **changes
    )


def judging_processes():
    """Return the processes of judging actors below this one, by their titles."""
    parents, judges = {}, []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            title, state = (place / "cmdline").read_bytes(), (place / "stat").read_text()
        except OSError:
            continue
        parents[int(place.name)] = int(state.rpartition(")")[2].split()[1])
        if title.startswith(b"ray::") and b"Judges" in title:
            judges.append(int(place.name))
    return [pid for pid in judges if os.getpid() in _above(pid, parents)]


def _above(pid, parents):
    while pid in parents:
        pid = parents[pid]
        yield pid
