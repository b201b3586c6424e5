"""Groups left out for the reset switch charge decay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.tiling import run_in_tiles

from upramp.errors import ShapeError
from upramp.kernels.rscd import TALLIES, RscdCounts, flag_rscd_in_place, flag_rscd_tile, rscd_skips, summarize

ESTIMATED = 1 << 28


def flags_of(first_saturated, n_groups):
    """Group flags (ni, ng, ny, nx) that are SATURATED from a group on, counted from 1; 0 for never."""
    first = np.asarray(first_saturated)[:, np.newaxis]
    group = np.arange(1, n_groups + 1)[:, np.newaxis, np.newaxis]
    return np.where((first > 0) & (group >= first), 2, 0).astype(np.uint8)


def naive(gdq, pdq, skips, n_first):
    """The rule pixel by pixel."""
    gdq, pdq = gdq.copy(), pdq.copy()
    counts = []
    for part in (range(n_first), range(n_first, len(gdq))):
        lowered, nothing, early = (np.zeros(pdq.shape, bool) for _ in range(3))
        for i in part:
            for y, x in np.ndindex(pdq.shape):
                saturated = np.flatnonzero(gdq[i, :, y, x] & 2)
                first = saturated[0] + 1 if saturated.size else 10**6
                skip = skips[i] if first == 1 else min(skips[i], max(first - 3, 0))
                gdq[i, :skip, y, x] |= 1
                lowered[y, x] |= skip < skips[i]
                nothing[y, x] |= skip == 0
                early[y, x] |= 1 < first <= skips[i] + 2
        pdq[lowered] |= ESTIMATED
        counts.append(RscdCounts(int(lowered.sum()), int(nothing.sum()) if early.any() else 0))
    return gdq, pdq, tuple(counts)


@pytest.mark.parametrize(("skips", "n_first"), [([1, 3, 3], 1), ([4, 4, 4], 0), ([0, 0, 2], 1), ([5, 0, 0], 1)])
@pytest.mark.parametrize("frame", [(70, 9), (1, 13), (5, 1)])
def test_against_the_rule_pixel_by_pixel(skips, n_first, frame):
    rng = np.random.default_rng(4)
    first_saturated = rng.integers(0, 9, (3, *frame))
    first_saturated[:, ::3] = 0  # whole rows without saturation are done in another way
    gdq = flags_of(first_saturated, 7) | rng.integers(0, 2, (3, 7, *frame), dtype=np.uint8)
    pdq = rng.integers(0, 2, frame, dtype=np.uint32)
    expected_gdq, expected_pdq, expected = naive(gdq, pdq, skips, n_first)
    for threads in (1, 2):
        found_gdq, found_pdq = gdq.copy(), pdq.copy()
        assert flag_rscd_in_place(found_gdq, found_pdq, skips, n_first, threads) == expected
        np.testing.assert_array_equal(found_gdq, expected_gdq)
        np.testing.assert_array_equal(found_pdq, expected_pdq)
    tallies, skips = np.zeros((frame[0], TALLIES), np.int64), np.array(skips)

    def tile(gdq, *arguments):
        flag_rscd_tile(tallies, gdq, *arguments)

    run_in_tiles(tile, gdq, pdq, skips, n_first)
    np.testing.assert_array_equal(gdq, expected_gdq)
    np.testing.assert_array_equal(pdq, expected_pdq)
    assert summarize(tallies) == expected
    assert len(flag_rscd_tile.signatures) == 1


@pytest.mark.parametrize(
    ("n_groups", "exposure", "first", "skip", "skips", "header"),
    [
        (10, 3, 1, (1, 4), [1, 4, 4], (1, 4)),
        (10, 9, 4, (1, 4), [4, 4, 4], (None, 4)),
        (5, 3, 1, (3, 4), [1, 1, 1], (1, 1)),
        (3, 3, 1, (3, 4), [0, 0, 0], (0, 0)),
        (6, 3, 1, (1, 4), [1, 3, 3], (1, 3)),
        (7, 3, 1, (1, 4), [1, 4, 4], (1, 4)),
        (10, 3, 1, (-1, 4), [1, 4, 4], (1, 4)),
        (10, 1, 1, (2, 9), [2], (2, None)),
    ],
)
def test_how_many_groups_are_skipped(n_groups, exposure, first, skip, skips, header):
    chosen = rscd_skips(n_groups, len(skips), exposure, first, *skip)
    assert chosen.skips.tolist() == skips
    assert (chosen.first, chosen.later) == header


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 6), st.integers(2, 12))
def test_two_groups_stay_where_saturation_leaves_them(skip, saturated_from):
    gdq, pdq = flags_of(np.full((1, 1, 1), saturated_from), 8), np.zeros((1, 1), np.uint32)
    flag_rscd_in_place(gdq, pdq, [skip], 1)
    usable = int((gdq == 0).sum())
    assert usable >= min(2, saturated_from - 1)
    assert usable >= 8 - skip if saturated_from > 8 else True
    assert (pdq[0, 0] == ESTIMATED) == (saturated_from < skip + 3 and skip > 0)


def test_refusals():
    gdq, pdq = np.zeros((2, 4, 3, 3), np.uint8), np.zeros((3, 3), np.uint32)
    with pytest.raises(ShapeError, match="at least two must stay"):
        flag_rscd_in_place(gdq, pdq, [1, 3], 1)
    with pytest.raises(ShapeError, match="skips has shape"):
        flag_rscd_in_place(gdq, pdq, [1], 1)
    with pytest.raises(ShapeError, match="needs at least 3"):
        rscd_skips(2, 1, 1, 1, 1, 1)
    assert not gdq.any()
