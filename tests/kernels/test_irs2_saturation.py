"""Saturation of IRS2 readouts against the rules, group by group."""

import numpy as np
import pytest
from scipy.ndimage import maximum_filter
from tests.reference.tiling import run_in_tiles

from upramp.kernels._irs2_layout import science_rows
from upramp.kernels._irs2_saturation import advance_first_saturated_tile, flag_interleaved_saturation_in_place

NFRAMES = 5


def expected_flags(data, threshold, bias, grow, use_read_pattern):
    """Flags (ngroup, ny, nx) of one integration of science pixels."""
    flags = np.zeros(data.shape, np.uint8)

    def grown(mask):
        return maximum_filter(mask, 2 * grow + 1)

    for g, counts in enumerate(data):
        flags[g][counts <= 0] |= 65
        flags[g:, grown(counts >= threshold)] |= 2
    if use_read_pattern and len(data) > 2:
        predicted = (data[0] - bias).astype(np.float64) / ((NFRAMES + 1) / 2) * (3 * NFRAMES) + bias
        sudden = data[1] - data[0] > (threshold - data[0]) / np.float32(NFRAMES)
        flags[1, grown((predicted < threshold) & sudden & (data[2] >= threshold))] |= 2
    return flags


@pytest.mark.parametrize(("detector", "grow", "use_read_pattern"), [("NRS1", 1, True), ("NRS2", 2, False)])
def test_whole_readout(detector, grow, use_read_pattern):
    rng = np.random.default_rng(5)
    rows = science_rows(detector)
    bias = rng.normal(8000, 200, (3200, 2048)).astype(np.float32)
    rate = rng.exponential(20, (3200, 2048)).astype(np.float32)
    data = np.stack([bias + rate * 10 * g for g in range(4)])[np.newaxis]
    hit = rng.random((3200, 2048)) < 0.002
    data[0, 1, hit] += 15000
    data[0, 2:, hit] += 60000
    data[0, 0, rng.random((3200, 2048)) < 0.001] = 0
    threshold = rng.normal(50000, 500, (2048, 2048)).astype(np.float32)
    gdq = np.zeros(data.shape, np.uint8)
    pdq, threshold_dq = np.zeros((3200, 2048), np.uint32), np.zeros((2048, 2048), np.uint32)
    threshold_dq[5, 7] = 1 << 21
    original = data.copy()
    flag_interleaved_saturation_in_place(
        gdq, pdq, data, detector, threshold.copy(), threshold_dq.copy(), bias, n_pix_grow=grow, nframes=NFRAMES,
        use_read_pattern=use_read_pattern,
    )  # fmt: skip
    np.testing.assert_array_equal(data, original)
    threshold[5, 7] = 65536
    expected = expected_flags(data[0][:, rows], threshold, bias[rows], grow, use_read_pattern)
    assert (expected[1] & 2).any() == use_read_pattern and (expected[2] & 2).any()
    np.testing.assert_array_equal(gdq[0][:, rows], expected)
    np.testing.assert_array_equal(pdq[rows], threshold_dq)
    others = np.setdiff1d(np.arange(3200), rows)
    assert not gdq[0][:, others].any() and not pdq[others].any()


def test_first_group_in_tiles():
    rng = np.random.default_rng(6)
    data = rng.uniform(7000, 60000, (2, 3, 21, 34)).astype(np.float32)
    data[:, 0] = rng.uniform(7000, 9000, (2, 21, 34))
    data[0, :, 3, 5] = np.nan
    threshold = rng.uniform(20000, 50000, (21, 34)).astype(np.float32)
    bias = np.full((21, 34), 6900, np.float32)
    start = np.argmax(np.concatenate([data >= threshold, np.ones((2, 1, 21, 34), bool)], axis=1), axis=1)
    start = start.astype(np.int32)
    result = start.copy()
    run_in_tiles(advance_first_saturated_tile, result, data, threshold, bias, NFRAMES)
    for i in range(2):
        flags = expected_flags(data[i], threshold, bias, 0, True) & 2
        first = np.argmax(np.concatenate([flags != 0, np.ones((1, 21, 34), bool)]), axis=0)
        np.testing.assert_array_equal(result[i], first)
    assert (result < start).any() and result[0, 3, 5] == start[0, 3, 5] == 3
    two_groups = start.copy()
    run_in_tiles(advance_first_saturated_tile, two_groups, data[:, :2].copy(), threshold, bias, NFRAMES)
    np.testing.assert_array_equal(two_groups, start)
