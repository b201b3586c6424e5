"""Connected regions, their ellipses, and filled ellipses."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.reference import large_events as naive

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.regions import ANGLE, MAJOR, MINOR, ellipse_pixels, find_ellipses

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "jump_rampfit_vectors.json").read_text())["vectors"]
SLANTED = next(vector for vector in VECTORS if vector["id"] == "SNB02")


def scene(kind, seed, shape=(90, 110)):
    """A mask of noise, rings, ellipses or crosses."""
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.random(shape) < rng.choice([0.02, 0.1, 0.3, 0.5])
    mask = np.zeros(shape, bool)
    y, x = np.indices(shape)
    for _ in range(40 if kind == "crosses" else 8):
        cy, cx = rng.integers(0, shape) + rng.choice([0, 0.5, 0.3], 2)
        if kind == "rings":
            distance, radius = np.hypot(y - cy, x - cx), rng.uniform(2, 12)
            mask |= (distance < radius) & (distance >= radius * rng.uniform(0, 0.7))
        elif kind == "ellipses":
            t, (a, b) = rng.uniform(0, np.pi), rng.uniform(2, 15, 2)
            u, v = (y - cy) * np.cos(t) + (x - cx) * np.sin(t), (y - cy) * np.sin(t) - (x - cx) * np.cos(t)
            mask |= (u / a) ** 2 + (v / b) ** 2 < 1
        else:
            mask |= (abs(y - cy) + abs(x - cx)) <= 1.5
    return mask


def in_order(ellipses):
    """Sorted by centre and axes: the order of regions has no meaning."""
    ellipses = np.reshape(ellipses, (-1, 5))
    return ellipses[np.lexsort(np.round(ellipses, 6).T)]


def drawn(ellipse, minor, major, shape):
    mask = np.zeros(shape, bool)
    rows, columns = ellipse_pixels(ellipse[0], ellipse[1], minor, major, ellipse[ANGLE], *shape).T
    mask[rows, columns] = True
    return mask


def check_against_library(mask, min_area):
    found, expected = in_order(find_ellipses(mask, min_area)), in_order(naive.regions(mask, min_area))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found[:, :4], expected[:, :4], rtol=1e-9, atol=1e-7)
    long = expected[:, MAJOR] - expected[:, MINOR] > 1e-6  # a round region has no angle
    np.testing.assert_allclose(found[long, ANGLE], expected[long, ANGLE], rtol=1e-9, atol=1e-6)
    return found, expected


@pytest.mark.parametrize("min_area", [1, 5, 40])
@pytest.mark.parametrize("kind", ["noise", "rings", "ellipses", "crosses"])
def test_ellipses_equal_the_library(kind, min_area):
    """Up to rounding, which decides on the pixels drawn on the edge; that of the library depends on the processor."""
    pixels = wrong = 0
    for seed in range(2):
        mask = scene(kind, seed)
        found, expected = check_against_library(mask, min_area)
        for ours, theirs in zip(found[:30], expected[:30], strict=True):
            axes = round(ours[MINOR]), round((ours[MAJOR] + ours[MINOR]) / 2)
            if 0 in axes:
                continue
            reference = naive.filled(theirs, 2 * axes[0], 2 * axes[1], mask.shape)
            wrong += np.count_nonzero(drawn(ours, *axes, mask.shape) != reference)
            pixels += reference.sum()
    assert wrong <= 1e-3 * pixels


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1)))
def test_any_small_mask(mask):
    for min_area in (1, 4, 12):
        check_against_library(mask, min_area)


def test_holes_count_unless_they_open_at_a_corner():
    ring = np.zeros((12, 12), bool)
    ring[1:11, 1:11] = True
    ring[2:10, 2:10] = False
    assert len(find_ellipses(ring, 100)) == 1
    assert len(find_ellipses(ring, 101)) == 0
    ring[1, 1] = False  # still closed: its neighbours touch at a corner, but so do inside and outside
    assert len(find_ellipses(ring, 99)) == len(naive.regions(ring, 99)) == 0


def test_simple_shapes():
    mask = np.zeros((20, 30), np.uint8)
    mask[3:6, 4:7] = 4
    mask[10, 5:12] = 2
    mask[15, 15] = 255
    square, line, point = find_ellipses(mask, 1)
    np.testing.assert_allclose(square[:4], [5, 4, 4 * np.sqrt(2 / 3) - 1, 4 * np.sqrt(2 / 3) - 1])
    np.testing.assert_allclose(line, [8, 10, -1, 7, 90])
    np.testing.assert_allclose(point[:4], [15, 15, -1, -1])
    assert find_ellipses(mask, 1.5).shape == (2, 5)
    assert find_ellipses(np.zeros((0, 5), bool), 1).shape == (0, 5)
    assert find_ellipses(np.zeros((5, 5), bool), 1).shape == (0, 5)
    np.testing.assert_allclose(find_ellipses(np.ones((7, 3), bool), 1), naive.regions(np.ones((7, 3)), 1))


def test_vector_of_a_slanted_blob():
    (ellipse,) = find_ellipses(np.array(SLANTED["mask"], np.uint8), 5)
    ((centre, axes, angle),) = SLANTED["expected"]["ellipses"]
    np.testing.assert_array_equal(ellipse, [*centre, *axes, angle])
    raster = np.array(SLANTED["expected"]["raster_origin_and_mask"][1], bool)
    np.testing.assert_array_equal(drawn(ellipse, 2, 4, raster.shape), raster)


@pytest.mark.parametrize("axes", [(0, 3), (3, 0), (-1, 6), (-1, -1), (2, 200), (1, 1)])
@pytest.mark.parametrize("centre", [(7.0, 7.0), (0.0, 14.0), (0.5, 1.5)])
def test_thin_and_huge_ellipses(axes, centre):
    for angle in (0.0, 90.0, -45.0, 33.0):
        ellipse = (*centre, 0, 0, angle)
        expected = naive.filled(ellipse, 2 * axes[0], 2 * axes[1], (15, 15))
        np.testing.assert_array_equal(drawn(ellipse, *axes, (15, 15)), expected)


def test_what_is_no_mask_is_refused():
    with pytest.raises(ShapeError, match="2"):
        find_ellipses(np.zeros(5, bool), 1)
    with pytest.raises(DTypeError, match="float64"):
        find_ellipses(np.zeros((5, 5)), 1)
