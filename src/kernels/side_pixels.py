"""Subtract the drift of amplifiers measured by the reference pixels of MIRI.

Four amplifiers read every fourth column each, and the first and last four columns are reference pixels, one column of
either side for each amplifier. Of what has changed since the first group of an integration, the mean of the good
pixels of the left column, clipped as in `upramp.kernels.refpix`, is averaged with that of the right one, for even and
odd rows apart, and subtracted from the columns of the amplifier and the rows of that parity. The first group has
changed by nothing and is left as it is.

A column without a good pixel in one of its parities leaves the whole exposure as it is: the remaining columns cannot
be trusted either, and which pixels are good is the same in all groups (reference behaviour). A NaN in an unflagged
reference pixel makes what it corrects NaN.

Source: reference behaviour, with its precision: means are taken in float32.
"""

import logging

import numpy as np

from upramp.kernels._flags import DO_NOT_USE
from upramp.kernels._jit import helper, kernel, run_rows
from upramp.kernels._layout import ShapeError, as_canonical, check_shape
from upramp.kernels._refpix_statistics import clipped_mean_single
from upramp.kernels._tiles import require_in_place, run_tile

__all__ = [
    "AMPLIFIERS",
    "correct_side_pixels_in_place",
    "cut_sides",
    "drifts_of_sides",
    "subtract_drifts_tile",
]

log = logging.getLogger(__name__)

AMPLIFIERS = 4  # as many reference columns there are at each side


@helper
def _side_mean(mean, values, dq, column, start, step, limit, scratch):
    """Store the clipped mean of the good pixels start, start + step, ... of a column; returns whether there is any."""
    n = 0
    for r in range(start, values.shape[0], step):
        if dq[r, column] & DO_NOT_USE == 0:
            scratch[0, n] = values[r, column]
            n += 1
    mean[0] = clipped_mean_single(scratch[0], n, limit, scratch[1]) if n > 0 else np.float32(0)
    return n > 0


@kernel
def _drift_block(first, last, drifts, usable, change, dq, odd_even, limit):
    """Drifts of frames first ... last - 1, from what has changed in the sides (nframe, ny, 8) since the first group."""
    scratch = np.empty((2, change.shape[1]), np.float32)
    left, right = np.empty(1, np.float32), np.empty(1, np.float32)
    for frame in range(first, last):
        for amplifier in range(AMPLIFIERS):
            for parity in range(2):
                start, step = (parity, 2) if odd_even else (0, 1)
                other = AMPLIFIERS + amplifier
                found = _side_mean(left, change[frame], dq, amplifier, start, step, limit, scratch)
                found &= _side_mean(right, change[frame], dq, other, start, step, limit, scratch)
                usable[frame] &= found
                drifts[frame, 2 * amplifier + parity] = np.float32(0.5) * (left[0] + right[0])


@kernel
def subtract_drifts_tile(data, drifts, row0, column0, first, last, left, right):
    """Subtract drifts (nint, ngroup, 8) from what has changed since the first group, each step in float32.

    The tile's origin is (row0, column0) of the detector.
    """
    lines = np.empty((2, right - left), np.float32)
    for i in range(data.shape[0]):
        for g in range(1, data.shape[1]):
            for parity in range(2):
                for x in range(right - left):
                    amplifier = (column0 + left + x) % AMPLIFIERS
                    lines[parity, x] = drifts[i, g, 2 * amplifier + parity]
            for r in range(first, last):
                start = data[i, 0, r, left:right]
                row = data[i, g, r, left:right]
                drift = lines[(row0 + r) % 2]
                for x in range(row.size):
                    row[x] = ((row[x] - start[x]) - drift[x]) + start[x]


def cut_sides(array):
    """The reference columns of a full frame: (..., ny, 8) from (..., ny, nx)."""
    return np.concatenate([array[..., :AMPLIFIERS], array[..., -AMPLIFIERS:]], axis=-1)


def drifts_of_sides(sides, dq, *, odd_even_rows=True, siglimit=3.0, threads=None):
    """Drifts of the amplifiers since the first group of each integration.

    Parameters
    ----------
    sides : (nint, ngroup, ny, 8) float32
        Reference columns, left ones first, dark-subtracted [DN].
    dq : (ny, 8) uint32
        Their pixel flags; DO_NOT_USE excludes a pixel.
    odd_even_rows : bool
        Even and odd rows have drifts of their own.
    siglimit : float
        Limit of the clipped means [standard deviations].
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    (nint, ngroup, 8) float64 or None
        Drift of the even rows of amplifier 0, of its odd rows, of the even rows of amplifier 1, ... [DN]. None if a
        column has no good pixel in one of its parities.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree.
    """
    sides = as_canonical(sides, "sides", np.float32, 4)
    ni, ng, ny, _ = sides.shape
    dq = as_canonical(dq, "dq", np.uint32, 2)
    check_shape(sides, "sides", (ni, ng, ny, 2 * AMPLIFIERS))
    check_shape(dq, "dq", (ny, 2 * AMPLIFIERS))
    change = (sides - sides[:, :1]).reshape(ni * ng, ny, 2 * AMPLIFIERS)
    drifts = np.zeros((ni * ng, 2 * AMPLIFIERS), np.float64)
    usable = np.ones(ni * ng, np.bool_)
    # A copy, since a read-only array would make numba compile anew.
    flags = np.array(dq, order="C")
    run_rows(
        _drift_block,
        ni * ng,
        drifts,
        usable,
        change,
        flags,
        bool(odd_even_rows),
        float(siglimit),
        threads=threads,
        block=1,
    )
    if not usable.all():
        log.warning("A column of reference pixels has no good pixel: none of the drifts is subtracted")
        return None
    return drifts.reshape(ni, ng, 2 * AMPLIFIERS)


def correct_side_pixels_in_place(data, pdq, *, odd_even_rows=True, siglimit=3.0, threads=None):
    """Correct full frames of MIRI by their reference columns.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Dark-subtracted counts [DN], changed; the first and last four columns are reference pixels.
    pdq : (ny, nx) uint32
        Pixel flags.
    odd_even_rows, siglimit, threads
        See `drifts_of_sides`.

    Returns
    -------
    bool
        False, and nothing is changed, if a reference column has no good pixel in one of its parities.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree, or have fewer than eight columns; nothing has been written.
    """
    require_in_place(data, "data", np.float32, 4)
    pdq = as_canonical(pdq, "pixeldq", np.uint32, 2)
    check_shape(pdq, "pixeldq", data.shape[-2:])
    if data.shape[-1] < 2 * AMPLIFIERS:
        raise ShapeError(f"data has {data.shape[-1]} columns; expected at least {2 * AMPLIFIERS}")
    drifts = drifts_of_sides(
        cut_sides(data), cut_sides(pdq), odd_even_rows=odd_even_rows, siglimit=siglimit, threads=threads
    )
    if drifts is None:
        return False
    run_tile(subtract_drifts_tile, data, drifts, 0, 0, threads=threads)
    return True
