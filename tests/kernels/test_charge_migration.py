"""Charge migration against a loop over the samples above the threshold."""

import numpy as np
import pytest
from tests.reference.tiling import regions

from upramp.errors import DTypeError, ShapeError
from upramp.kernels import flag_charge_migration
from upramp.kernels.charge_migration import find_migration_tile, flag_charge_migration_in_place, flag_migration_tile

FLAGS = 128 | 1


def reference(data, groupdq, threshold):
    """Every sample above the threshold flags itself, its four neighbours, and all later groups of them."""
    flags = groupdq.copy()
    ny, nx = data.shape[-2:]
    for i, g, y, x in np.argwhere((data > np.float32(threshold)) & (groupdq != 1)):
        for r, c in ((y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= r < ny and 0 <= c < nx:
                flags[i, g:, r, c] |= FLAGS
    return flags


def ramps(shape, seed=0):
    rng = np.random.default_rng(seed)
    data = np.cumsum(rng.exponential(2000, shape), axis=1) * (rng.random((shape[0], 1, *shape[2:])) < 0.2)
    data = data.astype(np.float32)
    data[rng.random(shape) < 0.01] = np.nan
    data[rng.random(shape) < 0.01] = np.inf
    groupdq = rng.choice(np.array([0, 1, 2, 3, 5], np.uint8), shape, p=[0.8, 0.05, 0.05, 0.05, 0.05])
    return data, groupdq


@pytest.mark.parametrize("shape", [(2, 7, 70, 33), (1, 1, 5, 4), (3, 2, 1, 9), (2, 4, 6, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("threshold", [9000.3, 0.0, 1e9])
def test_against_the_reference(shape, threshold):
    data, groupdq = ramps(shape)
    before = data.copy(), groupdq.copy()
    expected = reference(data, groupdq, threshold)
    for threads in (1, 2):
        np.testing.assert_array_equal(flag_charge_migration(data, groupdq, threshold, threads), expected)
    np.testing.assert_array_equal(data, before[0])
    np.testing.assert_array_equal(groupdq, before[1])


def test_in_tiles():
    data, groupdq = ramps((2, 6, 20, 17))
    expected = flag_charge_migration(data, groupdq, 6000.0)
    migrates_from = np.empty((2, 20, 17), np.int32)
    found = [find_migration_tile(migrates_from, data, groupdq, 6000.0, *region) for region in regions(20, 17)]
    assert sum(found) == ((data > 6000) & (groupdq != 1)).any(axis=1).sum()
    for region in regions(20, 17):
        flag_migration_tile(groupdq, migrates_from, *region)
    np.testing.assert_array_equal(groupdq, expected)


def test_one_bright_pixel_in_the_corner():
    data, groupdq = np.zeros((1, 4, 3, 3), np.float32), np.zeros((1, 4, 3, 3), np.uint8)
    data[0, 1:, 0, 0] = 25000.0, 25001.0, 30000.0
    flags = flag_charge_migration(data, groupdq)
    assert not flags[0, :2].any()  # the threshold itself is not above it
    np.testing.assert_array_equal(flags[0, 2], [[129, 129, 0], [129, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(flags[0, 3], flags[0, 2])


def test_what_is_refused():
    data, groupdq = ramps((1, 3, 4, 5))
    with pytest.raises(ShapeError, match="data has shape"):
        flag_charge_migration(data[..., 1:], groupdq)
    with pytest.raises(DTypeError, match="groupdq has dtype float32"):
        flag_charge_migration(data, data)
    with pytest.raises(DTypeError, match="not C-contiguous"):
        flag_charge_migration_in_place(groupdq[..., ::2], data[..., ::2], 1.0)
