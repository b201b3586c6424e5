"""The few strange pixels of a row on their way through the ramp fit, one by one. Symbols are those of `ramp_fit`."""

import numpy as np

from upramp.kernels._fit_lanes import lane_scratch, median_rates_of_lanes, take_lanes
from upramp.kernels._fit_queue import store_pixels
from upramp.kernels._jit import helper
from upramp.kernels._scratch import empty, zeros
from upramp.kernels._segments import SLOPE, fit_flagged_pixel, survey_flags, write_back

__all__ = ["fit_strange", "strange_scratch"]


@helper
def strange_scratch(n_integrations, n_groups, width):
    """Room for as many pixels: their ramps and flags, what the quick fit has left of them, and their results."""
    return (
        empty((n_integrations, n_groups, width), np.float32),
        empty((n_integrations, n_groups, width), np.uint8),
        empty((n_integrations, width), np.uint8),
        empty((n_integrations, width), np.float64),
        empty((n_integrations + 1, 4, width), np.float64),
        empty((n_integrations + 1, width), np.uint32),
        empty((n_integrations, 5, width), np.uint16),
        empty((2, n_groups), np.int64),
        empty(n_integrations, np.int64),
        empty(n_integrations, np.float32),
        empty((2, width), np.uint64),
        # Zeros: lanes that are not taken are sorted with the others.
        zeros((n_groups, width), np.float32),
        lane_scratch(n_integrations, n_groups, width),
    )


@helper(counted=False)
def _take(scratch, columns, piece, data, gdq, start, r, left):
    """Copy the pixels in some columns of a piece."""
    values, flags, broken, medians, results = scratch[:5]
    places = scratch[10]
    its_broken, its_medians, its_slopes = piece[:3]
    for m in range(columns.size):
        places[0, m], places[1, m] = r, left + columns[m]
    for i in range(values.shape[0]):
        for m in range(columns.size):
            x = columns[m]
            broken[i, m] = its_broken[i, x]
            medians[i, m] = its_medians[i, x]
            results[i, SLOPE, m] = its_slopes[i, x]
        for k in range(values.shape[1]):
            v, f = values[i, k], flags[i, k]
            y, q = data[i, start + k, r, left:], gdq[i, start + k, r, left:]
            for m in range(columns.size):
                v[m] = y[columns[m]]
            for m in range(columns.size):
                f[m] = q[columns[m]]


@helper(counted=False)
def fit_strange(
    rate, integrations, scratch, columns, piece, inputs, zeroframe, weights, ranges, suppress, times, place
):
    """Fit the pixels in some columns of a ``piece`` (`piece_scratch`), and replace the results that are there of them.

    ``place`` is the first group, the row and the column where the piece begins; the rest as in `fit_ramps_tile`.
    """
    values, flags, broken, medians, results, bits, survey, segments, kinds, reads, places, ordered, lanes = scratch
    data, gdq, pdq, gain = inputs[:4]
    start, r, left = place
    n = columns.size
    _take(scratch, columns, piece, data, gdq, start, r, left)
    if values.shape[1] > 1:
        take_lanes(lanes, broken, values, flags, n)
        median_rates_of_lanes(lanes, medians, ordered, times[0])
    for i in range(values.shape[0]):
        survey_flags(survey[i], flags[i], n)
    rn, dark = piece[3], piece[4]
    first_reads = reads[: reads.size if zeroframe.size > 0 else 0]
    for m in range(n):
        c = columns[m]
        x = left + c
        for i in range(first_reads.size):
            first_reads[i] = zeroframe[i, r, x]
        suppressed = fit_flagged_pixel(
            results,
            bits,
            broken,
            flags,
            values,
            survey,
            m,
            pdq[r, x],
            float(gain[r, x]),
            float(rn[c]),
            float(dark[c]),
            medians,
            first_reads,
            weights,
            gdq,
            (start, r, x),
            ranges,
            suppress,
            times,
            segments,
            kinds,
        )
        if suppressed or start > 0:
            write_back(gdq, kinds, start, r, x)
    slope, err, var_poisson, var_rnoise, dq = integrations
    for i in range(kinds.size):
        planes = (slope[i], err[i], var_poisson[i], var_rnoise[i], dq[i])
        store_pixels(planes, results[i], bits[i], places, n)
    store_pixels(rate, results[kinds.size], bits[kinds.size], places, n)
