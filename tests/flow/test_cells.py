"""The Gaussian of cells against loops in NumPy, and what it makes of a map of shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from differnet.errors import ShapeError
from differnet.flow import cells, gaussian


def drawn(seed, tiles=1, images=6, views=2):
    """Feature maps of two stages and their shares: every place of every tile has a mean of its own."""
    draws = torch.Generator().manual_seed(seed)
    places = [torch.randn(tiles, *shape, generator=draws) * 3 for shape in ((3, 5, 4), (2, 5, 4), (6, 2, 2))]
    return [
        (
            tile,
            [place[tile] + torch.randn(views, *place.shape[1:], generator=draws) for place in places],
            torch.rand(views, 1, 10, 8, generator=draws),
        )
        for _ in range(images)
        for tile in range(tiles)
    ]


@pytest.mark.parametrize("tiles", [1, 3])
def test_views_that_come_one_by_one_are_all_drawn_from(tiles, monkeypatch):
    """An image that is turned is seen several times; the rows of all of them are learned, in the order of the draws."""
    monkeypatch.setattr(gaussian, "MOST_ROWS", 24)
    seen = [
        (tile, [one[view : view + 1] for one in maps], shares[view : view + 1])
        for tile, maps, shares in drawn(3, tiles, views=5)
        for view in range(5)
    ]
    found = cells.fit(seen, images=6, tiles=tiles, seed=1)
    draws, rows = torch.Generator().manual_seed(1), []
    for tile, maps, _ in seen:
        each = torch.cat(maps[:2], 1)[0].flatten(1).T - found.mean[tile].flatten(1).T
        rows.append(each[torch.randperm(20, generator=draws)[: 24 // (6 * tiles) + (24 % (6 * tiles) > 0)]])
    assert len(torch.cat(rows)) == 5 * (24 if tiles == 1 else 36)
    wanted = gaussian.fit(torch.cat(rows).double(), 1).matrix.float()
    torch.testing.assert_close(found.matrix, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tiles", [1, 4])
def test_cells_are_told_by_their_place_by_a_literal_sum(tiles):
    seen = drawn(0, tiles)
    found = cells.fit(seen, images=6, tiles=tiles, seed=1)
    maps = {
        tile: np.concatenate([torch.cat(those[:2], 1) for which, those, _ in seen if which == tile])
        for tile in range(tiles)
    }
    places = np.stack([maps[tile].astype(float).mean(axis=0) for tile in range(tiles)])
    means = 5 / 6 * places + 1 / 6 * places.mean(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose(found.mean, means, atol=1e-5)
    rows = np.stack(
        [
            view[:, i, j] - means[tile, :, i, j]
            for tile in range(tiles)
            for view in maps[tile]
            for i in range(5)
            for j in range(4)
        ]
    )
    assert len(rows) < gaussian.MOST_ROWS  # all of them are learned
    matrix = gaussian.fit(torch.from_numpy(rows), 0).matrix.numpy()
    np.testing.assert_allclose(found.matrix, matrix, rtol=1e-4, atol=1e-5)
    level = np.mean([shares.numpy().mean() for _, _, shares in seen])
    assert float(found.level) == pytest.approx(level, rel=1e-5)

    tile, shown, shares = drawn(7, tiles)[-1]
    far = np.empty((2, 5, 4))
    for v, i, j in np.ndindex(far.shape):
        cell = torch.cat(shown[:2], 1)[v, :, i, j].numpy() - means[tile, :, i, j]
        far[v, i, j] = np.sqrt(np.square(cell @ matrix).mean())
    sharp = found.of_tile(tile).sharpened(shown, shares)
    wide = torch.nn.functional.interpolate(
        torch.from_numpy(far)[:, None], size=(10, 8), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(sharp, (shares + 0.5 * level) * wide, rtol=1e-4)


def test_good_cells_are_1_from_what_is_usual_in_the_mean():
    found = cells.fit(drawn(0, images=200), images=200, tiles=1, seed=1)
    few = [(maps, torch.full((2, 1, 5, 4), 0.5)) for _, maps, _ in drawn(0, images=200)]
    one = torch.cat([found.of_tile(0).sharpened(*seen) for seen in few])
    usual = 0.5 + 0.5 * float(found.level)
    assert float((one / usual).square().mean()) == pytest.approx(1, rel=0.05)


def test_a_single_image_knows_no_places():
    found = cells.fit(drawn(3, images=1), images=1, tiles=1, seed=1)
    assert torch.allclose(found.mean, found.mean[:, :, :1, :1])


def test_a_cell_that_is_unlike_its_place_alone_stands_out():
    """It is what is usual elsewhere: one mean for all places would not see it."""
    good, (_, maps, shares) = drawn(0, images=40), drawn(0, images=1)[0]
    found = cells.fit(good, images=40, tiles=1, seed=1).of_tile(0)
    swapped = [one.clone() for one in maps]
    for one, whole in zip(swapped[:2], maps[:2], strict=True):
        one[:, :, 0, 0], one[:, :, 4, 3] = whole[:, :, 4, 3], whole[:, :, 0, 0]
    even = torch.ones_like(shares)
    rise = found.sharpened(swapped, even) / found.sharpened(maps, even)
    assert float(rise[:, 0, 0, 0].min()) > 1.7
    assert float(rise[:, 0, 5, 3].max()) == pytest.approx(1)


def test_maps_of_another_network_are_refused():
    found = cells.fit(drawn(0), images=6, tiles=1, seed=1).of_tile(0)
    with pytest.raises(
        ShapeError, match=r"feature maps \(3, 5, 4\), where those of good images were \(5, 5, 4\)"
    ):
        found.sharpened([torch.zeros(1, 3, 5, 4)], torch.zeros(1, 1, 10, 8))
