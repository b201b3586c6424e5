"""Rescaling of groups that were averaged with the wrong divisor."""

import numpy as np
import pytest
from tests.reference.tiling import run_in_tiles

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.group_scale import scale_groups, scale_groups_in_place, scale_tile

rng = np.random.default_rng(11)


@pytest.mark.parametrize("shape", [(2, 3, 70, 5), (1, 1, 1, 9), (1, 2, 3, 1)])
def test_product_is_float32(shape):
    data = rng.normal(1e4, 1e3, shape).astype(np.float32)
    data.flat[0], data.flat[-1] = np.nan, np.inf
    data.flags.writeable = False
    scaled = scale_groups(data, 8 / 3, threads=2)
    np.testing.assert_array_equal(scaled, data * np.float32(8 / 3))
    assert scaled.dtype == np.float32
    tiled = data.copy()
    run_in_tiles(scale_tile, tiled, 8 / 3)
    np.testing.assert_array_equal(tiled, scaled)
    assert len(scale_tile.signatures) == 1


def test_big_endian_input_is_converted():
    data = rng.normal(1e4, 1e3, (1, 2, 4, 5)).astype(">f4")
    np.testing.assert_array_equal(scale_groups(data, 2.0), 2 * data.astype(np.float32))


def test_refusals_come_before_any_write():
    with pytest.raises(ShapeError, match="3 dimensions"):
        scale_groups(np.zeros((2, 3, 4), np.float32), 2.0)
    with pytest.raises(DTypeError, match="complex"):
        scale_groups(np.zeros((1, 2, 3, 4), complex), 2.0)
    swapped = np.ones((1, 2, 3, 4), ">f4")
    with pytest.raises(DTypeError, match="native"):
        scale_groups_in_place(swapped, 2.0)
    read_only = np.ones((1, 2, 3, 4), np.float32)
    read_only.flags.writeable = False
    with pytest.raises(DTypeError, match="read-only"):
        scale_groups_in_place(read_only, 2.0)
    assert (swapped == 1).all() and (read_only == 1).all()
