"""First and last groups that are left out."""

import numpy as np
import pytest
from tests.reference.tiling import run_in_tiles

from upramp.errors import ShapeError
from upramp.kernels.edge_groups import (
    flag_first_group_in_place,
    flag_first_group_tile,
    flag_last_group_in_place,
    flag_last_group_tile,
)


def flags(frame, n_groups=4):
    rng = np.random.default_rng(2)
    return rng.integers(0, 256, (3, n_groups, *frame), dtype=np.uint8), rng.integers(0, 2**27, frame, dtype=np.uint32)


@pytest.mark.parametrize("keep_bright", [True, False])
@pytest.mark.parametrize("frame", [(70, 9), (1, 13), (5, 1)])
def test_first_group(frame, keep_bright):
    gdq, pdq = flags(frame)
    kept = ((gdq[:, 2] & 2) != 0) & keep_bright
    expected = gdq.copy()
    expected[:, 0] |= ~kept
    found, found_pdq = gdq.copy(), pdq.copy()
    flag_first_group_in_place(found, found_pdq, keep_bright, threads=2)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found_pdq, pdq | np.where(kept.any(axis=0), 1 << 28, 0))
    tiled, tiled_pdq = gdq.copy(), pdq.copy()
    run_in_tiles(flag_first_group_tile, tiled, tiled_pdq, int(keep_bright))
    np.testing.assert_array_equal(tiled, found)
    np.testing.assert_array_equal(tiled_pdq, found_pdq)


@pytest.mark.parametrize("frame", [(70, 9), (1, 13), (5, 1)])
def test_last_group(frame):
    gdq, _ = flags(frame)
    expected = gdq.copy()
    expected[:, -1] |= 1
    found, tiled = gdq.copy(), gdq.copy()
    flag_last_group_in_place(found, threads=2)
    run_in_tiles(flag_last_group_tile, tiled)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(tiled, expected)


def test_too_few_groups():
    gdq, pdq = flags((3, 4), 3)
    with pytest.raises(ShapeError, match="3 groups; expected at least 4"):
        flag_first_group_in_place(gdq, pdq)
    with pytest.raises(ShapeError, match="2 groups; expected at least 3"):
        flag_last_group_in_place(gdq[:, :2].copy())
