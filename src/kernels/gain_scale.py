"""Undo the gain setting of subarrays that were read with another gain than the standard one.

Model: slopes and errors are multiplied by the factor, variances by its square, in float32. NaN stays NaN.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._jit import kernel
from upramp.kernels._layout import ShapeError, as_canonical, check_shape, writable_copy
from upramp.kernels._tiles import require_in_place, run_tile

__all__ = ["ScaledRates", "scale_by_gain", "scale_by_gain_in_place", "scale_rates_tile"]


class ScaledRates(NamedTuple):
    """Slope and error [DN/s], variances [(DN/s)^2], float32; a variance is None if none was given."""

    slope: np.ndarray
    err: np.ndarray
    var_poisson: np.ndarray | None
    var_rnoise: np.ndarray | None


@kernel
def scale_rates_tile(plane, factor, first, last, left, right):
    """Multiply the region of every plane of ``plane`` (n, ny, nx) by ``factor`` (float64, rounded to float32)."""
    f = np.float32(factor)
    for i in range(plane.shape[0]):
        for r in range(first, last):
            row = plane[i, r, left:right]
            for x in range(row.size):
                row[x] *= f


def scale_by_gain_in_place(slope, err, var_poisson, var_rnoise, gain_factor, threads=None):
    """`scale_by_gain` without the copies."""
    arrays = {"slope": slope, "err": err, "var_poisson": var_poisson, "var_rnoise": var_rnoise}
    arrays = {name: array for name, array in arrays.items() if array is not None and array.size}
    for name, array in arrays.items():
        if array.ndim not in (2, 3):
            raise ShapeError(f"{name} has {array.ndim} dimensions {array.shape}; expected (ny, nx) or (nint, ny, nx)")
        require_in_place(array, name, np.float32, array.ndim)
        check_shape(array, name, slope.shape)
    for name, array in arrays.items():
        factor = float(gain_factor) ** (2 if name.startswith("var") else 1)
        run_tile(scale_rates_tile, array.reshape(-1, *array.shape[-2:]), factor, threads=threads)


def scale_by_gain(slope, err, var_poisson, var_rnoise, gain_factor, *, threads=None):
    """Multiply rates by a gain factor.

    Parameters
    ----------
    slope, err : (ny, nx) or (nint, ny, nx) float32
        Slopes and errors [DN/s].
    var_poisson, var_rnoise : like ``slope``, or None
        Variances [(DN/s)^2].
    gain_factor : float
        What the slopes are multiplied by.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    ScaledRates
        New arrays.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.

    Notes
    -----
    Source: reference behaviour. NaN stays NaN.
    """
    arrays = {"slope": slope, "err": err, "var_poisson": var_poisson, "var_rnoise": var_rnoise}
    ndim = as_canonical(slope, "slope", np.float32, np.ndim(slope)).ndim
    copies = [None if a is None else writable_copy(a, name, np.float32, ndim) for name, a in arrays.items()]
    scale_by_gain_in_place(*copies, gain_factor, threads)
    return ScaledRates(*copies)
