"""Saturation flags."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.saturation import flag_saturation as by_planes
from tests.reference.tiling import regions, run_in_tiles

from upramp.errors import ShapeError
from upramp.kernels import saturation
from upramp.kernels.saturation import flag_saturation

DO_NOT_USE, SATURATED, AD_FLOOR, NO_SAT_CHECK = 1, 2, 64, 2**21


def exposure(seed, nint=2, ngroup=6, frame=(11, 14), saturated_before=False):
    rng = np.random.default_rng(seed)
    data = rng.normal(9000, 4000, (nint, ngroup, *frame)).cumsum(axis=1).astype(np.float32)
    data[rng.random(data.shape) < 0.02] = 0
    data[rng.random(data.shape) < 0.01] = np.nan
    gdq = np.where(rng.random(data.shape) < 0.05, rng.integers(0, 256, data.shape), 0).astype(np.uint8)
    if not saturated_before:
        gdq &= 255 - SATURATED
    pdq = rng.integers(0, 2**32, frame, dtype=np.uint32)
    threshold = rng.normal(45000, 8000, frame).astype(np.float32)
    threshold[rng.random(frame) < 0.05] = np.nan
    threshold_dq = np.where(rng.random(frame) < 0.05, NO_SAT_CHECK | 3, 0).astype(np.uint32)
    bias = rng.normal(9000, 2000, frame).astype(np.float32)
    bias[rng.random(frame) < 0.05] = np.nan
    zeroframe = rng.normal(30000, 15000, (nint, *frame)).astype(np.float32)
    arrays = data, gdq, pdq, threshold, threshold_dq, bias, zeroframe
    for array in arrays:
        array.flags.writeable = False
    return arrays


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    ngroup=st.integers(1, 6),
    frame=st.sampled_from([(11, 14), (1, 9), (7, 1), (2, 3)]),
    n=st.integers(0, 2),
    nframes=st.integers(1, 8),
    use_read_pattern=st.booleans(),
    saturated_before=st.booleans(),
)
def test_against_planes(seed, ngroup, frame, n, nframes, use_read_pattern, saturated_before):
    data, gdq, pdq, threshold, threshold_dq, bias, zeroframe = exposure(seed, 2, ngroup, frame, saturated_before)
    parameters = n, nframes, use_read_pattern
    result = flag_saturation(data, gdq, pdq, threshold, threshold_dq, bias, *parameters, zeroframe)
    expected = by_planes(data, gdq, pdq, threshold, threshold_dq, bias, *parameters, zeroframe)
    for ours, theirs in zip(result, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("grow", [0, 1, 2])
def test_phases_over_tiles_and_threads_agree(grow):
    data, gdq, pdq, threshold, threshold_dq, bias, zeroframe = exposure(3, frame=(90, 17))
    arguments = data, gdq, pdq, threshold, threshold_dq, bias, grow, 4, True, zeroframe
    one, two = (flag_saturation(*arguments, threads=threads) for threads in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert a.tobytes() == b.tobytes()

    data, tiled, limit, limit_dq, bias = (a.copy() for a in (data, gdq, threshold, threshold_dq, bias))
    saturated_from = np.full((2, 90, 17), -1, np.int32)
    marks = np.zeros(data.shape, np.uint8)
    contents, marked = np.zeros((2, 90), np.uint8), np.zeros(data.shape[:3], np.uint8)
    run_in_tiles(saturation.prepare_threshold_tile, limit, limit_dq)
    run_in_tiles(saturation.find_first_saturated_tile, saturated_from, contents, data, limit)
    floor = (np.minimum.reduce(data, axis=(1, 3), initial=1, where=~np.isnan(data)) <= 0) * saturation.HAS_FLOOR
    np.testing.assert_array_equal(contents, floor)
    counts = run_in_tiles(saturation.flag_saturated_tile, tiled, contents, data, saturated_from, grow)
    saturated_rows = ((tiled & SATURATED) != 0).any(axis=(1, 3))
    assert sum(counts) > 0
    np.testing.assert_array_equal((contents & saturation.HAS_SATURATED) != 0, saturated_rows)
    rest = contents, tiled, data, limit, limit_dq, bias, 4
    counts = run_in_tiles(saturation.mark_partial_tile, marks, marked, *rest)
    assert sum(counts) == np.count_nonzero(marks) > 0
    np.testing.assert_array_equal(marked, (marks != 0).any(axis=3))
    assert set(np.unique(marks)) <= {0, 1, 2}
    run_in_tiles(saturation.apply_partial_tile, tiled, marked, marks, grow)
    np.testing.assert_array_equal(tiled, one.groupdq)

    cleaned = zeroframe.copy()
    run_in_tiles(saturation.find_first_saturated_tile, saturated_from, contents, cleaned[:, None], limit)
    run_in_tiles(saturation.clean_zeroframe_tile, cleaned, saturated_from, grow)
    np.testing.assert_array_equal(cleaned, one.zeroframe)


def test_a_tile_with_margins_is_the_frame():
    """What the fused schedule does: phases on shrinking regions of a tile that is cut out of the frame."""
    data, gdq, pdq, threshold, threshold_dq, bias, _ = exposure(4, frame=(30, 40))
    whole = flag_saturation(data, gdq, pdq, threshold, threshold_dq, bias, 1, 4).groupdq
    for first, last, left, right in regions(30, 40, 13, 16):
        y0, y1, x0, x1 = max(first - 2, 0), min(last + 2, 30), max(left - 2, 0), min(right + 2, 40)
        d, q = data[:, :, y0:y1, x0:x1].copy(), gdq[:, :, y0:y1, x0:x1].copy()
        t, tdq, b = (a[y0:y1, x0:x1].copy() for a in (threshold, threshold_dq, bias))
        ny, nx = t.shape
        saturated_from, marks = np.empty((2, ny, nx), np.int32), np.empty(d.shape, np.uint8)
        inner = max(first - 1, 0) - y0, min(last + 1, 30) - y0, max(left - 1, 0) - x0, min(right + 1, 40) - x0
        core = first - y0, last - y0, left - x0, right - x0
        saturation.prepare_threshold_tile(t, tdq, 0, ny, 0, nx)
        contents, marked = np.zeros((2, ny), np.uint8), np.zeros((*d.shape[:2], ny), np.uint8)
        saturation.find_first_saturated_tile(saturated_from, contents, d, t, 0, ny, 0, nx)
        saturation.flag_saturated_tile(q, contents, d, saturated_from, 1, *inner)
        saturation.mark_partial_tile(marks, marked, contents, q, d, t, tdq, b, 4, *inner)
        saturation.apply_partial_tile(q, marked, marks, 1, *core)
        result = q[:, :, core[0] : core[1], core[2] : core[3]]
        np.testing.assert_array_equal(result, whole[:, :, first:last, left:right])


def constant(ramp, frame=(5, 5)):
    values = np.array(ramp, np.float32)[None, :, None, None]
    return np.broadcast_to(values, (1, len(ramp), *frame)).copy(), np.zeros((1, len(ramp), *frame), np.uint8)


def planes(value, dtype, frame=(5, 5)):
    return np.full(frame, value, dtype)


def test_threshold_is_inclusive_and_growth_is_a_box_cut_at_the_edge():
    data, gdq = constant([10, 10, 10])
    data[0, 1, 0, 4] = 60000
    data[0, 2, 0, 4] = 20
    no_flags = planes(0, np.uint32)
    result = flag_saturation(data, gdq, no_flags, planes(60000, np.float32), no_flags)
    box = np.zeros((5, 5), bool)
    box[:2, 3:] = True
    for group, expected in enumerate([np.zeros_like(box), box, box]):
        np.testing.assert_array_equal(result.groupdq[0, group], expected * SATURATED)


def test_saturation_inside_the_second_group():
    data, gdq = constant([18000, 31000, 68000, 68000, 68000])
    no_flags = planes(0, np.uint32)
    threshold, bias = planes(60000, np.float32), planes(15000, np.float32)
    flags = flag_saturation(data, gdq, no_flags, threshold, no_flags, bias, nframes=5).groupdq
    np.testing.assert_array_equal(flags[0, :, 2, 2], [0, DO_NOT_USE, SATURATED, SATURATED, SATURATED])
    without = flag_saturation(data, gdq, no_flags, threshold, no_flags, bias, nframes=5, use_read_pattern=False)
    np.testing.assert_array_equal(without.groupdq[0, :, 2, 2], [0, 0, 2, 2, 2])


def test_floor_is_not_grown_and_pegged_unchecked_pixels_stay():
    data, gdq = constant([10, 10])
    data[0, 0, 2, 2] = 0
    data[0, 1, 3, 3] = 65535
    threshold, threshold_dq = planes(60000, np.float32), planes(0, np.uint32)
    threshold[3, 3] = np.nan
    result = flag_saturation(data, gdq, planes(4, np.uint32), threshold, threshold_dq)
    expected = np.zeros_like(gdq)
    expected[0, 0, 2, 2] = AD_FLOOR | DO_NOT_USE
    np.testing.assert_array_equal(result.groupdq, expected)
    assert result.pixeldq[3, 3] == 4 | NO_SAT_CHECK and result.pixeldq[0, 0] == 4
    assert np.isnan(threshold[3, 3])
    assert result.zeroframe is None


def test_refusals_come_before_any_write():
    data, gdq = constant([10, 70000])
    no_flags, threshold = planes(0, np.uint32), planes(60000, np.float32)
    with pytest.raises(ShapeError, match="threshold has shape"):
        saturation.flag_saturation_in_place(gdq, no_flags, data, threshold[:4], no_flags)
    with pytest.raises(ValueError, match="n_pix_grow is -1"):
        saturation.flag_saturation_in_place(gdq, no_flags, data, threshold, no_flags, n_pix_grow=-1)
    assert not gdq.any()


def test_one_signature_each():
    *arrays, bias, zeroframe = exposure(3, saturated_before=True)
    flag_saturation(*arrays, bias, 1, 4, True, zeroframe)
    for name in saturation.__all__:
        if name.endswith("_tile"):
            assert len(getattr(saturation, name).signatures) == 1, name
