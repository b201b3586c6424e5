"""Correct the non-linear response read by read, inside groups that average several reads.

A group is the mean of ``nframes`` reads; the polynomial of the mean is not the mean of the polynomials. Model, for one
pixel of one integration: its linear signal grows at a constant rate per read, taken between the first group and the
last but one that is not SATURATED (each linearised as if it were a single read). With the inverse polynomial that
gives what each read of a group would have been; all reads of the group are shifted alike so that their mean is
the measured one; each is then linearised, and the mean of these is the corrected group.

The reads of group g are numbered ``g * nframes + 1 ... (g + 1) * nframes``: frames dropped between groups are not
counted (reference behaviour). First and last group are linearised in float32, everything else is float64, rounded to
float32 at the end. SATURATED samples stay as they are. A NaN in the first or the last used group makes the whole
ramp NaN, a NaN in another group stays there. Not done here: a cap at the saturation limit.
"""

import numpy as np

from upramp.kernels._flags import SATURATED
from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import ShapeError, as_canonical, as_count, check_shape, writable_copy
from upramp.kernels._rows import copy_row, fill_row
from upramp.kernels._tiles import require_in_place, run_tile
from upramp.kernels.linearity import Linearized, linearize_zeroframe_tile, prepare_coefficients_tile

__all__ = ["correct_linearity_of_reads", "correct_linearity_of_reads_in_place", "linearize_reads_tile"]

CHUNK = 128  # pixels of a row at a time: their reads stay in the nearest cache


@helper
def _evaluate(value, signal, coeffs, r, left):
    """``value = c0 + c1 signal + ... + cn signal^n`` by Horner's scheme, in the precision of ``value``."""
    k = coeffs.shape[0] - 1
    c = coeffs[k, r, left : left + value.size]
    for x in range(value.size):
        value[x] = c[x] * signal[x]
    while k > 2:
        c = coeffs[k - 1, r, left : left + value.size]
        d = coeffs[k - 2, r, left : left + value.size]
        for x in range(value.size):
            value[x] = ((value[x] + c[x]) * signal[x] + d[x]) * signal[x]
        k -= 2
    if k == 2:
        c = coeffs[1, r, left : left + value.size]
        for x in range(value.size):
            value[x] = (value[x] + c[x]) * signal[x]
    c = coeffs[0, r, left : left + value.size]
    for x in range(value.size):
        value[x] += c[x]


@helper
def _fit_rate(start, rate, data, gdq, coeffs, nframes, i, r, left):
    """Linear signal of the first group [DN], and the rate between it and the last used group [DN per read]."""
    ng, width = data.shape[1], start.size
    used = np.zeros(width, np.int64)
    for g in range(ng):
        flags = gdq[i, g, r, left : left + width]
        for x in range(width):
            used[x] += 1 if (flags[x] & SATURATED) == 0 else 0
    measured, value = np.empty(width, np.float32), np.empty(width, np.float32)
    saturated = np.empty(width, np.bool_)
    first = data[i, 0, r, left : left + width]
    flags = gdq[i, 0, r, left : left + width]
    _evaluate(value, first, coeffs, r, left)
    for x in range(width):
        start[x] = first[x] if (flags[x] & SATURATED) != 0 else value[x]
    for x in range(width):
        # The last group that is not saturated may be so in part.
        used[x] = max(used[x] - 1, 2) - 1
        measured[x] = data[i, used[x], r, left + x]
        saturated[x] = (gdq[i, used[x], r, left + x] & SATURATED) != 0
    _evaluate(value, measured, coeffs, r, left)
    for x in range(width):
        end = measured[x] if saturated[x] else value[x]
        rate[x] = np.float64(end - start[x]) / np.float64(used[x] * nframes)


@kernel
def linearize_reads_tile(data, gdq, coeffs, inverse, nframes, first, last, left, right):
    """Correct all samples of the region but the SATURATED ones; both sets of coefficients are prepared.

    data (ni, ng, ny, nx) float32 with ng >= 2, coeffs and inverse (k, ny, nx) float32.
    """
    reads = np.empty((nframes, CHUNK), np.float64)
    signal, total, value = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    start, rate = np.empty(CHUNK, np.float32), np.empty(CHUNK)
    result = np.empty(CHUNK, np.float32)
    middle = (nframes + 1) / 2  # mean number of the reads of the first group
    for r in range(first, last):
        for west in range(left, right, CHUNK):
            width = min(CHUNK, right - west)
            q, mean, v, out = signal[:width], total[:width], value[:width], result[:width]
            for i in range(data.shape[0]):
                _fit_rate(start[:width], rate[:width], data, gdq, coeffs, nframes, i, r, west)
                for g in range(data.shape[1]):
                    row = data[i, g, r, west : west + width]
                    flags = gdq[i, g, r, west : west + width]
                    fill_row(mean, 0.0)
                    for k in range(nframes):
                        step = g * nframes + k + 1 - middle
                        for x in range(width):
                            q[x] = start[x] + rate[x] * step
                        u = reads[k, :width]
                        _evaluate(u, q, inverse, r, west)
                        for x in range(width):
                            mean[x] += u[x]
                    for x in range(width):
                        mean[x] = row[x] - mean[x] / nframes
                    for k in range(nframes):
                        u = reads[k, :width]
                        for x in range(width):
                            u[x] += mean[x]
                    fill_row(mean, 0.0)
                    for k in range(nframes):
                        _evaluate(v, reads[k, :width], coeffs, r, west)
                        for x in range(width):
                            mean[x] += v[x]
                    for x in range(width):
                        out[x] = row[x] if (flags[x] & SATURATED) != 0 else np.float32(mean[x] / nframes)
                    copy_row(row, out)


def correct_linearity_of_reads_in_place(data, gdq, pdq, coeffs, inverse, lin_dq, nframes, zeroframe=None, threads=None):
    """`correct_linearity_of_reads` without the copies: data, pixel flags and ZEROFRAME are changed."""
    require_in_place(data, "data", np.float32, 4)
    require_in_place(pdq, "pixeldq", np.uint32, 2)
    gdq = as_canonical(gdq, "groupdq", np.uint8, 4)
    lin_dq = as_canonical(lin_dq, "lin_dq", np.uint32, 2)
    check_shape(gdq, "groupdq", data.shape)
    check_shape(pdq, "pixeldq", data.shape[-2:])
    check_shape(lin_dq, "lin_dq", pdq.shape)
    planes = []
    for name, array in (("coeffs", coeffs), ("inverse", inverse)):
        array = writable_copy(array, name, np.float32, 3)
        if len(array) < 2:
            raise ShapeError(f"{name} has {len(array)} planes; a linearity correction needs at least 2 (c0 and c1)")
        check_shape(array, name, (len(array), *pdq.shape))
        planes.append(array)
    if data.shape[1] < 2 or nframes < 1:
        raise ShapeError(
            f"data has {data.shape[1]} groups of {nframes} reads; a correction read by read needs two groups or more"
        )
    if zeroframe is not None:
        require_in_place(zeroframe, "zeroframe", np.float32, 3)
        check_shape(zeroframe, "zeroframe", (data.shape[0], *pdq.shape))
    for array in planes:
        run_tile(prepare_coefficients_tile, array, lin_dq, pdq, threads=threads)
    run_tile(linearize_reads_tile, data, gdq, *planes, int(nframes), threads=threads)
    if zeroframe is not None:
        run_tile(linearize_zeroframe_tile, zeroframe, planes[0], 0, threads=threads)


def correct_linearity_of_reads(data, groupdq, pixeldq, coeffs, inverse, lin_dq, nframes, zeroframe=None, threads=None):
    """Apply the linearity correction to every read of averaged groups.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Counts after subtraction of bias and reference pixels [DN]; two groups or more.
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags; SATURATED samples are left alone.
    pixeldq : (ny, nx) uint32
        Pixel flags.
    coeffs, inverse : (ncoeff, ny, nx), (ninverse, ny, nx) float32
        Coefficients of the powers of the counts, and of the polynomial that gives counts from the linear signal.
    lin_dq : (ny, nx) uint32
        Flags of the reference.
    nframes : int
        Reads in a group.
    zeroframe : (nint, ny, nx) float32, optional
        First reads of the integrations [DN], 0 where unusable; each is a single read and corrected as such.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    Linearized
        New data, pixel flags (with those of the reference and NO_LIN_CORR) and ZEROFRAME (None if there was none).

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree, or there is one group only; nothing has been written.
    ParameterError
        ``nframes`` is not a count.

    Notes
    -----
    Source: reference behaviour. A pixel whose coefficients (of either polynomial) are flagged NO_LIN_CORR, hold a NaN
    or have c1 = 0 gets the identity for that polynomial, and NO_LIN_CORR.
    """
    nframes = as_count(nframes, "nframes")
    data = writable_copy(data, "data", np.float32, 4)
    pixeldq = writable_copy(pixeldq, "pixeldq", np.uint32, 2)
    if zeroframe is not None:
        zeroframe = writable_copy(zeroframe, "zeroframe", np.float32, 3)
    correct_linearity_of_reads_in_place(data, groupdq, pixeldq, coeffs, inverse, lin_dq, nframes, zeroframe, threads)
    return Linearized(data, pixeldq, zeroframe)
