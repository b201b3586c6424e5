"""Rescale groups that were averaged on board with the wrong divisor.

The electronics divide the sum of NFRAMES reads by a power of two, FRMDIVSR; where NFRAMES is another number the
group is too small by NFRAMES / FRMDIVSR. Model: ``D *= FRMDIVSR / NFRAMES`` (one float32 product per sample, the
reference behaviour). NaN stays NaN. Which exposures need it is for the caller to decide.
"""

import numpy as np

from upramp.kernels._jit import kernel
from upramp.kernels._layout import writable_copy
from upramp.kernels._tiles import require_in_place, run_tile

__all__ = ["scale_groups", "scale_groups_in_place", "scale_tile"]


@kernel
def scale_tile(data, factor, first, last, left, right):
    """Multiply all samples of the region by ``factor``, rounded to float32."""
    factor32 = np.float32(factor)
    for i in range(data.shape[0]):
        for g in range(data.shape[1]):
            for r in range(first, last):
                row = data[i, g, r, left:right]
                for x in range(row.size):
                    row[x] *= factor32


def scale_groups_in_place(data, factor, threads=None):
    """`scale_groups` without the copy: ``data`` is native, C-ordered, float32 and is changed."""
    require_in_place(data, "data", np.float32, 4)
    run_tile(scale_tile, data, float(factor), threads=threads)


def scale_groups(data, factor, threads=None):
    """Multiply a ramp by the factor that undoes a wrong on-board divisor.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Counts [DN].
    factor : float
        FRMDIVSR / NFRAMES.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    (nint, ngroup, ny, nx) float32
        Rescaled counts [DN].

    Raises
    ------
    ShapeError, DTypeError
        ``data`` is not a 4-D array of numbers.

    Notes
    -----
    Source: reference behaviour (float32 product). NaN stays NaN.
    """
    data = writable_copy(data, "data", np.float32, 4)
    scale_groups_in_place(data, factor, threads)
    return data
