"""Leave out the first and the last group of MIRI ramps (firstframe, lastframe).

The last group of an integration is disturbed by the reset that follows it, the first one by the reset before. They get
DO_NOT_USE in every pixel. With ``keep_bright`` the first group stays where the third one is saturated: there the effect
is small against the signal, and too few groups are left; such pixels get FLUX_ESTIMATED.

Source: reference behaviour.
"""

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, FLUX_ESTIMATED, SATURATED
from upramp.kernels._jit import kernel
from upramp.kernels._layout import ShapeError, check_shape
from upramp.kernels._tiles import require_in_place, run_tile

__all__ = [
    "MINIMUM_GROUPS_FIRST",
    "MINIMUM_GROUPS_LAST",
    "flag_first_group_in_place",
    "flag_first_group_tile",
    "flag_last_group_in_place",
    "flag_last_group_tile",
]

MINIMUM_GROUPS_FIRST = 4
MINIMUM_GROUPS_LAST = 3


@kernel
def flag_first_group_tile(gdq, pdq, keep_bright, first, last, left, right):
    """Flag the first group of every integration; with ``keep_bright`` 1 not where the third group is saturated."""
    for i in range(gdq.shape[0]):
        for r in range(first, last):
            p = pdq[r, left:right]
            q = gdq[i, 0, r, left:right]
            third = gdq[i, 2, r, left:right]
            for x in range(q.size):
                q[x] |= DO_NOT_USE if keep_bright == 0 or (third[x] & SATURATED) == 0 else 0
            for x in range(q.size):
                p[x] |= FLUX_ESTIMATED if keep_bright != 0 and (third[x] & SATURATED) != 0 else 0


@kernel
def flag_last_group_tile(gdq, first, last, left, right):
    """Flag the last group of every integration."""
    for i in range(gdq.shape[0]):
        for r in range(first, last):
            q = gdq[i, gdq.shape[1] - 1, r, left:right]
            for x in range(q.size):
                q[x] |= DO_NOT_USE


def flag_first_group_in_place(gdq, pdq, keep_bright=True, threads=None):
    """Leave out the first group.

    Parameters
    ----------
    gdq : (nint, ngroup, ny, nx) uint8
        Group flags, changed; at least 4 groups.
    pdq : (ny, nx) uint32
        Pixel flags, changed.
    keep_bright : bool
        Keep it where the third group is saturated.
    threads : int or None
        Number of threads; None for all cores.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree or have too few groups; nothing has been written.
    """
    require_in_place(gdq, "groupdq", np.uint8, 4)
    require_in_place(pdq, "pixeldq", np.uint32, 2)
    check_shape(pdq, "pixeldq", gdq.shape[-2:])
    _check_groups(gdq, MINIMUM_GROUPS_FIRST)
    run_tile(flag_first_group_tile, gdq, pdq, int(keep_bright), threads=threads)


def flag_last_group_in_place(gdq, threads=None):
    """Leave out the last group.

    Parameters
    ----------
    gdq : (nint, ngroup, ny, nx) uint8
        Group flags, changed; at least 3 groups.
    threads : int or None
        Number of threads; None for all cores.

    Raises
    ------
    ShapeError, DTypeError
        Not group flags, or too few groups; nothing has been written.
    """
    require_in_place(gdq, "groupdq", np.uint8, 4)
    _check_groups(gdq, MINIMUM_GROUPS_LAST)
    run_tile(flag_last_group_tile, gdq, threads=threads)


def _check_groups(gdq, minimum):
    if gdq.shape[1] < minimum:
        raise ShapeError(f"groupdq has {gdq.shape[1]} groups; expected at least {minimum}")
