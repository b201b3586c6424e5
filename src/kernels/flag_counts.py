"""How many samples of a ramp are flagged as saturated and as jumps."""

import numpy as np

from upramp.kernels._flags import JUMP_DET, SATURATED
from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import as_canonical
from upramp.kernels._tiles import run_tile
from upramp.kernels._vectors import LANES, count_of, load

__all__ = ["count_flags", "count_flags_tile", "count_in_row"]


@helper(counted=False)
def count_in_row(flags, flag):
    """How many elements of a row of uint8 have a flag: a loop that adds them up would widen every byte."""
    count = 0
    whole = flags.size // LANES * LANES
    for x in range(0, whole, LANES):
        count += count_of((load(flags, x) & np.uint8(flag)) != 0)
    for x in range(whole, flags.size):
        count += (flags[x] & flag) != 0
    return count


@kernel
def count_flags_tile(saturated, jumps, gdq, first, last, left, right):
    """Add to ``saturated`` and ``jumps``, (ny,) int64, how many samples of each row of the region have these flags."""
    for i in range(gdq.shape[0]):
        for k in range(gdq.shape[1]):
            for r in range(first, last):
                q = gdq[i, k, r, left:right]
                saturated[r] += count_in_row(q, SATURATED)
                jumps[r] += count_in_row(q, JUMP_DET)


def count_flags(groupdq, threads=None):
    """Count the samples with the flags SATURATED and JUMP_DET.

    Parameters
    ----------
    groupdq : (nint, ngroup, ny, nx) uint8
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    n_saturated, n_jumps : int

    Raises
    ------
    ShapeError, DTypeError
        `groupdq` is of another shape or type.
    """
    groupdq = as_canonical(groupdq, "groupdq", np.uint8, 4)
    counts = np.zeros((2, groupdq.shape[2]), np.int64)

    def count(gdq, *region):
        count_flags_tile(counts[0], counts[1], gdq, *region)

    run_tile(count, groupdq, threads=threads)
    return tuple(int(n) for n in counts.sum(axis=1))
