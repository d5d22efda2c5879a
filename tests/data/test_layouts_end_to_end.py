"""Every published layout that no other test fits to, end to end: read, fitted to, scored, measured by pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from differnet.config import presets
from differnet.data import datasets
from differnet.evaluation.evaluate import evaluate
from support.tiny import SMALL, defective_image, good_image, save

QUICK = presets.resolve("default", SMALL | {"epochs": 1, "train_views": 1, "holdout": 0})


def pictures(root, good, bad, mask, white=255):
    """Save good images under the names ``good``, a defective one as ``bad``, and its mask."""
    for index, name in enumerate(good):
        save(root / name, good_image(index, 40))
    pixels, truth = defective_image(1, 40)
    save(root / bad, pixels)
    save(root / mask, truth.astype(np.uint8) * white)


def ad2(root):
    parts = ("train/good/0", "train/good/1", "validation/good/0", "test_public/good/0")
    good = [f"can/{part}_regular.png" for part in parts]
    mask = "can/test_public/ground_truth/bad/0_regular_mask.png"
    pictures(root, good, "can/test_public/bad/0_regular.png", mask)


def mvtec_3d(root):
    good = [f"bagel/{part}/rgb/0.png" for part in ("train/good", "validation/good", "test/good")]
    pictures(root, good, "bagel/test/hole/rgb/0.png", "bagel/test/hole/gt/0.png", 1)


def visa(root):
    good = [f"pcb1/Data/Images/Normal/{i}.png" for i in range(3)]
    bad, mask = "pcb1/Data/Images/Anomaly/0.png", "pcb1/Data/Masks/Anomaly/0.png"
    pictures(root, good, bad, mask, 1)
    rows = [f"pcb1,{'train' if i < 2 else 'test'},normal,{name}," for i, name in enumerate(good)]
    (root / "split_csv").mkdir()
    text = "\n".join(["object,split,label,image,mask", *rows, f"pcb1,test,anomaly,{bad},{mask}", ""])
    (root / "split_csv" / "1cls.csv").write_text(text)


def table(root):
    pictures(root, ["0.png", "1.png", "2.png"], "bad.png", "mask.png")
    rows = "0.png,train,good,,\n1.png,train,good,,\n2.png,test,good,,\nbad.png,test,defective,dent,mask.png\n"
    (root / "parts.csv").write_text("path,split,label,defect,mask\n" + rows)
    return root / "parts.csv"


@pytest.mark.parametrize("make", [ad2, mvtec_3d, visa, table])
def test_a_layout_from_files_to_figures(make, tmp_path):
    (data,) = datasets.read(make(tmp_path) or tmp_path)
    assert data.layout == {"ad2": "mvtec-ad2", "mvtec_3d": "mvtec-3d"}.get(make.__name__, make.__name__)
    (run,) = evaluate(data, QUICK, weights="random").runs
    assert run.is_defective.tolist() == [sample.is_defective for sample in data.test]
    assert sorted(run.is_defective) == [False, True]
    assert np.isfinite(run.scores).all()
    assert run.image_auroc in (0.0, 1.0)
    assert 0 < run.pixel_auroc < 1
    assert not math.isnan(run.pixel_aupro)
