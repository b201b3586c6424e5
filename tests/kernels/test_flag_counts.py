"""Counts of flagged samples."""

import numpy as np
import pytest

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.flag_counts import count_flags


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 70, 33), (3, 1, 129, 5), (1, 2, 0, 4)])
@pytest.mark.parametrize("threads", [1, 2])
def test_against_numpy(shape, threads):
    flags = np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)
    before = flags.copy()
    assert count_flags(flags, threads) == (np.count_nonzero(flags & 2), np.count_nonzero(flags & 4))
    assert (flags == before).all()
    flags.setflags(write=False)
    assert count_flags(flags, threads) == (np.count_nonzero(flags & 2), np.count_nonzero(flags & 4))


def test_wrong_arrays():
    with pytest.raises(ShapeError):
        count_flags(np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(DTypeError):
        count_flags(np.zeros((2, 2, 2, 2), np.float32))
