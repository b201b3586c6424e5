"""Linearity correction of the reads inside averaged groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.read_level_linearity import correct_linearity_of_reads as by_pixel
from tests.reference.tiling import run_in_tiles

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.linearity import correct_linearity, prepare_coefficients_tile
from upramp.kernels.read_level_linearity import CHUNK, correct_linearity_of_reads, linearize_reads_tile

NO_LIN_CORR = 2**20


def exposure(frame, ngroups=5, ncoeff=5, ninverse=6, seed=3):
    """Curved ramps with saturated ends, NaN and inf, and defective coefficients."""
    rng = np.random.default_rng(seed)
    data = (rng.uniform(0, 4000, (2, 1, *frame)) * (1 + np.arange(ngroups)[:, None, None])).astype(np.float32)
    data.flat[::83] = np.nan
    data.flat[::97] = np.inf
    saturated = np.arange(ngroups)[:, None, None] >= rng.integers(0, 2 * ngroups, (2, 1, *frame))
    gdq = np.where(saturated, 2, 0).astype(np.uint8) | (rng.random(data.shape) < 0.1).astype(np.uint8)
    pdq = rng.integers(0, 2**20, frame).astype(np.uint32)
    planes = []
    for count in (ncoeff, ninverse):
        coeffs = rng.normal(0, 1, (count, *frame)) * 10.0 ** (-5.5 * np.arange(count))[:, None, None]
        coeffs = coeffs.astype(np.float32)
        coeffs[1] += 1
        coeffs[1][rng.random(frame) < 0.05] = 0
        coeffs[rng.random(coeffs.shape) < 0.01] = np.nan
        planes.append(coeffs)
    lin_dq = np.where(rng.random(frame) < 0.1, NO_LIN_CORR | 1, 4).astype(np.uint32)
    arrays = data, gdq, pdq, *planes, lin_dq
    for array in arrays:
        array.flags.writeable = False
    return arrays


@pytest.mark.parametrize(("ncoeff", "ninverse"), [(2, 2), (3, 5), (5, 8)])
@pytest.mark.parametrize(("frame", "ngroups", "nframes"), [((6, 7), 5, 4), ((1, CHUNK + 9), 2, 3), ((3, 1), 3, 1)])
def test_against_single_pixels(frame, ngroups, nframes, ncoeff, ninverse):
    arrays = exposure(frame, ngroups, ncoeff, ninverse)
    with np.errstate(all="ignore"):
        expected, expected_pdq = by_pixel(*arrays, nframes)
    result = correct_linearity_of_reads(*arrays, nframes)
    np.testing.assert_array_equal(result.data, expected)
    np.testing.assert_array_equal(result.pixeldq, expected_pdq)
    assert np.isnan(expected).any() and np.isfinite(expected).any()


def test_tiles_and_threads_agree_bitwise():
    data, gdq, pdq, coeffs, inverse, lin_dq = exposure((70, 23))
    one = correct_linearity_of_reads(data, gdq, pdq, coeffs, inverse, lin_dq, 8, threads=1)
    two = correct_linearity_of_reads(data, gdq, pdq, coeffs, inverse, lin_dq, 8, threads=2)
    tiled, tiled_pdq, forward, backward = data.copy(), pdq.copy(), coeffs.copy(), inverse.copy()
    for planes in (forward, backward):
        run_in_tiles(prepare_coefficients_tile, planes, lin_dq.copy(), tiled_pdq)
    run_in_tiles(linearize_reads_tile, tiled, gdq.copy(), forward, backward, 8)
    assert one.data.tobytes() == two.data.tobytes() == tiled.tobytes()
    assert one.pixeldq.tobytes() == two.pixeldq.tobytes() == tiled_pdq.tobytes()
    assert len(linearize_reads_tile.signatures) == 1


def test_recovers_the_signal_that_averaging_hides():
    """Counts are the exact inverse of linear = counts + a counts^2; reads are averaged after that."""
    curvature, nframes, ngroups = 2e-6, 8, 6
    linear = 700.0 * (1 + np.arange(ngroups * nframes))
    counts = 2 * linear / (1 + np.sqrt(1 + 4 * curvature * linear))
    ramp = counts.reshape(ngroups, nframes).mean(axis=1).astype(np.float32)[None, :, None, None]
    powers = np.arange(12)
    catalan = np.array([1, 1, 2, 5, 14, 42, 132, 429, 1430, 4862, 16796])
    inverse = np.concatenate([[0], catalan * (-curvature) ** powers[:-1]]).astype(np.float32)[:, None, None]
    coeffs = np.array([0, 1, curvature], np.float32)[:, None, None]
    flags = np.zeros(ramp.shape, np.uint8), np.zeros((1, 1), np.uint32)
    truth = linear.reshape(ngroups, nframes).mean(axis=1)
    by_reads = correct_linearity_of_reads(ramp, *flags, coeffs, inverse, flags[1], nframes).data.ravel()
    as_groups = correct_linearity(ramp, *flags, coeffs, flags[1]).data.ravel()
    assert np.abs(by_reads - truth).max() < 0.1
    assert np.abs(as_groups - truth).max() > 3


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_identity_and_saturation(seed, nframes):
    """The identity changes nothing but rounding; saturated samples never change."""
    data, gdq, pdq, coeffs, inverse, lin_dq = exposure((3, 5), seed=seed)
    result = correct_linearity_of_reads(data, gdq, pdq, coeffs, inverse, lin_dq, nframes)
    saturated = (gdq & 2) != 0
    np.testing.assert_array_equal(result.data[saturated], data[saturated])
    everything = np.full_like(lin_dq, NO_LIN_CORR)
    same = correct_linearity_of_reads(data, gdq, pdq, coeffs, inverse, everything, nframes)
    finite = np.isfinite(data).all(axis=1, keepdims=True) & np.ones_like(data, bool)
    np.testing.assert_allclose(same.data[finite], data[finite], rtol=1e-6)
    assert ((same.pixeldq & NO_LIN_CORR) != 0).all()


def test_zeroframe_is_a_single_read():
    data, gdq, pdq, coeffs, inverse, lin_dq = exposure((4, 5))
    zeroframe = np.where(np.arange(20).reshape(4, 5) % 3 == 0, 0, data[:, 0]).astype(np.float32)
    found = correct_linearity_of_reads(data, gdq, pdq, coeffs, inverse, lin_dq, 4, zeroframe)
    plain = correct_linearity(data, gdq, pdq, coeffs, lin_dq, zeroframe)
    np.testing.assert_array_equal(found.zeroframe, plain.zeroframe)


def test_refusals():
    data, gdq, pdq, coeffs, inverse, lin_dq = exposure((4, 5))
    with pytest.raises(ShapeError, match="needs two groups or more"):
        correct_linearity_of_reads(data[:, :1], gdq[:, :1], pdq, coeffs, inverse, lin_dq, 4)
    with pytest.raises(ShapeError, match="inverse has 1 planes"):
        correct_linearity_of_reads(data, gdq, pdq, coeffs, inverse[:1], lin_dq, 4)
    with pytest.raises(ShapeError, match="inverse"):
        correct_linearity_of_reads(data, gdq, pdq, coeffs, inverse[:, :2], lin_dq, 4)
    with pytest.raises(DTypeError, match="groupdq"):
        correct_linearity_of_reads(data, gdq.astype(float), pdq, coeffs, inverse, lin_dq, 4)
