"""Flagged pixels on their way to the ramp fit in lanes: they wait for others of the same region.

A piece of a row has only some flagged pixels, and what is done in lanes (`upramp.kernels._fit_lanes`) costs nearly the
same for five of them as for fifty. So their flagged ramps are copied to a queue, which is fitted whenever it is full,
and their results replace those that the quick fit has left. Symbols are those of `ramp_fit`.
"""

import numpy as np

from upramp.kernels._fit_lanes import fit_flagged, lane_scratch, median_rates_of_lanes
from upramp.kernels._jit import helper
from upramp.kernels._scratch import empty, zeros
from upramp.kernels._segments import ERR, SLOPE, VAR_POISSON, VAR_RNOISE

__all__ = ["LENGTH", "fit_queue", "pixel_queue", "put_pixels", "store_pixels"]

LENGTH = 256  # pixels of a queue
_ROW = LENGTH + 16  # rows of scratch at a power of two apart would compete for the same cache lines


@helper
def pixel_queue(n_integrations, n_groups):
    """An empty queue: what is copied of the pixels, where they are, and the lanes with their flagged ramps."""
    every = empty(_ROW, np.uint32)
    for x in range(_ROW):
        every[x] = x
    return (
        empty((n_integrations, _ROW), np.uint8),
        empty((n_integrations, _ROW), np.float64),
        empty((n_integrations + 1, 4, _ROW), np.float64),
        empty((n_integrations + 1, _ROW), np.uint32),
        (empty(_ROW, np.float32), empty(_ROW, np.float32), empty(_ROW, np.float64)),
        empty(_ROW, np.uint32),
        # Unsigned: compiled code does not ask whether an index is negative.
        empty((2, _ROW), np.uint64),
        every,
        # Zeros: lanes that are not taken are sorted with the others.
        zeros((n_groups, _ROW), np.float32),
        lane_scratch(n_integrations, n_groups, _ROW),
    )


@helper(counted=False)
def put_pixels(queue, waiting, columns, piece, inputs, place):
    """Copy the pixels in some columns of a ``piece`` (`piece_scratch`).

    ``waiting`` is the number of those that are in the queue already; ``place`` is the first group, and the row and
    column where the piece begins.
    """
    its_broken, its_medians, its_results, its_bits, its_references, its_pdq, places, _, _, lanes = queue
    lane_values, lane_flags, lane_columns, n_lanes = lanes[:4]
    its_gain, its_rn, its_dark = its_references
    broken, medians, slopes, rn, dark = piece[:5]
    data, gdq, pdq, gain = inputs[:4]
    start, r, left = place
    here = np.uint64(waiting)
    for m in range(columns.size):
        x, c = columns[m], here + np.uint64(m)
        its_gain[c], its_rn[c], its_dark[c] = gain[r, left + x], rn[x], dark[x]
        its_pdq[c] = pdq[r, left + x]
        places[0, c], places[1, c] = r, left + x
    for i in range(broken.shape[0]):
        before = np.uint64(0 if waiting == 0 else n_lanes[i])
        count = np.uint64(0)
        mine = lane_columns[i, before:]
        for m in range(columns.size):
            x, c = columns[m], here + np.uint64(m)
            its_broken[i, c] = broken[i, x]
            its_medians[i, c] = medians[i, x]
            its_results[i, SLOPE, c] = slopes[i, x]
            its_bits[i, c] = its_pdq[c]
            mine[count] = m
            count += np.uint64(broken[i, x] != 0)
        for k in range(lane_values.shape[1]):
            v, q = data[i, start + k, r, left:], gdq[i, start + k, r, left:]
            u, p = lane_values[i, k, before : before + count], lane_flags[i, k, before : before + count]
            for m in range(count):
                u[m] = v[columns[mine[m]]]
            for m in range(count):
                p[m] = q[columns[mine[m]]]
        for m in range(count):
            mine[m] += waiting
        n_lanes[i] = before + count


@helper(counted=False)
def _store(plane, values, places, n):
    for c in range(n if plane.size > 0 else 0):
        plane[places[0, c], places[1, c]] = values[c]


@helper(counted=False)
def store_pixels(planes, results, bits, places, n):
    """Write the results of ``n`` pixels to where they are in the `RatePlanes` of the exposure, or an integration."""
    slope, err, var_poisson, var_rnoise, dq = planes
    _store(slope, results[SLOPE], places, n)
    _store(err, results[ERR], places, n)
    _store(var_poisson, results[VAR_POISSON], places, n)
    _store(var_rnoise, results[VAR_RNOISE], places, n)
    _store(dq, bits, places, n)


@helper(counted=False)
def fit_queue(rate, integrations, queue, n, gdq, start, weights, ranges, times):
    """Fit the first ``n`` pixels of the queue, and store their results; the rest as in `fit_ramps_tile`."""
    broken, medians, results, bits, references, pdq, places, every, ordered, lanes = queue
    median_rates_of_lanes(lanes, medians, ordered, times[0])
    place = (start, places[0], places[1])
    some = every[:n]
    fit_flagged(results, bits, lanes, medians, broken, some, pdq, references, weights, gdq, place, ranges, times)
    slope, err, var_poisson, var_rnoise, dq = integrations
    ni = broken.shape[0]
    for i in range(ni):
        planes = (slope[i], err[i], var_poisson[i], var_rnoise[i], dq[i])
        store_pixels(planes, results[i], bits[i], places, n)
    store_pixels(rate, results[ni], bits[ni], places, n)
