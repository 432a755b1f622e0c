"""A pixel belongs to a polygon if its centre lies within."""

import numpy as np
from matplotlib.path import Path as Outline

from insight.data.layouts.polygon import fill_polygon


def test_a_box_is_as_large_as_it_says() -> None:
    filled = fill_polygon(np.array([[1.0, 1.0], [3.0, 1.0], [3.0, 4.0], [1.0, 4.0]]), 6, 5)
    assert np.argwhere(filled).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2], [3, 1], [3, 2]]


def test_random_stars_against_another_reader_of_outlines() -> None:
    """Corners in order of their angle around a point: simple polygons, convex or not."""
    rng = np.random.default_rng()
    for _ in range(40):
        height, width = rng.integers(4, 60, 2)
        corners = int(rng.integers(3, 12))
        angles = np.sort(rng.random(corners)) * 2 * np.pi
        reach = rng.uniform(1, 40, corners)
        centre = rng.uniform(0, (width, height))
        points = centre + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
        y, x = np.mgrid[:height, :width] + 0.5
        within = Outline(np.concatenate([points, points[:1]]), closed=True)
        expected = within.contains_points(np.stack([x.ravel(), y.ravel()], 1)).reshape(height, width)
        assert (fill_polygon(points, height, width) == expected).all()


def test_what_crosses_itself_is_filled_by_turns() -> None:
    """Two boxes drawn as one outline: where both are, none is."""
    points = np.array([[0, 0], [4, 0], [4, 4], [0, 4], [0, 0], [2, 2], [6, 2], [6, 6], [2, 6], [2, 2]], dtype=float)
    one = fill_polygon(points[:4], 7, 7)
    two = fill_polygon(points[5:9], 7, 7)
    assert (fill_polygon(points, 7, 7) == one ^ two).all()


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    """An edge through the centres of pixels belongs to one side of it."""
    left = fill_polygon(np.array([[0, 0], [2.5, 0], [4.5, 5], [0, 5]], dtype=float), 5, 6)
    right = fill_polygon(np.array([[2.5, 0], [6, 0], [6, 5], [4.5, 5]], dtype=float), 5, 6)
    assert not (left & right).any()
    assert (left | right).all()


def test_what_is_outside_the_image_is_left_out() -> None:
    assert fill_polygon(np.array([[-9e6, -9e6], [9e6, -9e6], [9e6, 9e6], [-9e6, 9e6]]), 3, 4).all()
    assert not fill_polygon(np.array([[9.0, 0.0], [12.0, 0.0], [12.0, 3.0]]), 3, 4).any()
    assert not fill_polygon(np.array([[0.0, 1.0], [4.0, 1.0], [2.0, 1.0]]), 3, 4).any()
