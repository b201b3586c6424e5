"""How many samples of a ramp are flagged as saturated and as jumps."""

import numpy as np

from upramp.kernels._flags import JUMP_DET, SATURATED
from upramp.kernels._jit import kernel
from upramp.kernels._layout import as_canonical
from upramp.kernels._tiles import run_tile

__all__ = ["count_flags", "count_flags_tile"]


@kernel
def count_flags_tile(saturated, jumps, gdq, first, last, left, right):
    """Add to ``saturated`` and ``jumps``, (ny,) int64, how many samples of each row of the region have these flags."""
    for i in range(gdq.shape[0]):
        for k in range(gdq.shape[1]):
            for r in range(first, last):
                q = gdq[i, k, r, left:right]
                n_saturated, n_jumps = np.uint32(0), np.uint32(0)
                for x in range(q.size):
                    n_saturated = np.uint32(n_saturated + ((q[x] & SATURATED) != 0))
                    n_jumps = np.uint32(n_jumps + ((q[x] & JUMP_DET) != 0))
                saturated[r] += n_saturated
                jumps[r] += n_jumps


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
