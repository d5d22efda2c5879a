"""One detector in many threads and one model file in many processes: the same bits as alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

import differnet
from differnet import DifferNet
from differnet.errors import ConfigError
from differnet.features.backbone.torch_runtime import one_torch_thread
from differnet.runtime import threads
from support.tiny import TINY, good_image

THREADS, IMAGES = 8, 100


@pytest.mark.parametrize(
    "runtime", ["openvino", "torch", pytest.param("onnxruntime", marks=pytest.mark.long)]
)
def test_eight_threads_give_the_scores_of_one(detector, tmp_path, runtime):
    pytest.importorskip(runtime)
    few = 25 if runtime != "openvino" else IMAGES
    model = tmp_path / "model.safetensors"
    other = detector if runtime == "openvino" else _fitted(runtime)
    other.save(model)
    shared = differnet.load(model)  # nothing is compiled yet: threads do that, too
    images = [good_image(2000 + i) for i in range(few)]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(lambda _: shared.score(images, views=2).tolist(), range(THREADS)))
    alone = differnet.load(model).score(images, views=2).tolist()
    assert together == [alone] * THREADS


def _fitted(runtime):
    settings = TINY | {"runtime": runtime, "epochs": 1}
    with pytest.warns(UserWarning, match="too few"):
        return DifferNet("default", seed=1, weights="random", **settings).fit(
            [good_image(i) for i in range(12)]
        )


def test_threads_that_judge_and_draw_get_what_one_gets(detector):
    images = [good_image(3000 + i) for i in range(6)]
    wanted = [detector.predict(image, heat_map=True) for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: detector.predict(image, heat_map=True), images * 4))
    for one, other in zip(found, wanted * 4, strict=True):
        assert one == other
        assert np.array_equal(one.heat_map, other.heat_map)


def test_processes_on_one_model_file_give_the_scores_of_one(detector, tmp_path):
    model, folder = tmp_path / "model.safetensors", tmp_path / "images"
    detector.save(model)
    folder.mkdir()
    for i in range(8):
        Image.fromarray(good_image(900 + i)).save(folder / f"{i}.png")
    code = (
        "import sys, differnet\n"
        "print([x.hex() for x in differnet.load(sys.argv[1]).score(sys.argv[2]).tolist()])"
    )
    wanted = str([x.hex() for x in detector.score(folder).tolist()])
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(model), str(folder)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert [run.communicate()[0].strip() for run in runs] == [wanted] * 2


def test_one_option_sets_all_thread_counts(tmp_path):
    code = (
        "import sys, json; sys.argv = ['differnet', '--threads', '1', 'info', 'none']\n"
        "import differnet.cli.app\n"
        "try: differnet.cli.app.main()\n"
        "except SystemExit: pass\n"
        "import os, torch\n"
        "from threadpoolctl import threadpool_info\n"
        "import numpy, scipy.linalg\n"
        "print(json.dumps([torch.get_num_threads(), [pool['num_threads'] for pool in threadpool_info()]]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    of_torch, pools = json.loads(run.stdout)
    assert of_torch == 1
    assert pools
    assert set(pools) == {1}


def test_the_number_of_threads_reaches_the_runtimes(detector, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setenv(threads.VARIABLE, "1")
    runtime = detector.sibling().describer.runtime
    runtime._queues.clear()
    compiled = runtime._queue(2, 2)[0].get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert not compiled.get_property("ENABLE_CPU_PINNING")  # several processes would share the first core
    runtime._queues.clear()


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "9" * 30, "٣"])
def test_a_number_of_threads_that_is_none_is_refused(text, monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, text)
    with pytest.raises(ConfigError, match="a number from 1 to 1024"):
        threads.limit()


def test_using_threads_changes_torch_and_what_starts_later(monkeypatch):
    for name in (
        threads.VARIABLE,
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ):
        monkeypatch.setenv(name, "")
    before = torch.get_num_threads()
    threads.use()
    assert torch.get_num_threads() == before
    try:
        threads.use(3)
        assert torch.get_num_threads() == 3
        assert os.environ["OMP_NUM_THREADS"] == "3"
        with one_torch_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
