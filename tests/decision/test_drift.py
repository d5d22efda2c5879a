"""The monitor alarms when the stream changes, and as seldom as it says when it does not."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

from differnet.decision.drift import DriftMonitor
from differnet.decision.light import measure
from differnet.errors import ConfigError, ModelFileError, NumericalError, ShapeError


def p_values(rng, start, count, limit, seed):
    monitor = DriftMonitor(rng.normal(size=start), seed=seed, limit=limit)
    return [monitor.update(value).score.p_value for value in rng.normal(size=count)]


def after(count, rng, numbers=1, seed=0):
    """Return a monitor that has seen calm images."""
    monitor = DriftMonitor(*rng.normal(size=(numbers, 200)), seed=seed)
    for row in rng.normal(size=(count, numbers)):
        state = monitor.update(*row)
    assert not state.is_alarm
    return monitor


@pytest.mark.parametrize(("start", "limit"), [(30, 5000), (5, 6), (1, 2)])
def test_p_values_are_uniform_and_independent(start, limit):
    """Also when nearly everything seen is forgotten: there an ordinary reservoir sample would fail."""
    rng = np.random.default_rng(0)
    table = np.array([p_values(rng, start, 12, limit, seed) for seed in range(1500)])
    assert stats.kstest(table.ravel(), "uniform").pvalue > 0.001
    for lag in (1, 2, 5):
        before, after = table[:, :-lag].ravel(), table[:, lag:].ravel()
        assert abs(np.corrcoef(before, after)[0, 1]) < 4 / math.sqrt(len(before))
        both = np.mean((before < 0.2) & (after < 0.2))
        assert abs(both - 0.04) < 4 * math.sqrt(0.04 * 0.96 / len(before))


def test_without_a_change_it_seldom_ever_alarms():
    """Ville's inequality, for score, brightness and sharpness together."""
    alpha, streams, alarms = 0.2, 150, 0
    for seed in range(streams):
        rng = np.random.default_rng((1, seed))
        values = rng.lognormal(size=(3, 250))
        monitor = DriftMonitor(*values[:, :50], alpha=alpha, seed=seed)
        alarms += any([monitor.update(*row).is_alarm for row in values[:, 50:].T])  # noqa: C419
    assert alarms / streams <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / streams)


@pytest.mark.parametrize(
    ("name", "shift", "cause", "said"),
    [
        ("score", 1.5, "parts", "scores are higher"),
        ("brightness", -1.5, "light", "pictures are darker"),
        ("brightness", 1.5, "light", "pictures are brighter"),
        ("sharpness", -1.5, "focus", "pictures are less sharp"),
    ],
)
def test_a_change_is_found_and_named(name, shift, cause, said):
    delays = []
    for seed in range(9):
        rng = np.random.default_rng((2, seed))
        calm, stream = rng.normal(size=(3, 200)), rng.normal(size=(1000, 3))
        stream[600:, ("score", "brightness", "sharpness").index(name)] += shift
        monitor = DriftMonitor(*calm, seed=seed)
        states = [monitor.update(*row) for row in stream]
        delays.append(next((i for i, state in enumerate(states) if state.is_alarm), math.inf) - 599)
        assert states[-1].causes == (cause,)
        assert said in str(states[-1])
    assert min(delays) > 0
    assert np.median(delays) < 50


def test_scores_that_moved_with_the_light_are_not_said_to_be_the_parts():
    rng = np.random.default_rng(3)
    monitor = after(300, rng, 3)
    states = [monitor.update(*rng.normal([3, -3, 0])) for _ in range(60)]
    assert states[-1].score.alarm == "higher"
    assert states[-1].causes == ("light",)
    told = r"after 360 images: pictures are darker since about image 30\d and scores are higher since about image 30\d"
    assert re.fullmatch(told, str(states[-1]))


def test_the_parts_are_blamed_only_where_little_speaks_for_the_light():
    """Scores alarm first, and the light has won something by then: it may be the cause."""
    told = set()
    for seed in range(8):
        rng = np.random.default_rng((9, seed))
        monitor = after(300, rng, 3, seed)
        state = monitor.update(*rng.normal([2, -1, 0]))
        while not state.is_alarm:
            state = monitor.update(*rng.normal([2, -1, 0]))
        told.add(state.causes)
        others = (state.brightness.one_by_one, state.sharpness.one_by_one)
        if state.causes == ("unclear",):
            assert max(others) >= 0.5
            assert str(state).endswith(", perhaps by light or focus")
        if state.causes == ("parts",):
            assert max(others) < 0.5
    assert ("unclear",) in told


def test_an_alarm_stays_until_the_reset():
    rng = np.random.default_rng(4)
    monitor = after(300, rng)
    for value in rng.normal(4, size=40):
        alarmed = monitor.update(value)
    calm = [monitor.update(value) for value in rng.normal(4, size=600)]
    assert alarmed.is_alarm
    assert all(state.score.alarm == "higher" for state in calm)
    assert calm[-1].score.strength < max(state.score.strength for state in calm)  # it has become usual
    monitor.reset()
    first = monitor.update(0.0)
    assert (first.images, first.is_alarm, first.score.since) == (1, False, None)


def test_equal_values_are_no_change():
    monitor = DriftMonitor(np.ones(50), np.zeros(50), alpha=0.05)
    assert not any([monitor.update(1.0, 0.0).is_alarm for _ in range(300)])  # noqa: C419


def test_a_state_goes_on_with_the_same_numbers():
    rng = np.random.default_rng(5)
    monitor = DriftMonitor(*rng.normal(size=(3, 20)), seed=7, limit=25)
    rows = rng.normal(size=(60, 3)) + np.linspace(0, 2, 60)[:, None]
    for row in rows[:30]:
        monitor.update(*row)
    again = DriftMonitor.from_json(monitor.to_json())
    assert again.to_json() == monitor.to_json()
    for row in rows[30:]:
        assert again.update(*row) == monitor.update(*row)
    monitor.reset()
    assert DriftMonitor.from_json(monitor.to_json()).update(*rows[0]) == monitor.update(*rows[0])


def test_memory_is_constant():
    rng = np.random.default_rng(6)
    monitor = DriftMonitor(rng.normal(size=20), limit=50)
    counts = []
    for _ in range(300):
        monitor.update(rng.normal())
        counts.append(len(json.loads(monitor.to_json())["streams"]["score"]["kept"]))
    assert counts == [min(21 + i, 50) for i in range(300)]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(kind="detector"),
        lambda state: state.update(format=3),
        lambda state: state.update(alpha=2),
        lambda state: state.update(images=-1),
        lambda state: state.pop("step"),
        lambda state: state["streams"].pop("score"),
        lambda state: state["streams"].update(colour=state["streams"]["score"]),
        lambda state: state["streams"]["score"].update(kept=[]),
        lambda state: state["streams"]["score"].update(shares=[[1.0]]),
        lambda state: state["streams"]["score"].update(alarm="sideways"),
        lambda state: state["streams"]["score"].update(log="much"),
        lambda state: state["streams"]["score"]["shares"][0].__setitem__(0, -1.0),
        lambda state: state["streams"]["score"].update(since="then"),
        lambda state: state["streams"]["score"].update(gains=[0.0]),
        lambda state: state["streams"]["score"]["gains"].__setitem__(0, -1.0),
        lambda state: state["streams"]["score"].update(neighbours=[None]),
        lambda state: state["streams"]["score"].pop("outside"),
        lambda state: state["streams"]["score"]["stretches"].update(totals=[[0.0]]),
        lambda state: state["streams"]["score"]["stretches"].update(counts=[0]),
        lambda state: state["streams"]["score"]["stretches"].update(images=7),
    ],
)
def test_states_that_cannot_be_are_refused(change):
    state = json.loads(DriftMonitor([1.0, 2.0], [3.0, 4.0]).to_json())
    change(state)
    with pytest.raises(ModelFileError, match="not the state of a drift monitor"):
        DriftMonitor.from_json(json.dumps(state))
    for text in ("", "[]", "{}", "null"):
        with pytest.raises(ModelFileError, match="not the state of a drift monitor"):
            DriftMonitor.from_json(text)


def test_what_cannot_be_watched_is_explained():
    for values in ([], [math.nan], [1.0, math.inf]):
        with pytest.raises(NumericalError, match="scores?: at least one number"):
            DriftMonitor(values)
    with pytest.raises(ConfigError, match="different numbers of images"):
        DriftMonitor([1.0, 2.0], [1.0])
    with pytest.raises(ConfigError, match="alpha = 0"):
        DriftMonitor([1.0], alpha=0)
    monitor = DriftMonitor([1.0, 2.0], sharpness=[1.0, 2.0])
    before = monitor.to_json()
    with pytest.raises(ConfigError, match="sharpness is watched, but was not given"):
        monitor.update(1.0)
    with pytest.raises(ConfigError, match="brightness is not watched, but was given"):
        monitor.update(1.0, 2.0, 3.0)
    with pytest.raises(NumericalError, match="score = nan"):
        monitor.update(math.nan, sharpness=1.0)
    assert monitor.to_json() == before


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=40), st.integers(1, 5))
def test_any_stream_keeps_the_capital_sane(values, limit):
    monitor = DriftMonitor([1.0], limit=limit)
    for value in values:
        state = monitor.update(value)
        assert 0 < state.score.p_value <= 1
        assert math.isfinite(state.score.strength)


def picture(seed, size=(70, 90)):
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=size), 1.0)
    return np.clip(120 + 200 * texture, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def test_sharpness_is_the_variance_of_the_laplacian_over_the_squared_mean():
    pixels = np.random.default_rng(0).integers(0, 256, (600, 40, 3)).astype(np.uint8)  # several bands
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    laplacian = ndimage.laplace(grey)[1:-1, 1:-1]
    found = measure(pixels)
    assert found.brightness == pytest.approx(grey.mean(), rel=1e-5)
    assert found.sharpness == pytest.approx(laplacian.var() / grey.mean() ** 2, rel=1e-4)


def test_brightness_and_sharpness_tell_lamp_from_focus():
    sharp = picture(0)
    dim = (sharp * 0.6).astype(np.uint8)
    soft = ndimage.gaussian_filter(sharp.astype(float), (1.5, 1.5, 0)).astype(np.uint8)
    assert measure(dim).brightness == pytest.approx(0.6 * measure(sharp).brightness, rel=0.02)
    assert measure(dim).sharpness == pytest.approx(measure(sharp).sharpness, rel=0.1)
    assert measure(soft).brightness == pytest.approx(measure(sharp).brightness, rel=0.02)
    assert measure(soft).sharpness < 0.3 * measure(sharp).sharpness


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (9, 2), (257, 3), (258, 3)])
def test_odd_pictures_have_finite_numbers(shape):
    found = measure(np.full((*shape, 3), 7, dtype=np.uint8))
    assert found.brightness == pytest.approx(7)
    assert found.sharpness == 0
    assert measure(np.zeros((*shape, 3), dtype=np.uint8)) == (0, 0)


def test_pixels_of_another_shape_are_refused():
    for shape in ((4, 4), (4, 4, 4), (0, 4, 3)):
        with pytest.raises(ShapeError, match=r"\(H, W, 3\) was wanted"):
            measure(np.zeros(shape, dtype=np.uint8))
