"""Polynomial linearity correction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.linearity import correct_linearity as by_pixel
from tests.reference.tiling import run_in_tiles

from upramp.errors import ShapeError
from upramp.kernels.linearity import (
    correct_linearity,
    linearize_tile,
    linearize_zeroframe_tile,
    prepare_coefficients_tile,
)

NO_LIN_CORR = 2**20


def exposure(frame, ncoeff, seed=14):
    rng = np.random.default_rng(seed)
    data = rng.normal(1e4, 3e3, (2, 3, *frame)).astype(np.float32)
    data.flat[::31] = np.nan
    data.flat[::37] = np.inf
    gdq = np.where(rng.random(data.shape) < 0.2, rng.integers(0, 256, data.shape), 0).astype(np.uint8)
    pdq = rng.integers(0, 2**32, frame, dtype=np.uint32)
    coeffs = rng.normal(0, 1, (ncoeff, *frame)) * 10.0 ** (-5 * np.arange(ncoeff))[:, None, None]
    coeffs = coeffs.astype(np.float32)
    coeffs[1] += 1
    coeffs[1][rng.random(frame) < 0.1] = 0
    coeffs[rng.random(coeffs.shape) < 0.02] = np.nan
    lin_dq = np.where(rng.random(frame) < 0.1, NO_LIN_CORR | 1, 4).astype(np.uint32)
    zeroframe = np.where(rng.random((2, *frame)) < 0.3, 0, data[:, 0]).astype(np.float32)
    arrays = data, gdq, pdq, coeffs, lin_dq, zeroframe
    for array in arrays:
        array.flags.writeable = False
    return arrays


@pytest.mark.parametrize("ncoeff", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("frame", [(7, 11), (1, 13), (5, 1), (2, 37), (1, 531)])
def test_against_single_pixels(frame, ncoeff):
    data, gdq, pdq, coeffs, lin_dq, zeroframe = exposure(frame, ncoeff)
    with np.errstate(all="ignore"):
        expected, expected_pdq = by_pixel(data, gdq, pdq, coeffs, lin_dq)
        frame_ramp, no_flags = zeroframe[:, None], np.zeros_like(zeroframe[:, None], np.uint8)
        expected_zeroframe, _ = by_pixel(frame_ramp, no_flags, pdq, coeffs, lin_dq)
    result = correct_linearity(data, gdq, pdq, coeffs, lin_dq, zeroframe)
    np.testing.assert_array_equal(result.data, expected)
    np.testing.assert_array_equal(result.pixeldq, expected_pdq)
    np.testing.assert_array_equal(result.zeroframe, np.where(zeroframe == 0, 0, expected_zeroframe[:, 0]))


def test_tiles_and_threads_agree_bitwise():
    data, gdq, pdq, coeffs, lin_dq, zeroframe = exposure((150, 23), 5)
    one = correct_linearity(data, gdq, pdq, coeffs, lin_dq, zeroframe, threads=1)
    two = correct_linearity(data, gdq, pdq, coeffs, lin_dq, zeroframe, threads=2)
    tiled, tiled_pdq, prepared, tiled_zeroframe = data.copy(), pdq.copy(), coeffs.copy(), zeroframe.copy()
    run_in_tiles(prepare_coefficients_tile, prepared, lin_dq.copy(), tiled_pdq)
    run_in_tiles(linearize_tile, tiled, gdq.copy(), prepared, 0)
    run_in_tiles(linearize_zeroframe_tile, tiled_zeroframe, prepared, 0)
    for other in (two, (tiled, tiled_pdq, tiled_zeroframe)):
        for a, b in zip(one, other, strict=True):
            assert a.tobytes() == b.tobytes()
    for tile in (prepare_coefficients_tile, linearize_tile, linearize_zeroframe_tile):
        assert len(tile.signatures) == 1


def test_closed_form():
    data = np.full((1, 1, 1, 3), 100, np.float32)
    coeffs = np.tile(np.array([3, 1, 0.5, 0.25], np.float32)[:, None, None], (1, 1, 3))
    coeffs[1, 0, 1] = 0
    gdq = np.array([[[[0, 0, 2]]]], np.uint8)
    result = correct_linearity(data, gdq, np.zeros((1, 3), np.uint32), coeffs, np.zeros((1, 3), np.uint32))
    np.testing.assert_array_equal(result.data[0, 0, 0], [3 + 100 + 0.5 * 1e4 + 0.25 * 1e6, 100, 100])
    np.testing.assert_array_equal(result.pixeldq[0], [0, NO_LIN_CORR, 0])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_saturated_samples_never_change(seed):
    data, gdq, pdq, coeffs, lin_dq, _ = exposure((4, 5), 4, seed)
    result = correct_linearity(data, gdq, pdq, coeffs, lin_dq)
    saturated = (gdq & 2) != 0
    np.testing.assert_array_equal(result.data[saturated], data[saturated])
    everything = correct_linearity(data, gdq | 2, pdq, coeffs, lin_dq)
    np.testing.assert_array_equal(everything.data, data)


def test_refusals():
    data, gdq, pdq, coeffs, lin_dq, _ = exposure((4, 5), 4)
    with pytest.raises(ShapeError, match="at least 2"):
        correct_linearity(data, gdq, pdq, coeffs[:1], lin_dq)
    with pytest.raises(ShapeError, match="groupdq"):
        correct_linearity(data, gdq[:, :2], pdq, coeffs, lin_dq)
