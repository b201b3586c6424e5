"""Divide rates by the flat field F with its error dF.

Model: ``rate /= F``; variance by the flat ``var_flat = (rate / F)^2 dF^2`` with the new rate. With variances (images):
``var_poisson /= F^2``, ``var_rnoise /= F^2``, ``err^2`` is the sum of the three. Without (guide stars): ``err^2 +=
var_flat``. Flags of the flat are added to those of the pixels. A flat value that is NaN, 0, or flagged NO_FLAT_FIELD
counts as NO_FLAT_FIELD and DO_NOT_USE; where the flat is DO_NOT_USE the rate is not divided. Everything is float32.

NaN (reference behaviour): of an image, everything is NaN and DO_NOT_USE where one of its arrays is NaN or the pixel is
DO_NOT_USE. For guide stars rate and error are NaN where either of them is, and nothing is flagged.
"""

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, NO_FLAT_FIELD
from upramp.kernels._jit import kernel
from upramp.kernels._layout import as_canonical
from upramp.kernels._tiles import require_images_in_place, require_in_place, run_tile

__all__ = [
    "divide_by_flat_in_place",
    "divide_by_flat_tile",
    "divide_images_by_flat_in_place",
    "divide_images_by_flat_tile",
    "prepare_flat_tile",
]


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
    require_in_place(err, "err", np.float32, 3, rate.shape)
    require_in_place(dq, "dq", np.uint32, 2, rate.shape[-2:])
    prepared = _prepared(flat, flat_err, flat_dq, rate.shape[-2:], threads)
    run_tile(divide_by_flat_tile, rate, err, dq, *prepared, bool(inverse), threads=threads)


@kernel
def divide_images_by_flat_tile(
    rate, err, dq, var_poisson, var_rnoise, var_flat, flat, flat_err, flat_dq, inverse, first, last, left, right
):
    """Divide the region of images (n, ny, nx) by the prepared flat, or multiply by it if ``inverse``."""
    nan, zero = np.float32(np.nan), np.float32(0)
    for r in range(first, last):
        f, df, q = flat[r, left:right], flat_err[r, left:right], flat_dq[r, left:right]
        for i in range(rate.shape[0]):
            value, error, flags = rate[i, r, left:right], err[i, r, left:right], dq[i, r, left:right]
            poisson, read = var_poisson[i, r, left:right], var_rnoise[i, r, left:right]
            by_flat = var_flat[i, r, left:right]
            for x in range(value.size):
                square = f[x] * f[x]
                if inverse:
                    value[x] *= f[x]
                    poisson[x] *= square
                    read[x] *= square
                    by_flat[x] = zero
                else:
                    value[x] /= f[x]
                    poisson[x] /= square
                    read[x] /= square
                    by_flat[x] = value[x] * value[x] / square * (df[x] * df[x])
            for x in range(value.size):
                error[x] = np.sqrt(poisson[x] + read[x] + by_flat[x])
                # The error is NaN wherever a variance is.
                bad = np.isnan(value[x]) or np.isnan(error[x])
                flags[x] |= q[x] | (DO_NOT_USE if bad else 0)
            for x in range(value.size):
                if (flags[x] & DO_NOT_USE) != 0:
                    value[x] = error[x] = poisson[x] = read[x] = by_flat[x] = nan


def divide_images_by_flat_in_place(
    rate, err, dq, var_poisson, var_rnoise, var_flat, flat, flat_err, flat_dq, inverse=False, threads=None
):
    """Divide images and their variances by the flat field.

    Parameters
    ----------
    rate : (n, ny, nx) float32
        Rates [DN/s]; changed.
    err, var_flat : (n, ny, nx) float32
        Errors [DN/s] and variances by the flat [(DN/s)^2]; written, what they hold is not used.
    dq : (n, ny, nx) uint32
        Pixel flags; those of the flat are added.
    var_poisson, var_rnoise : (n, ny, nx) float32
        Variances [(DN/s)^2]; changed.
    flat, flat_err : (ny, nx) float32
        Flat field and its error [dimensionless].
    flat_dq : (ny, nx) uint32
        Flags of the flat.
    inverse : bool
        Multiply instead, to undo an earlier division; the variance by the flat is then 0.
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
    images |= {"var_poisson": var_poisson, "var_rnoise": var_rnoise, "var_flat": var_flat}
    require_images_in_place(images, rate.shape)
    prepared = _prepared(flat, flat_err, flat_dq, rate.shape[-2:], threads)
    run_tile(divide_images_by_flat_tile, *images.values(), *prepared, bool(inverse), threads=threads)


def _prepared(flat, flat_err, flat_dq, frame, threads):
    """Copies of the flat and its flags without unusable values, and its error."""
    flat = np.array(as_canonical(flat, "flat", np.float32, 2, frame))
    flat_err = as_canonical(flat_err, "flat_err", np.float32, 2, frame)
    flat_dq = np.array(as_canonical(flat_dq, "flat_dq", np.uint32, 2, frame))
    run_tile(prepare_flat_tile, flat, flat_dq, threads=threads)
    return flat, flat_err, flat_dq
