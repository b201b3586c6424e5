"""What the likelihood fit knows of a readout: when its groups were read, and the covariance that follows.

Source: Brandt (2024a), PASP 136, 045004, eqs. 4, 11, 28 and 29.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._layout import ShapeError
from upramp.kernels._likelihood_lanes import (
    INVERSE_TIME,
    PHOTON_BESIDE,
    PHOTON_DIAGONAL,
    READ_BESIDE,
    READ_DIAGONAL,
    SHARED_READS,
)
from upramp.kernels.ramp_fit import RatePlanes

__all__ = [
    "LikelihoodFit",
    "RatePlanes",
    "as_read_times",
    "empty_planes",
    "even_read_times",
    "readout_table",
    "resultant_times",
    "split_first_group",
]


class LikelihoodFit(NamedTuple):
    """Rates of the exposure (ny, nx) and of each integration (nint, ny, nx), chi-squared of both, and group flags."""

    rate: RatePlanes
    integrations: RatePlanes
    chi2: np.ndarray
    chi2_integrations: np.ndarray
    groupdq: np.ndarray


def empty_planes(*shape):
    """`RatePlanes` to be filled."""
    return RatePlanes(*(np.empty(shape, np.float32) for _ in range(4)), np.empty(shape, np.uint32))


def even_read_times(n_groups, frame_time, nframes=1, groupgap=0):
    """Times of the reads of evenly spaced groups.

    Parameters
    ----------
    n_groups : int
    frame_time : float
        Time of one read [s].
    nframes, groupgap : int
        Reads averaged into a group, and reads left out after it.

    Returns
    -------
    (n_groups, nframes) float64
        Times since the reset [s]; reads dropped before the first group are not counted (reference behaviour).
    """
    return (np.arange(1, nframes + 1) + np.arange(n_groups)[:, np.newaxis] * (nframes + groupgap)) * frame_time


def as_read_times(read_times, name="read_times"):
    """Times, or numbers, of the reads of every resultant as a list of float64 arrays.

    Raises
    ------
    ShapeError
        They are no sequence of numbers or sequences of them; a resultant without reads; times that are not finite, or
        do not increase within a resultant, or from mean to mean.

    Notes
    -----
    Reads of averaged resultants may overlap in time: those of the stripes of a superstripe readout do.
    """
    expected = "expected all reads of every group in order, such as [[1], [2, 3]]"
    try:
        times = [np.atleast_1d(np.asarray(one, np.float64)) for one in read_times]
    except (TypeError, ValueError) as error:
        raise ShapeError(f"{name} is {read_times!r}; {expected}") from error
    inside = all(one.ndim == 1 and one.size > 0 and np.all(np.diff(one) > 0) for one in times)
    if not inside or not np.all(np.diff([one.mean() for one in times]) > 0) or not np.isfinite(np.hstack(times)).all():
        raise ShapeError(f"{name}: the reads are not increasing, or a group has none; {expected}")
    return times


def split_first_group(read_times):
    """Read times with the first read of the first group as a resultant of its own: that of the ZEROFRAME."""
    first = np.asarray(read_times[0])
    return [first[:1], first[1:], *read_times[1:]]


def resultant_times(read_times):
    """Number of reads, mean time and variance-weighted mean time of every resultant: three (n,) float64 [s].

    Raises
    ------
    ShapeError
        See `as_read_times`.
    """
    times = as_read_times(read_times)
    reads = np.array([one.size for one in times], np.float64)
    mean = np.array([one.mean() for one in times])
    weighted = np.array([np.sum((2 * one.size - 1 - 2 * np.arange(one.size)) * one) / one.size**2 for one in times])
    return reads, mean, weighted


def readout_table(read_times):
    """Covariance of the differences of a readout, but for read noise and count rate.

    Parameters
    ----------
    read_times : sequence of K + 1 sequences of float
        Times of the reads of every resultant, see `resultant_times` [s].

    Returns
    -------
    (6, K) float64
        For every difference 1/dt [1/s]; the diagonal and the element beside it per read variance and per photon rate;
        and the number of reads of the resultant shared with the next difference (0 for the last).

    Raises
    ------
    ShapeError
        See `as_read_times`.
    """
    reads, mean, weighted = resultant_times(read_times)
    step = np.diff(mean)
    table = np.zeros((6, step.size))
    table[INVERSE_TIME] = 1 / step
    table[READ_DIAGONAL] = (1 / reads[:-1] + 1 / reads[1:]) / step**2
    table[PHOTON_DIAGONAL] = (weighted[:-1] + weighted[1:] - 2 * mean[:-1]) / step**2
    table[READ_BESIDE, :-1] = -1 / (reads[1:-1] * step[1:] * step[:-1])
    table[PHOTON_BESIDE, :-1] = (mean[1:-1] - weighted[1:-1]) / (step[1:] * step[:-1])
    table[SHARED_READS, :-1] = reads[1:-1]
    return table
