"""Bring the static bad-pixel mask into the data-quality arrays.

Model: ``P |= mask`` for the pixel flags; ``Q |= mask & DO_NOT_USE`` for the flags of every group, so that a pixel
that must not be used never gets a ramp. Bits already there stay (reference behaviour).
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._flags import DO_NOT_USE
from upramp.kernels._jit import kernel
from upramp.kernels._layout import as_canonical, check_shape, writable_copy
from upramp.kernels._tiles import require_in_place, run_tile

__all__ = ["DataQuality", "init_dq", "init_dq_in_place", "init_dq_tile", "merge_dq_tile"]


_FEW = 32  # a store each for less than one of so many pixels, or else all of them in packed stores


class DataQuality(NamedTuple):
    """Pixel flags (ny, nx) uint32 and group flags (nint, ngroup, ny, nx) uint8."""

    pixeldq: np.ndarray
    groupdq: np.ndarray


@kernel
def merge_dq_tile(pdq, dq, first, last, left, right):
    """Add the pixel flags of a reference to those of the exposure."""
    for r in range(first, last):
        p = pdq[r, left:right]
        d = dq[r, left:right]
        for x in range(p.size):
            p[x] |= d[x]


@kernel
def init_dq_tile(gdq, pdq, mask, first, last, left, right):
    """Add the mask to the pixel flags, and its DO_NOT_USE bit to the flags of every group."""
    merge_dq_tile(pdq, mask, first, last, left, right)
    unusable = np.empty(right - left, np.uint8)
    # Unsigned: compiled code does not ask whether an index is negative.
    columns = np.empty(right - left, np.uint32)
    for r in range(first, last):
        m = mask[r, left:right]
        for x in range(unusable.size):
            unusable[x] = m[x] & DO_NOT_USE
        count = 0
        for x in range(unusable.size):
            columns[count] = x
            count += unusable[x]
        for i in range(gdq.shape[0]):
            for g in range(gdq.shape[1]):
                q = gdq[i, g, r, left:right]
                if count * _FEW < q.size:
                    for x in columns[:count]:
                        q[x] |= DO_NOT_USE
                else:
                    for x in range(q.size):
                        q[x] |= unusable[x]


def init_dq_in_place(gdq, pdq, mask, threads=None):
    """`init_dq` without the copies: ``gdq`` and ``pdq`` are native, C-ordered and are changed."""
    require_in_place(gdq, "groupdq", np.uint8, 4)
    require_in_place(pdq, "pixeldq", np.uint32, 2)
    mask = as_canonical(mask, "mask", np.uint32, 2)
    check_shape(pdq, "pixeldq", gdq.shape[-2:])
    check_shape(mask, "mask", pdq.shape)
    run_tile(init_dq_tile, gdq, pdq, mask, threads=threads)


def init_dq(mask, pixeldq, groupdq, threads=None):
    """Add a static bad-pixel mask to the flags of an exposure.

    Parameters
    ----------
    mask : (ny, nx) uint32
        Flags of the mask reference, as standard bits.
    pixeldq : (ny, nx) uint32
        Pixel flags so far.
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags so far.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    DataQuality
        New pixel and group flags.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree, or are not integers.

    Notes
    -----
    Source: reference behaviour. Only DO_NOT_USE of the mask enters the group flags.
    """
    groupdq = writable_copy(groupdq, "groupdq", np.uint8, 4)
    pixeldq = writable_copy(pixeldq, "pixeldq", np.uint32, 2)
    init_dq_in_place(groupdq, pixeldq, mask, threads)
    return DataQuality(pixeldq, groupdq)
