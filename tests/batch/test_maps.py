"""Maps of a run: raw ones in 16 bits at their own size, overlays for a screen, and little memory for large pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from differnet.batch.rows import inputs, judge_all
from differnet.data import images
from differnet.data.stream import silent
from differnet.decision.light import measure
from differnet.detector.scoring import Mapped
from differnet.features.tiles import enlarged
from support.tiny import defective_image, good_image, save


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "good.png", good_image(3))
    save(
        tmp_path / "in" / "large.png", np.asarray(Image.fromarray(defective_image(1)[0]).resize((2000, 1500)))
    )
    (tmp_path / "in" / "none.png").write_text("no image")
    (tmp_path / "maps").mkdir()
    return tmp_path


def test_maps_are_the_detectors_at_their_own_size(detector, folder):
    found = inputs([folder / "in"])
    rows = list(judge_all(detector, found, folder / "maps", silent, on_error="skip"))
    assert [row["error"] is None for row in rows] == [True, True, False]
    for row, shown in zip(rows[:2], ((64, 64), (1200, 1600)), strict=True):
        raw = np.load(row["map"])
        assert (raw.dtype, raw.shape) == (np.float16, detector.describer.canvas)
        image = row["path"]
        whole = detector.localize(image)
        close = enlarged(raw.astype(np.float32), whole.shape)
        np.testing.assert_allclose(close, whole, rtol=2e-3, atol=2e-3 * whole.max())
        assert Image.open(row["overlay"]).size == shown[::-1]
        assert row["score"] == detector.predict(image).score
    assert {path.stem for path in (folder / "maps").iterdir()} == {"good", "large"}


@pytest.mark.parametrize("with_maps", [False, True])
def test_light_comes_from_the_decoding_that_is_judged(detector, folder, with_maps, monkeypatch):
    """A picture is decoded once for score, map, brightness and sharpness, and what cannot be read has its row."""
    found, told, decoded = inputs([folder / "in"]), [], []
    right = images.decode
    monkeypatch.setattr(images, "decode", lambda path, *rest: decoded.append(path) or right(path, *rest))
    maps = folder / "maps" if with_maps else None
    see = lambda *numbers: told.append(numbers) or 0.5  # noqa: E731
    rows = list(judge_all(detector, found, maps, silent, on_error="skip", see=see))
    assert sorted(decoded) == [one.path for one in found]
    monkeypatch.undo()
    assert [row["error"] is None for row in rows] == [True, True, False]
    for row, numbers in zip(rows[:2], told, strict=True):
        light = measure(images.load(row["path"]))
        assert numbers == (detector.predict(row["path"]).score, *light)
        assert (row["score"], row["brightness"], row["sharpness"], row["drift"]) == (*numbers, 0.5)
    assert "drift" not in rows[2]


def test_judged_with_its_pixels_and_map(detector, folder):
    paths = [folder / "in" / "good.png", folder / "in" / "large.png"]
    for path, mapped in zip(paths, detector.mapped_iter(paths), strict=True):
        assert isinstance(mapped, Mapped)
        assert mapped.prediction == detector.predict(path)
        assert np.array_equal(mapped.pixels, np.asarray(Image.open(path)))
        full = next(detector.predict_iter([path], heat_map=True)).heat_map
        assert np.array_equal(enlarged(mapped.heat, full.shape), full)
