"""Convert rates [DN/s] to surface brightness [MJy/sr], or back.

Model: rate and error times the conversion factor, variances times its square; the inverse divides. Products and
quotients are formed in float64 and rounded once to float32, which gives the same bits as float32 arithmetic where the
factor is a float32. Where one of the arrays is NaN, or the pixel is DO_NOT_USE, all arrays become NaN and the pixel
DO_NOT_USE (reference behaviour).
"""

import numpy as np

from upramp.kernels._flags import DO_NOT_USE
from upramp.kernels._jit import helper, kernel
from upramp.kernels._tiles import require_images_in_place, run_tile

__all__ = ["convert_images_in_place", "convert_images_tile"]

_ABSENT = np.zeros((0, 0, 0), np.float32)


@helper
def _convert_row(row, flags, factor, inverse):
    """Scale a row, and flag where it is NaN then."""
    for x in range(row.size):
        row[x] = row[x] / factor if inverse else row[x] * factor
    for x in range(row.size):
        flags[x] |= DO_NOT_USE if np.isnan(row[x]) else 0


@helper
def _blank_row(row, flags):
    """Make a row NaN where it is not to be used."""
    for x in range(row.size):
        row[x] = np.float32(np.nan) if (flags[x] & DO_NOT_USE) != 0 else row[x]


@kernel
def convert_images_tile(
    rate, err, dq, var_poisson, var_rnoise, var_flat, factor, square, inverse, first, last, left, right
):
    """Convert the region of images (n, ny, nx); a variance that is absent has length 0."""
    variances = (var_poisson, var_rnoise, var_flat)
    for i in range(rate.shape[0]):
        for r in range(first, last):
            flags = dq[i, r, left:right]
            _convert_row(rate[i, r, left:right], flags, factor, inverse)
            _convert_row(err[i, r, left:right], flags, factor, inverse)
            for variance in variances:
                if variance.size:
                    _convert_row(variance[i, r, left:right], flags, square, inverse)
            _blank_row(rate[i, r, left:right], flags)
            _blank_row(err[i, r, left:right], flags)
            for variance in variances:
                if variance.size:
                    _blank_row(variance[i, r, left:right], flags)


def convert_images_in_place(rate, err, dq, variances, factor, inverse=False, threads=None):
    """Multiply images by a conversion factor, or divide them by it.

    Parameters
    ----------
    rate, err : (n, ny, nx) float32
        Rates and errors [DN/s]; become [MJy/sr].
    dq : (n, ny, nx) uint32
        Pixel flags; DO_NOT_USE is added where an array is NaN.
    variances : sequence of three (n, ny, nx) float32, or None for one that is absent
        By photon noise, by read noise, by the flat field [(DN/s)^2]; changed.
    factor : float32 or float64 scalar
        Conversion factor [(MJy/sr) / (DN/s)]; its square is formed in its own precision.
    inverse : bool
        Divide instead, to undo an earlier conversion.
    threads : int or None
        Number of threads; None for all cores.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.

    Notes
    -----
    Source: reference behaviour. NaN: see the module.
    """
    images = {"rate": rate, "err": err, "dq": dq}
    images |= dict(zip(("var_poisson", "var_rnoise", "var_flat"), variances, strict=True))
    require_images_in_place({name: array for name, array in images.items() if array is not None}, np.shape(rate))
    arrays = [_ABSENT if array is None else array for array in images.values()]
    run_tile(convert_images_tile, *arrays, float(factor), float(factor * factor), bool(inverse), threads=threads)
