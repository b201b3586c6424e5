"""The ramp fit of flagged but otherwise plain pixels: one step at a time for many such pixels.

Here every flagged ramp of an integration is a *lane*: copies of them lie densely, and what is done to all groups or all
segments is a loop over lanes. Against one pixel after the other (`upramp.kernels._segments`, which keeps what is rare:
NaN, bad references, lone groups as a user may ask for them) the same numbers take half of the time. Symbols are
those of `ramp_fit`.
"""

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, JUMP_DET, SATURATED
from upramp.kernels._jit import helper
from upramp.kernels._median import lane_median, sort_lanes
from upramp.kernels._rows import fill_row
from upramp.kernels._scratch import empty
from upramp.kernels._segments import (
    ERR,
    FOUND,
    LARGEST_VARIANCE,
    N_BAD,
    N_GOOD,
    N_SATURATED,
    PERSISTENCE,
    SLOPE,
    UNUSABLE,
    VAR_POISSON,
    VAR_RNOISE,
    segment_shape,
    segment_slope,
    survey_flags,
)

__all__ = ["fit_flagged", "lane_scratch", "median_rates_of_lanes", "take_lanes"]

# Rows of sums over the segments of a ramp: of shapes, spans, shape * slope and 1 / (vp + vr), see `_segments`.
SHAPES, SPANS, SLOPES, BY_BOTH = 0, 1, 2, 3
SUMS = 4

# Rows of tallies over the integrations of a pixel: how many are unusable, how many saturated; all flags.
N_UNUSABLE, N_FULL, ALL_BITS = 0, 1, 2

_USABLE, _VOID = 1, 2  # what `_judge_lanes` makes of the marks of broken ramps


@helper
def lane_scratch(n_integrations, n_groups, width):
    """Scratch of `fit_flagged` for so many columns."""
    return (
        empty((n_integrations, n_groups, width), np.float32),
        empty((n_integrations, n_groups, width), np.uint8),
        empty((n_integrations, width), np.uint32),
        empty(n_integrations, np.int64),
        empty(width, np.int32),
        empty((n_integrations, SUMS, width), np.float64),
        empty((14, width), np.float64),
        empty((3, width), np.uint32),
        empty((3, width * (n_groups // 2 + 1)), np.int32),
        empty((5, width), np.int32),
        empty(width, np.uint8),
        empty((5, width), np.uint16),
    )


@helper(counted=False)
def _take_lanes(columns, lane_values, lane_flags, broken, values, flags, n):
    """Copy the ``broken`` ramps of one integration of ``n`` pixels; ``columns`` gets their columns.

    Returns how many there are.
    """
    count = 0
    for x in range(n):
        columns[count] = np.uint32(x)
        count += broken[x] != 0
    for k in range(values.shape[0]):
        v, q = values[k], flags[k]
        u, p = lane_values[k], lane_flags[k]
        for m in range(count):
            u[m] = v[columns[m]]
        for m in range(count):
            p[m] = q[columns[m]]
    return count


@helper(counted=False)
def _flagged_median_rates(medians, ordered, exists, counts, columns, values, flags, group_time, n):
    """Median of the usable first differences of ``n`` lanes over the group time [DN/s]; NaN if there are none."""
    rows = values.shape[0] - 1
    infinity = np.float32(np.inf)
    fill_row(counts[:n], 0)
    e = exists[:n]
    for j in range(rows):
        a, b = values[j, :n], values[j + 1, :n]
        p, q = flags[j, :n], flags[j + 1, :n]
        d = ordered[j, :n]
        # Three loops: with all arrays in one, LLVM gives up proving that they do not overlap.
        for m in range(n):
            e[m] = ((p[m] & UNUSABLE) | (q[m] & (UNUSABLE | JUMP_DET))) == 0
        for m in range(n):
            v = b[m] - a[m]
            e[m] &= v == v
            d[m] = v if e[m] else infinity
        for m in range(n):
            counts[m] += e[m]
    # A multiple of 16 lanes takes only the packed loop; the lanes beyond hold old numbers, which do no harm.
    sort_lanes(ordered, rows, min((n + 15) // 16 * 16, ordered.shape[1]))
    for m in range(n):
        count = counts[m]
        medians[columns[m]] = lane_median(ordered, m, 0, count) / group_time if count > 0 else np.nan


@helper(counted=False)
def _judge_lanes(medians, bits, tallies, broken, survey, columns, values, flags, pdq, gdq, place, group_time, n):
    """Flags of ``n`` lanes of one integration, and what they add to the photon rate in place of their ``medians``.

    Ramps of one good group are suppressed. ``place`` is where the pixels are in ``gdq``: the integration, the first
    group, rows and columns. ``broken`` gets 1 for lanes that can be used and 2 for others.
    """
    n_groups = values.shape[0]
    i, start, rows, across = place
    survey_flags(survey, flags, n)
    good, saturated = survey[N_GOOD], survey[N_SATURATED]
    first, q = values[0], flags[0]
    if start > 0:
        # The jump flag of a first group that was not the first of the exposure goes, but does not count as gone for
        # lone groups (order of the reference).
        for m in range(n):
            found = np.uint16(0)
            for k in range(n_groups):
                found |= flags[k, m] & (~JUMP_DET if k == 0 else 255)
            survey[FOUND, m] = found
            q[m] &= ~JUMP_DET
            x = columns[m]
            gdq[i, start, rows[x], across[x]] &= ~JUMP_DET
    for m in range(n):
        x = columns[m]
        found = survey[FOUND, m]
        suppressed = good[m] == 1
        result = pdq[x] | (found & (JUMP_DET | PERSISTENCE))
        if (q[m] & SATURATED) != 0 or saturated[m] == n_groups:
            result |= UNUSABLE
        elif suppressed or survey[N_BAD, m] == n_groups:
            result |= DO_NOT_USE
        partial = SATURATED if saturated[m] > 0 else 0
        tallies[N_UNUSABLE, x] += (result & DO_NOT_USE) != 0
        tallies[N_FULL, x] += (result & SATURATED) != 0
        tallies[ALL_BITS, x] |= found | partial
        bits[x] = result | partial
        broken[x] = _VOID if (result & UNUSABLE) != 0 else _USABLE
        rate = medians[x]
        if rate != rate:
            rate = first[m] / group_time if (q[m] & UNUSABLE) == 0 else 0.0
        medians[x] = 0.0 if suppressed else rate
        if suppressed:
            for k in range(gdq.shape[1]):
                gdq[i, k, rows[x], across[x]] |= DO_NOT_USE


@helper(counted=False)
def _list_segments(segments, states, ends, broken, columns, flags, n):
    """Cut the ramps of ``n`` lanes into segments: lanes, first groups and ends (exclusive) into ``segments`` (3, size).

    The rules are those of `_segments.find_segments`; lanes that cannot be used have none (``broken`` is 2). Returns how
    many there are. ``states`` (5, width) int32 and ``ends`` are scratch.
    """
    start, former, lone, found = states[0, :n], states[1, :n], states[2, :n], states[3, :n]
    void = states[4, :n]
    for m in range(n):
        void[m] = broken[columns[m]] == _VOID
    lanes, firsts, stops = segments[0], segments[1], segments[2]
    fill_row(start, np.int32(-1))
    fill_row(lone, np.int32(-1))
    fill_row(found, np.int32(0))
    n_groups = flags.shape[0]
    count = 0
    any_lone = False
    for k in range(n_groups + 1):
        last = k == n_groups
        q = flags[min(k, n_groups - 1), :n]
        before = flags[max(k - 1, 0), :n]
        here = np.int32(k)
        for m in range(n):
            former[m] = start[m]
        for m in range(n):
            after_jump = (k > 0) & ((before[m] & ~PERSISTENCE) == JUMP_DET)
            opened = here - np.int32(after_jump)
            good = (((q[m] & ~PERSISTENCE) | void[m]) == 0) & (not last)
            begun = former[m] if former[m] >= 0 else opened
            start[m] = begun if good else np.int32(-1)
        closed = np.uint8(0)
        for m in range(n):
            ends[m] = (start[m] < 0) & (former[m] >= 0)
        for m in range(n):
            closed |= ends[m]
        if closed == 0:
            continue
        for m in range(n):
            alone = (ends[m] != 0) & (here - former[m] == 1)
            lone[m] = former[m] if alone & (lone[m] < 0) else lone[m]
        for m in range(n):
            alone = (ends[m] != 0) & (here - former[m] == 1)
            ends[m] = np.uint8(0) if alone else ends[m]
            any_lone |= alone
        before_count = count
        for m in range(n):
            lanes[count] = m
            firsts[count] = former[m]
            count += ends[m]
        for m in range(n):
            found[m] |= ends[m]
        for s in range(before_count, count):
            stops[s] = k
    # Segments of one group count only if there is no longer one, and then only the first.
    for m in range(n if any_lone else 0):
        lanes[count] = m
        firsts[count] = lone[m]
        stops[count] = lone[m] + 1
        count += (found[m] == 0) & (lone[m] >= 0)
    return count


@helper(counted=False)
def _fit_lanes(sums, scratch, broken, columns, values, flags, gain, rn, photons, read, weights, times, n):
    """Sums over the segments of ``n`` lanes of one integration, into the columns of ``sums`` (4, width) of each.

    ``photons`` and ``read`` are the numerators of the variances of a segment (`_segments`), per column.
    """
    segments, states, ends = scratch
    for row in range(SUMS):
        one = sums[row]
        for m in range(n):
            one[columns[m]] = 0.0
    count = _list_segments(segments, states, ends, broken, columns, flags, n)
    shapes, spans, slopes, by_both = sums[SHAPES], sums[SPANS], sums[SLOPES], sums[BY_BOTH]
    lanes, firsts, stops = segments[0], segments[1], segments[2]
    for s in range(count):
        m = lanes[s]
        x = columns[m]
        length = stops[s] - firsts[s]
        shape = segment_shape(length, 1.0)
        span = float(length - 1) if length > 1 else 1.0
        shapes[x] += shape
        spans[x] += span
        slopes[x] += shape * segment_slope(values, m, firsts[s], length, gain[x], rn[x], weights, times, 1.0)
        by_both[x] += shape * span / (photons[x] * shape + read[x] * span)


@helper(counted=False)
def _rates(slope, var_poisson, var_rnoise, shapes, spans, slopes, photons, read):
    """Slopes and variances from sums over segments, as `_segments.set_results` does for one pixel with noise."""
    for c in range(slope.size):
        variance = read[c] / shapes[c] if shapes[c] > 0 else 0.0
        var_rnoise[c] = 0.0 if variance >= LARGEST_VARIANCE else variance
    for c in range(slope.size):
        variance = photons[c] / spans[c] if shapes[c] > 0 and photons[c] > 0 else 0.0
        var_poisson[c] = 0.0 if variance >= LARGEST_VARIANCE else variance
    for c in range(slope.size):
        slope[c] = slopes[c] / shapes[c] if var_rnoise[c] > 0 else 0.0


@helper(counted=False)
def _prepare_lanes(photons, read, medians, columns, gain, rn, dark, group_time, n):
    """Numerators of the variances of ``n`` flagged pixels, by column, from the photon rates of all integrations."""
    ni = medians.shape[0]
    for c in range(n):
        x = columns[c]
        total = 0.0
        for i in range(ni):
            total += medians[i, x]
        median = total / ni
        scale = group_time * gain[x]
        photons[x] = (median + dark[x] if median > 0 else dark[x]) / scale
        noise = rn[x] / scale
        read[x] = 12.0 * noise * noise


@helper(counted=False)
def _combine_lanes(results, bits, sums, work, tallies, broken, columns, photons, read, pdq, ranges, n):
    """Results of ``n`` flagged pixels from the sums of their integrations; of unbroken ones the slopes are there."""
    ni = sums.shape[0]
    p, q = work[0, :n], work[1, :n]
    shapes, spans, slopes, both = work[2, :n], work[3, :n], work[4, :n], work[5, :n]
    slope, vp, vr = work[6, :n], work[7, :n], work[8, :n]
    all_shapes, all_spans, all_slopes = work[9, :n], work[10, :n], work[11, :n]
    for row in range(9, 12):
        fill_row(work[row, :n], 0.0)
    for c in range(n):
        p[c] = photons[columns[c]]
        q[c] = read[columns[c]]
    for i in range(ni):
        marks, one = broken[i], results[i]
        length = ranges[i, 1] - ranges[i, 0]
        shape, span = segment_shape(length, 1.0), float(length - 1)
        for c in range(n):
            x = columns[c]
            whole = marks[x] == 0
            shapes[c] = shape if whole else sums[i, SHAPES, x]
            spans[c] = span if whole else sums[i, SPANS, x]
            slopes[c] = one[SLOPE, x] * shape if whole else sums[i, SLOPES, x]
            both[c] = sums[i, BY_BOTH, x]
        for c in range(n):
            by_both = shape * span / (p[c] * shape + q[c] * span) if marks[columns[c]] == 0 else both[c]
            both[c] = by_both
        for c in range(n):
            variance = 1.0 / both[c] if both[c] != 0 else 0.0
            both[c] = 0.0 if variance > LARGEST_VARIANCE else np.sqrt(variance)
        _rates(slope, vp, vr, shapes, spans, slopes, p, q)
        for c in range(n):
            all_shapes[c] += shapes[c]
            all_spans[c] += spans[c]
            all_slopes[c] += slopes[c]
        for c in range(n):
            x = columns[c]
            usable = marks[x] != _VOID
            one[SLOPE, x] = slope[c] if usable else np.nan
            one[ERR, x] = both[c] if usable else 0.0
            one[VAR_POISSON, x] = vp[c] if usable else 0.0
            one[VAR_RNOISE, x] = vr[c] if usable else 0.0
    _rates(slope, vp, vr, all_shapes, all_spans, all_slopes, p, q)
    for c in range(n):
        both[c] = np.sqrt(vp[c] + vr[c])
    one = results[ni]
    for c in range(n):
        x = columns[c]
        result = pdq[x] | (tallies[ALL_BITS, x] & (JUMP_DET | PERSISTENCE))
        result |= DO_NOT_USE if tallies[N_UNUSABLE, x] == ni else 0
        result |= SATURATED if tallies[N_FULL, x] == ni else 0
        usable = (result & UNUSABLE) == 0
        bits[ni, x] = result | (tallies[ALL_BITS, x] & SATURATED)
        one[SLOPE, x] = slope[c] if usable else np.nan
        one[ERR, x] = both[c] if usable else 0.0
        one[VAR_POISSON, x] = vp[c] if usable else 0.0
        one[VAR_RNOISE, x] = vr[c] if usable else 0.0


@helper(counted=False)
def median_rates_of_lanes(scratch, medians, ordered, group_time):
    """Put the median rates of all lanes into the columns of ``medians`` (nint, width)."""
    values, flags, columns, n_lanes, counts = scratch[:5]
    exists = scratch[10]
    for i in range(n_lanes.size):
        m = n_lanes[i]
        if m > 0:
            _flagged_median_rates(medians[i], ordered, exists, counts, columns[i], values[i], flags[i], group_time, m)


@helper(counted=False)
def take_lanes(scratch, broken, values, flags, n):
    """Copy all broken ramps of ``n`` pixels to the lanes."""
    lane_values, lane_flags, columns, n_lanes = scratch[:4]
    for i in range(values.shape[0]):
        c, u, q = columns[i], lane_values[i], lane_flags[i]
        n_lanes[i] = _take_lanes(c, u, q, broken[i], values[i], flags[i], n)


@helper(counted=False)
def fit_flagged(results, bits, scratch, medians, broken, flagged, pdq, references, weights, gdq, place, ranges, times):
    """Fit the pixels in the columns ``flagged`` of some, whose broken ramps are the lanes.

    ``results`` (nint + 1, 4, width) holds the slopes of their unbroken ramps and gets slope, error and two variances of
    the integrations and last of the exposure, ``bits`` (nint + 1, width) their flags. ``broken`` is used up. ``place``
    is the first group in ``gdq``, and row and column there of each pixel; suppressed ramps become DO_NOT_USE there.
    ``ranges`` (nint, 2) are the groups of an unbroken ramp.
    """
    values, flags, columns, n_lanes, _, sums, work, tallies, segments, states, ends, survey = scratch
    start, rows, across = place
    photons, read = work[12], work[13]
    parts, n = (segments, states, ends), flagged.size
    gain, rn, dark = references
    for row in range(tallies.shape[0]):
        fill_row(tallies[row], np.uint32(0))
    for i in range(n_lanes.size):
        c, u, q = columns[i], values[i], flags[i]
        at = (i, start, rows, across)
        _judge_lanes(medians[i], bits[i], tallies, broken[i], survey, c, u, q, pdq, gdq, at, times[0], n_lanes[i])
    _prepare_lanes(photons, read, medians, flagged, gain, rn, dark, times[0], n)
    for i in range(n_lanes.size):
        c, u, q = columns[i], values[i], flags[i]
        _fit_lanes(sums[i], parts, broken[i], c, u, q, gain, rn, photons, read, weights, times, n_lanes[i])
    _combine_lanes(results, bits, sums, work, tallies, broken, flagged, photons, read, pdq, ranges, n)
