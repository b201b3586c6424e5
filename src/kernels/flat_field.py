"""Divide rates by the flat field.

Model: ``rate /= F``; ``err^2 += (rate / F)^2 dF^2`` with the new rate; flags of the flat are added to those of the
pixels. A flat value that is NaN, 0, or flagged NO_FLAT_FIELD counts as NO_FLAT_FIELD and DO_NOT_USE; where the flat is
DO_NOT_USE the rate is not divided. Everything is float32. Rate and error are NaN where either of them, or the error
of the flat, is (reference behaviour; NaN are not flagged).
"""

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, NO_FLAT_FIELD
from upramp.kernels._jit import kernel
from upramp.kernels._layout import as_canonical, check_shape
from upramp.kernels._tiles import require_in_place, run_tile

__all__ = ["divide_by_flat_in_place", "divide_by_flat_tile", "prepare_flat_tile"]


@kernel
def prepare_flat_tile(flat, flat_dq, first, last, left, right):
    """Flag unusable values of the flat and set them to 1."""
    one, zero = np.float32(1), np.float32(0)
    for r in range(first, last):
        f, q = flat[r, left:right], flat_dq[r, left:right]
        for x in range(f.size):
            missing = np.isnan(f[x]) or f[x] == zero or (q[x] & NO_FLAT_FIELD) != 0
            q[x] |= (NO_FLAT_FIELD | DO_NOT_USE) if missing else 0
            f[x] = one if (q[x] & DO_NOT_USE) != 0 else f[x]


@kernel
def divide_by_flat_tile(rate, err, dq, flat, flat_err, flat_dq, inverse, first, last, left, right):
    """Divide the region of rate (n, ny, nx) by the prepared flat, or multiply by it if ``inverse``."""
    for r in range(first, last):
        f, df = flat[r, left:right], flat_err[r, left:right]
        for i in range(rate.shape[0]):
            value, error = rate[i, r, left:right], err[i, r, left:right]
            if inverse:
                for x in range(value.size):
                    value[x] *= f[x]
            else:
                for x in range(value.size):
                    value[x] /= f[x]
                for x in range(value.size):
                    variance = value[x] * value[x] / (f[x] * f[x]) * (df[x] * df[x])
                    error[x] = np.sqrt(error[x] * error[x] + variance)
            for x in range(value.size):
                both = np.isnan(value[x]) or np.isnan(error[x])
                value[x] = np.float32(np.nan) if both else value[x]
                error[x] = np.float32(np.nan) if both else error[x]
        p, q = dq[r, left:right], flat_dq[r, left:right]
        for x in range(p.size):
            p[x] |= q[x]


def divide_by_flat_in_place(rate, err, dq, flat, flat_err, flat_dq, inverse=False, threads=None):
    """Divide rates by the flat field.

    Parameters
    ----------
    rate, err : (n, ny, nx) float32
        Rates and errors [DN/s]; changed.
    dq : (ny, nx) uint32
        Pixel flags; those of the flat are added.
    flat, flat_err : (ny, nx) float32
        Flat field and its error [dimensionless].
    flat_dq : (ny, nx) uint32
        Flags of the flat.
    inverse : bool
        Multiply instead, to undo an earlier division; the error then stays.
    threads : int or None
        Number of threads; None for all cores.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.

    Notes
    -----
    Source: reference behaviour.
    """
    require_in_place(rate, "rate", np.float32, 3)
    require_in_place(err, "err", np.float32, 3)
    require_in_place(dq, "dq", np.uint32, 2)
    flat = np.array(as_canonical(flat, "flat", np.float32, 2))
    flat_err = as_canonical(flat_err, "flat_err", np.float32, 2)
    flat_dq = np.array(as_canonical(flat_dq, "flat_dq", np.uint32, 2))
    check_shape(err, "err", rate.shape)
    for name, array in (("dq", dq), ("flat", flat), ("flat_err", flat_err), ("flat_dq", flat_dq)):
        check_shape(array, name, rate.shape[-2:])
    run_tile(prepare_flat_tile, flat, flat_dq, threads=threads)
    run_tile(divide_by_flat_tile, rate, err, dq, flat, flat_err, flat_dq, bool(inverse), threads=threads)
