"""The static mask in pixel and group flags."""

import numpy as np
import pytest
from tests.reference.tiling import run_in_tiles

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.dq_init import init_dq, init_dq_in_place, init_dq_tile, merge_dq_tile

rng = np.random.default_rng(12)


def flags(*shape, dtype=np.uint32):
    array = rng.integers(0, 256 if dtype == np.uint8 else 2**32, shape).astype(dtype)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("frame", [(70, 9), (1, 13), (5, 1)])
def test_mask_enters_both(frame):
    mask, pixeldq, groupdq = flags(*frame), flags(*frame), flags(2, 3, *frame, dtype=np.uint8)
    result = init_dq(mask, pixeldq, groupdq, threads=2)
    np.testing.assert_array_equal(result.pixeldq, pixeldq | mask)
    np.testing.assert_array_equal(result.groupdq, groupdq | (mask & 1).astype(np.uint8))
    gdq, pdq = groupdq.copy(), pixeldq.copy()
    run_in_tiles(init_dq_tile, gdq, pdq, mask.copy())
    np.testing.assert_array_equal(gdq, result.groupdq)
    np.testing.assert_array_equal(pdq, result.pixeldq)
    merged = pixeldq.copy()
    run_in_tiles(merge_dq_tile, merged, mask.copy())
    np.testing.assert_array_equal(merged, result.pixeldq)
    again = init_dq(mask, *result, threads=1)
    np.testing.assert_array_equal(again.groupdq, result.groupdq)
    assert len(init_dq_tile.signatures) == len(merge_dq_tile.signatures) == 1


def test_refusals():
    groupdq = np.zeros((1, 2, 4, 5), np.uint8)
    with pytest.raises(ShapeError, match=r"mask has shape \(5, 4\)"):
        init_dq_in_place(groupdq, np.zeros((4, 5), np.uint32), np.ones((5, 4), np.uint32))
    with pytest.raises(DTypeError, match="float"):
        init_dq(np.ones((4, 5)), np.zeros((4, 5), np.uint32), groupdq)
    assert not groupdq.any()
