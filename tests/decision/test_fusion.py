"""Several readings of a view become one score."""

import numpy as np
import pytest

from differnet.decision import fusion


def table(tiles, views, readings, seed=0):
    return np.random.default_rng(seed).uniform(1, 9, (tiles, views, readings))


def test_one_reading_is_its_norm_to_the_bit():
    norms = table(1, 5, 1)
    (found,) = fusion.view_scores([norms])
    assert np.array_equal(found, norms[0, :, 0])


def test_several_are_their_geometric_mean_and_the_most_anomalous_tile_counts():
    norms = table(4, 3, 2)
    (found,) = fusion.view_scores([norms])
    np.testing.assert_allclose(found, np.sqrt(norms[..., 0] * norms[..., 1]).max(axis=0), rtol=1e-14)


def test_the_unit_of_a_reading_orders_nothing():
    norms = table(1, 200, 3)
    (found,) = fusion.view_scores([norms])
    (other,) = fusion.view_scores([norms * np.array([1.0, 250.0, 0.003])])
    assert np.array_equal(np.argsort(found), np.argsort(other))


@pytest.mark.parametrize("size", [1, 3, 8])
def test_the_scores_are_the_same_however_views_are_grouped(size):
    norms = table(2, 8, 3)
    groups = [norms[:, start : start + size] for start in range(0, 8, size)]
    found = np.concatenate(list(fusion.view_scores(groups)))
    np.testing.assert_allclose(found, (norms.prod(axis=2) ** (1 / 3)).max(axis=0), rtol=1e-13)


def test_a_group_is_asked_for_when_its_scores_are():
    asked = []

    def groups():
        for index in range(3):
            asked.append(index)
            yield table(1, 2, 2)

    scores = fusion.view_scores(groups())
    next(scores)
    assert asked == [0]


def test_a_norm_of_nothing_is_the_least_score_and_finite():
    (found,) = fusion.view_scores([np.array([[[0.0, 4.0], [1.0, 4.0]]])])
    assert np.isfinite(found).all()
    assert found[0] < found[1]
