"""Superbias subtraction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.tiling import run_in_tiles

from upramp.errors import ShapeError
from upramp.kernels.superbias import (
    subtract_bias_tile,
    subtract_bias_zeroframe_tile,
    subtract_superbias,
    subtract_superbias_in_place,
)


def exposure(frame, seed=13):
    rng = np.random.default_rng(seed)
    data = rng.normal(1e4, 1e3, (2, 3, *frame)).astype(np.float32)
    bias = rng.normal(9e3, 1e3, frame).astype(np.float32)
    zeroframe = rng.normal(1e4, 1e3, (2, *frame)).astype(np.float32)
    data.flat[1::17] = np.nan
    bias.flat[::5] = np.nan
    zeroframe.flat[::3] = 0
    pdq, bias_dq = rng.integers(0, 2**32, (2, *frame), dtype=np.uint32)
    arrays = data, pdq, bias, bias_dq, zeroframe
    for array in arrays:
        array.flags.writeable = False
    return arrays


@pytest.mark.parametrize("frame", [(70, 9), (1, 13), (5, 1)])
def test_bias_and_zeroframe(frame):
    data, pdq, bias, bias_dq, zeroframe = exposure(frame)
    result = subtract_superbias(data, pdq, bias, bias_dq, zeroframe, threads=2)
    clean = np.nan_to_num(bias, nan=0.0)
    np.testing.assert_array_equal(result.data, data - clean)
    np.testing.assert_array_equal(result.pixeldq, pdq | bias_dq)
    np.testing.assert_array_equal(result.zeroframe, np.where(zeroframe == 0, 0, zeroframe - clean))
    tiled, tiled_pdq, tiled_zeroframe = data.copy(), pdq.copy(), zeroframe.copy()
    run_in_tiles(subtract_bias_tile, tiled, tiled_pdq, bias.copy(), bias_dq.copy())
    run_in_tiles(subtract_bias_zeroframe_tile, tiled_zeroframe, bias.copy())
    np.testing.assert_array_equal(tiled, result.data)
    np.testing.assert_array_equal(tiled_pdq, result.pixeldq)
    np.testing.assert_array_equal(tiled_zeroframe, result.zeroframe)
    assert subtract_superbias(data, pdq, bias, bias_dq).zeroframe is None
    assert len(subtract_bias_tile.signatures) == len(subtract_bias_zeroframe_tile.signatures) == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(-1000, 1000), st.integers(0, 2**32 - 1))
def test_a_pedestal_in_data_and_bias_cancels(pedestal, seed):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 60000, (1, 2, 3, 4)).astype(np.float32)
    bias = rng.integers(0, 60000, (3, 4)).astype(np.float32)
    no_flags = np.zeros((3, 4), np.uint32)
    plain = subtract_superbias(data, no_flags, bias, no_flags).data
    np.testing.assert_array_equal(subtract_superbias(data + pedestal, no_flags, bias + pedestal, no_flags).data, plain)


def test_refusal_leaves_the_data():
    data, pdq, bias, bias_dq, _ = exposure((6, 7))
    data, pdq = data.copy(), pdq.copy()
    before = data.copy()
    with pytest.raises(ShapeError, match="zeroframe"):
        subtract_superbias_in_place(data, pdq, bias, bias_dq, np.zeros((3, 6, 7), np.float32))
    np.testing.assert_array_equal(data, before)
