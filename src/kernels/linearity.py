"""Correct the non-linear response of the pixels by a polynomial per pixel.

Model: ``D' = c0 + c1 D + ... + cn D^n``, evaluated by Horner's scheme in float32, each product and sum rounded
(reference behaviour). SATURATED samples stay as they are; all other flags are ignored. A pixel without usable
coefficients (NO_LIN_CORR in the reference, a NaN among them, c1 = 0) gets the identity and the flag NO_LIN_CORR.
NaN data stay NaN. Not done here: the correction of single reads inside averaged groups.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._flags import NO_LIN_CORR, SATURATED
from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import ShapeError, as_canonical, check_shape, writable_copy
from upramp.kernels._tiles import require_in_place, run_tile
from upramp.kernels._vectors import LANES, load_some, select, store_some

__all__ = [
    "Linearized",
    "correct_linearity",
    "correct_linearity_in_place",
    "linearize_tile",
    "linearize_zeroframe_tile",
    "prepare_coefficients_tile",
]


_PIECE = 512  # columns done together: their coefficients stay in the nearest cache for all groups


class Linearized(NamedTuple):
    """Data (nint, ngroup, ny, nx) [DN], pixel flags (ny, nx) and ZEROFRAME (nint, ny, nx) [DN] or None."""

    data: np.ndarray
    pixeldq: np.ndarray
    zeroframe: np.ndarray | None


@kernel
def prepare_coefficients_tile(coeffs, lin_dq, pdq, first, last, left, right):
    """Replace unusable coefficients by the identity (in ``coeffs``) and add the flags to ``pdq``."""
    unusable = np.empty(right - left, np.bool_)
    for r in range(first, last):
        p = pdq[r, left:right]
        d = lin_dq[r, left:right]
        linear = coeffs[1, r, left:right]
        for x in range(p.size):
            unusable[x] = (d[x] & NO_LIN_CORR) != 0 or linear[x] == 0
        for k in range(coeffs.shape[0]):
            c = coeffs[k, r, left:right]
            for x in range(c.size):
                unusable[x] |= np.isnan(c[x])
        for x in range(p.size):
            p[x] |= d[x] | (NO_LIN_CORR if unusable[x] else 0)
        for k in range(coeffs.shape[0]):
            c = coeffs[k, r, left:right]
            identity = np.float32(k == 1)
            for x in range(c.size):
                c[x] = identity if unusable[x] else c[x]


@helper(counted=False, inlined=True)
def _polynomial(y, coeffs, r, x, n):
    """Horner's scheme in float32 for ``n`` samples (up to 16), whose coefficients lie in row ``r`` from ``x`` on."""
    k = np.uint64(coeffs.shape[0] - 1)
    value = load_some(coeffs[k, r], x, n)
    while k > 0:
        k -= np.uint64(1)
        value = value * y + load_some(coeffs[k, r], x, n)
    return value


@helper(counted=False, inlined=True)
def _linearize_strip(row, flags, coeffs, r, column, x, n):
    """Correct ``n`` samples (up to 16) of a row from ``x`` on; ``column`` holds the coefficients of its first one."""
    y = load_some(row, x, n)
    saturated = (load_some(flags, x, n) & SATURATED) != 0
    store_some(row, x, n, select(saturated, y, _polynomial(y, coeffs, r, column + x, n)))


@kernel
def linearize_tile(data, gdq, coeffs, coeffs_row, first, last, left, right):
    """Correct all samples of the region but the SATURATED ones.

    ``coeffs`` are prepared; their first row is the row ``coeffs_row`` of the data.
    """
    # Along the rows of a piece, which the processor reads ahead; it did not where one kernel made all corrections of a
    # strip through all groups. The polynomial stays in registers: two loops over the row took twice the time.
    for r in range(first, last):
        at = np.uint64(r - coeffs_row)  # unsigned: compiled code does not ask whether it is negative
        for start in range(left, right, _PIECE):
            stop = min(start + _PIECE, right)
            size = stop - start
            whole = size // LANES * LANES
            for i in range(data.shape[0]):
                for g in range(data.shape[1]):
                    row = data[i, g, r, start:stop]
                    flags = gdq[i, g, r, start:stop]
                    for x in range(0, whole, LANES):
                        _linearize_strip(row, flags, coeffs, at, start, x, LANES)
                    if whole < size:
                        _linearize_strip(row, flags, coeffs, at, start, whole, size - whole)


@kernel
def linearize_zeroframe_tile(zeroframe, coeffs, coeffs_row, first, last, left, right):
    """Correct the ZEROFRAME (nint, ny, nx); exact zeros stay. Otherwise like `linearize_tile`."""
    zero = np.float32(0)
    for r in range(first, last):
        at = np.uint64(r - coeffs_row)
        for i in range(zeroframe.shape[0]):
            row = zeroframe[i, r]
            for x in range(left, right, LANES):
                n = min(right - x, LANES)
                y = load_some(row, x, n)
                store_some(row, x, n, select(y == zero, zero, _polynomial(y, coeffs, at, x, n)))


def correct_linearity_in_place(data, gdq, pdq, coeffs, lin_dq, zeroframe=None, threads=None):
    """`correct_linearity` without the copies: data, pixel flags and ZEROFRAME are changed, coefficients are not."""
    require_in_place(data, "data", np.float32, 4)
    require_in_place(pdq, "pixeldq", np.uint32, 2)
    gdq = as_canonical(gdq, "groupdq", np.uint8, 4)
    lin_dq = as_canonical(lin_dq, "lin_dq", np.uint32, 2)
    check_shape(gdq, "groupdq", data.shape)
    check_shape(pdq, "pixeldq", data.shape[-2:])
    check_shape(lin_dq, "lin_dq", pdq.shape)
    coeffs = as_canonical(coeffs, "coeffs", np.float32, 3)
    if len(coeffs) < 2:
        raise ShapeError(f"coeffs has {len(coeffs)} planes; a linearity correction needs at least 2 (c0 and c1)")
    check_shape(coeffs, "coeffs", (len(coeffs), *pdq.shape))
    if zeroframe is not None:
        require_in_place(zeroframe, "zeroframe", np.float32, 3)
        check_shape(zeroframe, "zeroframe", (data.shape[0], *pdq.shape))

    def linearize(data, gdq, lin_dq, pdq, first, last, left, right):
        rows = slice(first, last)
        prepared = coeffs[:, rows].copy()
        prepare_coefficients_tile(prepared, lin_dq[rows], pdq[rows], 0, last - first, left, right)
        linearize_tile(data, gdq, prepared, first, first, last, left, right)
        if zeroframe is not None:
            linearize_zeroframe_tile(zeroframe, prepared, first, first, last, left, right)

    run_tile(linearize, data, gdq, lin_dq, pdq, threads=threads)


def correct_linearity(data, groupdq, pixeldq, coeffs, lin_dq, zeroframe=None, threads=None):
    """Apply the polynomial linearity correction to a ramp.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Counts after subtraction of bias and reference pixels [DN].
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags; SATURATED samples are left alone.
    pixeldq : (ny, nx) uint32
        Pixel flags.
    coeffs : (ncoeff, ny, nx) float32
        Coefficients c0, c1, ... of the powers of the counts.
    lin_dq : (ny, nx) uint32
        Flags of the reference.
    zeroframe : (nint, ny, nx) float32, optional
        First reads of the integrations [DN], 0 where unusable.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    Linearized
        New data, pixel flags (with those of the reference and NO_LIN_CORR) and ZEROFRAME (None if there was none).

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.

    Notes
    -----
    Source: reference behaviour (Horner's scheme in float32). NaN data stay NaN; a pixel with a NaN coefficient is
    not corrected.
    """
    data = writable_copy(data, "data", np.float32, 4)
    pixeldq = writable_copy(pixeldq, "pixeldq", np.uint32, 2)
    if zeroframe is not None:
        zeroframe = writable_copy(zeroframe, "zeroframe", np.float32, 3)
    correct_linearity_in_place(data, groupdq, pixeldq, coeffs, lin_dq, zeroframe, threads)
    return Linearized(data, pixeldq, zeroframe)
