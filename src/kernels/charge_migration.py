"""Leave out groups in which charge migrates to the neighbouring pixels.

Near the full well the collected charge repels what comes after it, which lands in the pixels next to it. From the first
group of an integration with a signal above the threshold on, a pixel and its four neighbours get CHARGELOSS and
DO_NOT_USE; the ramp fit then takes the read noise of the ramps as if these groups were there.

Source: reference behaviour.
"""

import numpy as np

from upramp.kernels._flags import CHARGELOSS, DO_NOT_USE
from upramp.kernels._jit import kernel
from upramp.kernels._layout import as_canonical, writable_copy
from upramp.kernels._rows import any_above, copy_row, fill_row, lower_row
from upramp.kernels._tiles import require_in_place, run_tile

__all__ = [
    "MINIMUM_GROUPS",
    "find_migration_tile",
    "flag_charge_migration",
    "flag_charge_migration_in_place",
    "flag_migration_tile",
]

MINIMUM_GROUPS = 3


@kernel
def find_migration_tile(migrates_from, data, gdq, threshold, first, last, left, right):
    """First group of every pixel with a signal above the threshold, or the number of groups; returns how many migrate.

    Groups whose only flag is DO_NOT_USE do not count; such that have others besides do.
    """
    ngroups = data.shape[1]
    none = np.int32(ngroups)
    limit = np.float32(threshold)
    count = 0
    for i in range(data.shape[0]):
        for r in range(first, last):
            fill_row(migrates_from[i, r, left:right], none)
        for g in range(ngroups):
            group = np.int32(g)
            for r in range(first, last):
                row = data[i, g, r, left:right]
                if not any_above(row, limit):
                    continue
                q, s = gdq[i, g, r, left:right], migrates_from[i, r, left:right]
                for x in range(s.size):
                    found = (row[x] > limit) & (q[x] != DO_NOT_USE)
                    s[x] = min(s[x], group if found else none)
        for r in range(first, last):
            s = migrates_from[i, r, left:right]
            for x in range(s.size):
                count += 1 if s[x] < none else 0
    return count


@kernel
def flag_migration_tile(gdq, migrates_from, first, last, left, right):
    """Flag every pixel from the first group on in which it or one of its four neighbours migrates."""
    ngroups = gdq.shape[1]
    ny, nx = migrates_from.shape[1:]
    earliest = np.empty(right - left, np.int32)
    for i in range(gdq.shape[0]):
        for r in range(first, last):
            above, below = migrates_from[i, max(r - 1, 0)], migrates_from[i, min(r + 1, ny - 1)]
            here = migrates_from[i, r]
            copy_row(earliest, here[left:right])
            lower_row(earliest, above[left:right])
            lower_row(earliest, below[left:right])
            before, after = max(left, 1), min(right, nx - 1)
            lower_row(earliest[before - left :], here[before - 1 : right - 1])
            lower_row(earliest[: after - left], here[left + 1 : after + 1])
            lowest = np.int32(ngroups)
            for x in range(earliest.size):
                lowest = min(lowest, earliest[x])
            for g in range(lowest, ngroups):
                q = gdq[i, g, r, left:right]
                for x in range(q.size):
                    q[x] |= np.uint8(CHARGELOSS | DO_NOT_USE) if earliest[x] <= g else np.uint8(0)


def flag_charge_migration_in_place(groupdq, data, threshold, threads=None):
    """Flag charge migration.

    Parameters
    ----------
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags, changed.
    data : (nint, ngroup, ny, nx) float32
        Ramps [DN].
    threshold : float
        Charge migrates in groups above this signal [DN].
    threads : int or None
        Number of threads; None for all cores.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.
    """
    require_in_place(groupdq, "groupdq", np.uint8, 4)
    data = as_canonical(data, "data", np.float32, 4, groupdq.shape)
    migrates_from = np.empty((1, *groupdq.shape[-2:]), np.int32)
    for i in range(len(groupdq)):
        flags = groupdq[i : i + 1]
        if run_tile(find_migration_tile, migrates_from, data[i : i + 1], flags, float(threshold), threads=threads):
            run_tile(flag_migration_tile, flags, migrates_from, threads=threads)


def flag_charge_migration(data, groupdq, threshold=25000.0, threads=None):
    """Group flags with CHARGELOSS and DO_NOT_USE where charge migrates.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Ramps [DN]. NaN does not migrate.
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags.
    threshold : float
        Charge migrates in groups above this signal [DN].
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    (nint, ngroup, ny, nx) uint8
        New group flags.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree.

    Notes
    -----
    Source: reference behaviour. A group whose only flag is DO_NOT_USE does not start migration.
    """
    groupdq = writable_copy(groupdq, "groupdq", np.uint8, 4)
    flag_charge_migration_in_place(groupdq, data, threshold, threads)
    return groupdq
