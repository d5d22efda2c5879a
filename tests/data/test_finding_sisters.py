"""Images that belong together are found by their texture, names, bursts and order, and those that do not are not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from differnet.data.sisters import thumbnails
from differnet.data.sisters.find import Summary, find
from differnet.data.sisters.names import in_order, partitions, time_of
from differnet.data.sisters.thumbnails import layouts, near_copies, textures, thumbnail


def scene(light=1.0, texture=None, noise=0, shift=(0, 0)):
    """A part that always lies the same way, with a texture of its own, 96 x 96."""
    y, x = np.mgrid[:96, :96]
    grey = 90 + 50 * ((x - 48) ** 2 + (y - 48) ** 2 < 900) + 0.3 * x
    if texture is not None:
        grain = np.random.default_rng(texture).normal(0, 20, (24, 24)).astype(np.float32)
        grey = grey + np.asarray(Image.fromarray(grain).resize((96, 96), Image.Resampling.BICUBIC))
    grey = np.roll(grey, shift, (0, 1)) * light + np.random.default_rng(noise).normal(0, 2, (96, 96))
    return np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def small(pictures):
    return np.array([thumbnail(picture) for picture in pictures])


def found(pictures, names=None):
    digests = [hash(picture.tobytes()) for picture in pictures]
    paths = [None] * len(pictures) if names is None else [Path(name) for name in names]
    return find(small(pictures), digests, paths)


def test_exposures_and_small_shifts_of_one_part_are_near_copies():
    pictures = [
        scene(light, texture=part, noise=10 * part + number, shift=shift)
        for part in range(30)
        for number, (light, shift) in enumerate([(1.0, (0, 0)), (0.7, (1, -1)), (1.2, (-1, 1))])
    ]
    pairs = set(near_copies(small(pictures)))
    within = {(i, j) for i in range(90) for j in range(i + 1, 90) if i // 3 == j // 3}
    assert pairs <= within
    assert len(pairs) >= 0.95 * len(within)
    grouping = found(pictures)
    assert grouping.by == ("near-copies, by their texture",)
    assert [len(set(grouping.labels[i : i + 3])) for i in range(0, 90, 3)] == [1] * 30


def test_aligned_parts_that_look_alike_all_over_are_no_sisters():
    assert found([scene(texture=part, noise=part) for part in range(60)]).groups is None
    assert found([scene(noise=part) for part in range(60)]).groups is None


def test_copies_are_found_however_few_images_there_are():
    pictures = [scene(noise=number) for number in (0, 1, 0, 2)]
    grouping = found(pictures)
    assert grouping.summary == Summary(4, 3, 2, 2, ("copies, pixel for pixel",))
    assert grouping.labels[0] == grouping.labels[2]
    assert found([scene()] * 5).groups is None  # nothing would be left to hold out


def unlike(count):
    return [scene(texture=number, noise=number) for number in range(count)]


def test_counters_that_repeat_from_stem_to_stem_say_what_belongs_together():
    names = [f"good/kos{item:02}_Part{part}.jpg" for item in range(12) for part in range(5)]
    grouping = found(unlike(60), names)
    assert grouping.by == ("their name",)
    assert Counter(Counter(grouping.labels).values()) == {5: 12}
    again = found(unlike(60)[:45], names[:45])
    assert set(again.labels) == set(grouping.labels[:45])  # known again in other images


@pytest.mark.parametrize("name", ["{:03}.png", "captured_image_{}.jpg", "part{0}/x.png"])
def test_one_counter_says_nothing(name):
    assert found(unlike(40), [name.format(number) for number in range(40)]).groups is None


def test_dates_in_names_are_believed_where_the_pictures_bear_them_out():
    names = [f"2024_{number // 4:02}_{73 * number % 1000:04}.png" for number in range(40)]
    lamps = np.random.default_rng(5).uniform(0.5, 1.3, 10)
    lit = [scene(lamps[number // 4], texture=number, noise=number) for number in range(40)]
    assert found(lit, names).by == ("their name",)
    assert found(unlike(40), names).groups is None


def test_pages_of_one_file_belong_together():
    names = [f"stack{number // 4:02}.tif" for number in range(40)]
    assert Counter(Counter(found(unlike(40), names).labels).values()) == {4: 10}


def drifting(count):
    steps = np.random.default_rng(3).normal(0, 0.05, (count, 2)).cumsum(axis=0)
    y, x = np.mgrid[:96, :96] / 96 - 0.5
    made = []
    for number in range(count):
        light = np.exp(steps[number, 0] * x + steps[number, 1] * y + 0.1 * steps[number].sum())
        picture = scene(texture=number, noise=number)[..., 0] * light
        made.append(np.clip(picture, 0, 255).astype(np.uint8)[..., None].repeat(3, 2))
    return made


def test_a_series_is_cut_into_runs_of_neighbours():
    pictures = drifting(100)
    names = [f"{number}.png" for number in range(100)]  # 10.png comes after 9.png
    grouping = found(pictures, names)
    assert [one.startswith("their place in a series") for one in grouping.by] == [True]
    numbers = list(dict.fromkeys(grouping.labels))
    assert [numbers.index(label) for label in grouping.labels] == sorted(
        numbers.index(label) for label in grouping.labels
    )
    assert max(Counter(grouping.labels).values()) <= 5
    assert found(pictures).groups is not None  # arrays, in the order in which they are given
    order = np.random.default_rng(0).permutation(100)
    assert found([pictures[index] for index in order], names).groups is None


def test_groups_that_are_too_few_are_noted_and_not_used():
    names = [f"exp{lamp}_{number}.png" for lamp in range(4) for number in range(15)]
    grouping = found(unlike(60), names)
    assert grouping.groups is None
    assert grouping.coarse[0] == "their name (4 groups)"
    assert "not used: their name (4 groups)" in str(grouping.summary)


def with_time(path, said):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = said
    Image.new("L", (8, 8)).save(path, exif=exif)
    return path


def test_bursts_come_from_the_time_that_the_camera_wrote(tmp_path):
    paths = [
        with_time(tmp_path / f"{chr(97 + number)}.jpg", f"2024:05:0{1 + number // 4} 12:00:{number % 4:02}")
        for number in range(12)
    ]
    one = next(one for one in partitions(paths) if one.by == "time of taking")
    assert Counter(Counter(one.labels).values()) == {4: 3}
    assert time_of(paths[5]).day == 2
    with_time(paths[0], "0000:00:00 00:00:00")
    assert time_of(paths[0]) is None
    assert not [one for one in partitions(paths) if one.by == "time of taking"]


def test_numbers_in_names_are_counted():
    assert in_order([Path("a10.png"), Path("a9.png"), Path("a9.jpg")]) == [2, 1, 0]
    assert in_order([None, Path("a")]) == [0, 1]


def test_a_summary_goes_through_json_and_refuses_what_cannot_be():
    summary = Summary(60, 12, 60, 5, ("their name",), ("x",))
    assert Summary.from_dict(summary.to_dict()) == summary
    with pytest.raises(ValueError, match="70 of 60 images"):
        Summary.from_dict(summary.to_dict() | {"together": 70})


def test_what_is_made_of_some_pictures_at_a_time_is_what_is_made_of_all(monkeypatch):
    some = np.random.default_rng(5).integers(0, 256, (7, 64, 64, 3), np.uint8)
    whole = [make(some) for make in (layouts, textures)]
    monkeypatch.setattr(thumbnails, "_AT_A_TIME", 3)
    for make, wanted in zip((layouts, textures), whole, strict=True):
        np.testing.assert_array_equal(make(some), wanted)


@pytest.mark.parametrize("whiten", [True, False])
def test_the_table_has_the_correlations_of_whitened_pictures_at_the_best_shift(whiten, monkeypatch):
    rng = np.random.default_rng(6)
    grey = rng.normal(0, 1, (9, 24, 24)).astype(np.float32) + 3 * rng.normal(0, 1, (24, 24))
    grey[3] = np.roll(grey[1], (1, -1), (0, 1))
    grey[5] = 2.0  # nothing to be seen
    texture = thumbnails._Texture(grey.astype(np.float32), blur=2.0, shift=1, whiten=whiten)
    half = [(0, 0), (0, 1), (1, -1), (1, 0), (1, 1)]  # the other half is that of the other picture
    cuts = {shift: texture._cut(*shift).astype(np.float64) - texture._mean for shift in half}
    rows = cuts[0, 0] / np.linalg.norm(cuts[0, 0], axis=1, keepdims=True)
    level = (rows**2).sum() / rows.size  # of the mean of variances over all directions
    covariance = rows.T @ rows / len(rows)
    values, axes = np.linalg.eigh(covariance + level * np.eye(rows.shape[1]))
    matrix = (axes * np.sqrt(level / values)) @ axes.T if whiten else np.eye(rows.shape[1])
    seen = {shift: cut @ matrix for shift, cut in cuts.items()}
    unit = {shift: cut / np.linalg.norm(cut, axis=1, keepdims=True) for shift, cut in seen.items()}
    best = np.max([moved @ unit[0, 0].T for moved in unit.values()], axis=0)
    found, wanted = texture.table(), np.maximum(best, best.T)
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    monkeypatch.setattr(thumbnails, "_MOVED", 4)  # the last part has one picture alone
    pairs = np.array([(1, 3), (3, 1), (8, 0), (2, 7), (2, 6), (1, 3), (5, 4)])
    np.testing.assert_allclose(texture.of_pairs(pairs), wanted[pairs[:, 0], pairs[:, 1]], atol=2e-3)
    np.fill_diagonal(found, -1)
    assert int(found[1].argmax()) == 3
