"""Flag groups of pixels that remember a bright source: for a time after they were saturated, or above a threshold.

Every pixel has a time until which it remembers (0: it does not), which is carried on from integration to integration.
A saturated group sets it, as long as the pixel has been saturated once in the integration; so does, where no time is
set, a signal above the threshold. While it lasts groups get PERSISTENCE, the one that set it included.

Source: reference behaviour.
"""

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, PERSISTENCE, SATURATED
from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import as_canonical, as_time, writable_copy
from upramp.kernels._rows import any_above
from upramp.kernels._tiles import require_in_place, run_tile

__all__ = ["flag_persistence", "flag_persistence_in_place", "flag_persistence_tile", "flags_of_persistence"]


def flags_of_persistence(do_not_use):
    """The bits that are set."""
    return PERSISTENCE | (DO_NOT_USE if do_not_use else 0)


@helper
def _flag_pixel(gdq, data, until, times, duration, limit, bits, r, x):
    """Go through the groups of one pixel; returns until when it remembers."""
    for i in range(gdq.shape[0]):
        times_saturated = 0
        for g in range(gdq.shape[1]):
            now = times[i, g]
            end = now + duration
            q = gdq[i, g, r, x]
            if until < now:
                until = 0.0
            if (q & SATURATED) != 0:
                times_saturated += 1
            if times_saturated == 1:
                until = end
            if until == 0.0 and limit == limit and data[i, g, r, x] > limit:
                until = end
            if until > end:  # it was set later than now
                until = 0.0
            if until > 0.0:
                gdq[i, g, r, x] = q | bits
    return until


@kernel
def flag_persistence_tile(gdq, data, until, times, duration, threshold, flags, row0, column0, first, last, left, right):
    """Flag the groups of a region; ``until`` is of the whole frame, in which the tile's origin is (row0, column0).

    With a threshold of NaN only saturation counts. Most pixels have nothing to remember: they are left alone. To find
    the others takes one look at every sample, in the order in which they lie.
    """
    limit = np.float32(threshold)
    bits = np.uint8(flags)
    reasons = np.empty((last - first, right - left), np.uint8)
    for r in range(first, last):
        found, u = reasons[r - first], until[row0 + r, column0 + left : column0 + right]
        for x in range(u.size):
            found[x] = 1 if u[x] != 0.0 else 0
    for i in range(gdq.shape[0]):
        for g in range(gdq.shape[1]):
            for r in range(first, last):
                found, q = reasons[r - first], gdq[i, g, r, left:right]
                for x in range(q.size):
                    found[x] |= q[x] & np.uint8(SATURATED)
            if threshold == threshold:
                for r in range(first, last):
                    row = data[i, g, r, left:right]
                    if any_above(row, limit):
                        found = reasons[r - first]
                        for x in range(row.size):
                            found[x] |= np.uint8(1) if row[x] > limit else np.uint8(0)
    for r in range(first, last):
        found, u = reasons[r - first], until[row0 + r, column0 + left : column0 + right]
        for x in range(found.size):
            if found[x] != 0:
                u[x] = _flag_pixel(gdq, data, u[x], times, duration, limit, bits, r, left + x)


def flag_persistence_in_place(
    groupdq, data, until, times, duration, *, threshold=None, do_not_use=False, threads=None
):  # fmt: skip
    """Flag persistence.

    Parameters
    ----------
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags, changed.
    data : (nint, ngroup, ny, nx) float32
        Ramps [DN].
    until : (ny, nx) float64
        Times until which pixels remember [s], 0 where they do not; changed to those after the last group.
    times : (nint, ngroup) float64
        When the groups end [s], on the same clock.
    duration : float
        For how long pixels remember [s].
    threshold : float, optional
        Signals above it [DN] are remembered too.
    do_not_use : bool
        Flag DO_NOT_USE as well.
    threads : int or None
        Number of threads; None for all cores.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.
    ParameterError
        The duration is not positive.
    """
    require_in_place(groupdq, "groupdq", np.uint8, 4)
    require_in_place(until, "until", np.float64, 2, groupdq.shape[-2:])
    data = as_canonical(data, "data", np.float32, 4, groupdq.shape)
    times = as_canonical(times, "times", np.float64, 2, groupdq.shape[:2])
    duration = as_time(duration, "duration")
    limit = np.nan if threshold is None else float(threshold)
    arguments = data, until, times, float(duration), limit, flags_of_persistence(do_not_use), 0, 0
    run_tile(flag_persistence_tile, groupdq, *arguments, threads=threads)


def flag_persistence(data, groupdq, times, duration, *, until=None, threshold=None, do_not_use=False, threads=None):
    """Group flags with PERSISTENCE where pixels remember a bright source.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Ramps [DN]. NaN is not above the threshold.
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags; SATURATED counts.
    times : (nint, ngroup) float64
        When the groups end [s].
    duration : float
        For how long pixels remember [s].
    until : (ny, nx) float64, optional
        Times until which pixels remember from before [s], on the same clock, 0 where they do not.
    threshold : float, optional
        Signals above it [DN] are remembered too.
    do_not_use : bool
        Flag DO_NOT_USE as well.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    groupdq : (nint, ngroup, ny, nx) uint8
        New group flags.
    until : (ny, nx) float64
        Times until which pixels remember after the last group [s].

    Raises
    ------
    ShapeError, DTypeError, ParameterError
        The arrays disagree, or the duration is not positive.

    Notes
    -----
    Source: reference behaviour.
    """
    groupdq = writable_copy(groupdq, "groupdq", np.uint8, 4)
    until = np.zeros(groupdq.shape[-2:]) if until is None else writable_copy(until, "until", np.float64, 2)
    keywords = {"threshold": threshold, "do_not_use": do_not_use, "threads": threads}
    flag_persistence_in_place(groupdq, data, until, times, duration, **keywords)
    return groupdq, until
