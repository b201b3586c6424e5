"""Dark subtraction, averaging and extrapolation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.dark import resample as by_slices
from tests.reference.tiling import run_in_tiles

from upramp.errors import ShapeError
from upramp.kernels._bits import as_bits
from upramp.kernels.dark import (
    average_frames_tile,
    dark_integrations,
    dark_plan,
    resample_dark,
    subtract_dark,
    subtract_dark_in_place,
    subtract_dark_tile,
)

NO_FLAGS = np.zeros((5, 6), np.uint32)


def make_dark(k, seed=16):
    rng = np.random.default_rng(seed)
    dark = rng.normal(1, 3, (k, 5, 6)).astype(np.float32)
    dark[rng.random(dark.shape) < 0.05] = np.nan
    dark.flags.writeable = False
    return dark


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(0, 3),
    st.integers(2, 25),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_resampling_against_slices(ngroups, nframes, groupgap, k, same_pattern, seed):
    dark = make_dark(k, seed)
    pattern = (nframes, groupgap) if same_pattern else (1, 0)
    plan = dark_plan(ngroups, nframes, groupgap, k, *pattern)
    result = resample_dark(dark, plan)
    np.testing.assert_array_equal(result, by_slices(dark, ngroups, nframes, groupgap, *pattern))
    assert plan.direct == (pattern == (nframes, groupgap) and ngroups <= k)
    tiled = np.full(result.shape, -1, np.float32)
    run_in_tiles(average_frames_tile, tiled, dark.copy(), plan.starts, plan.counts)
    np.testing.assert_array_equal(tiled, result)


@pytest.mark.parametrize("pattern", [(3, 1, 4, 0), (3, 1, 1, 2)])
def test_a_coarser_dark_is_not_applied(pattern):
    nframes, groupgap, dark_nframes, dark_groupgap = pattern
    assert dark_plan(4, *pattern[:2], 20, *pattern[2:]) is None
    data = np.ones((1, 4, 5, 6), np.float32)
    result = subtract_dark(data, NO_FLAGS, make_dark(20), NO_FLAGS + 4, nframes, groupgap, dark_nframes, dark_groupgap)
    assert not result.applied
    np.testing.assert_array_equal(result.data, data)
    np.testing.assert_array_equal(result.pixeldq, NO_FLAGS)


def test_averages_and_extrapolation_by_hand():
    dark = np.broadcast_to((0.1 * np.arange(8, dtype=np.float32))[:, None, None], (8, 5, 6))
    averaged = resample_dark(dark, dark_plan(2, 4, 0, 8, 1, 0))
    np.testing.assert_allclose(averaged[:, 0, 0], [0.15, 0.55], rtol=1e-6)
    longer = dark_plan(11, 1, 0, 8, 1, 0)
    assert longer.extrapolated == 3
    np.testing.assert_allclose(resample_dark(dark, longer)[:, 2, 3], 0.1 * np.arange(11), rtol=1e-6)


def test_a_group_behind_a_frame_averaged_dark_gets_nothing():
    plan = dark_plan(2, 4, 0, 5, 2, 0)
    np.testing.assert_array_equal(plan.counts, [4, 1])
    short = dark_plan(3, 4, 0, 6, 2, 0)
    np.testing.assert_array_equal(short.counts, [4, 2, 0])
    np.testing.assert_array_equal(resample_dark(make_dark(6), short)[2], 0)
    assert len(average_frames_tile.signatures) == 1


def test_subtraction_tiles_and_threads():
    rng = np.random.default_rng(17)
    data = rng.normal(100, 10, (2, 3, 150, 7)).astype(np.float32)
    data[0, 0, 0, 0] = np.nan
    dark = rng.normal(1, 3, (4, 150, 7)).astype(np.float32)
    dark[rng.random(dark.shape) < 0.05] = np.nan
    pdq, dark_dq = rng.integers(0, 2**32, (2, 150, 7), dtype=np.uint32)
    for array in (data, dark, pdq, dark_dq):
        array.flags.writeable = False
    expected = data - np.nan_to_num(dark[:3], nan=0.0)
    for threads in (1, 2):
        result = subtract_dark(data, pdq, dark, dark_dq, threads=threads)
        assert result.applied
        assert result.data.tobytes() == expected.tobytes()
        np.testing.assert_array_equal(result.pixeldq, pdq | dark_dq)
    tiled, tiled_pdq = data.copy(), pdq.copy()
    source = as_bits(dark, np.float32)
    run_in_tiles(subtract_dark_tile, tiled, tiled_pdq, source.record(), 0, 3, dark_dq.copy(), 0, 0)
    assert tiled.tobytes() == expected.tobytes()
    np.testing.assert_array_equal(tiled_pdq, pdq | dark_dq)
    assert len(subtract_dark_tile.signatures) == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_dark_as_it_lies_in_a_larger_reference(order):
    rng = np.random.default_rng(19)
    data = rng.normal(100, 10, (2, 3, 5, 20)).astype(np.float32)
    dark = rng.normal(1, 3, (7, 9, 30)).astype(np.float32)
    dark[rng.random(dark.shape) < 0.05] = np.nan
    expected = data.copy()
    expected[:, :2] -= np.nan_to_num(dark[4:6, 3:8, 6:26], nan=0.0)  # two frames for three groups
    source = as_bits(dark.astype(f"{order}f4"), np.float32, first_row=2, first_column=5)
    pdq = np.zeros((5, 20), np.uint32)
    run_in_tiles(subtract_dark_tile, data, pdq, source.record(), 4, 2, pdq + 4, 1, 1)
    assert data.tobytes() == expected.tobytes()
    assert (pdq == 4).all()


@pytest.mark.parametrize("first", [1, 2, 5])
@pytest.mark.parametrize("nframes", [1, 2])
def test_a_dark_for_each_integration(first, nframes):
    rng = np.random.default_rng(18)
    data = rng.normal(100, 10, (3, 4, 5, 6)).astype(np.float32)
    darks = np.stack([make_dark(8, seed) for seed in (1, 2)])
    found = subtract_dark(data, NO_FLAGS, darks, NO_FLAGS + 4, nframes, first_integration=first)
    chosen = dark_integrations(3, 2, first)
    assert chosen.tolist() == ([0, 1, 1] if first == 1 else [1, 1, 1])
    for i, n in enumerate(chosen):
        one = subtract_dark(data[i : i + 1], NO_FLAGS, darks[n], NO_FLAGS, nframes)
        np.testing.assert_array_equal(found.data[i : i + 1], one.data)
    assert (found.pixeldq == 4).all()


def test_refusals():
    data = np.ones((1, 4, 5, 6), np.float32)
    with pytest.raises(ShapeError, match="at least 2"):
        subtract_dark(data, NO_FLAGS, make_dark(1), NO_FLAGS)
    with pytest.raises(ShapeError, match="resample_dark"):
        subtract_dark_in_place(data, NO_FLAGS.copy(), make_dark(3), NO_FLAGS)
    with pytest.raises(ShapeError, match="dark has shape"):
        subtract_dark(data, NO_FLAGS, make_dark(4)[:, :3], NO_FLAGS)
    assert (data == 1).all()
