"""The quick part of the ramp fit: pieces of rows of ramps without any flag. Symbols are those of `ramp_fit`."""

import numpy as np

from upramp.kernels._fit_lanes import FLAGGED, STRANGE
from upramp.kernels._flags import CHARGELOSS, DO_NOT_USE
from upramp.kernels._jit import helper
from upramp.kernels._median import sort_lanes
from upramp.kernels._rows import copy_row, fill_row
from upramp.kernels._segments import (
    ERR,
    LARGEST_VARIANCE,
    POWER_LIMITS,
    SLOPE,
    UNUSABLE,
    VAR_POISSON,
    VAR_RNOISE,
    segment_shape,
    weight_offset,
)

__all__ = [
    "PIECE",
    "ROW",
    "combine_clean",
    "group_ranges",
    "list_broken",
    "median_rates",
    "slopes",
    "store_row",
    "take_piece",
]

PIECE = 256  # columns done together
# Rows of scratch are a little longer: at a power of two apart they would compete for the same cache lines.
ROW = PIECE + 16


@helper(counted=False)
def take_piece(values, flags, broken, kinds, rn, total, data, gdq, pdq, gain, read_noise, scales, ranges, place):
    """Copy a piece of a row; ``rn`` is its noise of one group [e-].

    ``broken`` marks the integrations of pixels that are not plainly good; ``kinds`` becomes STRANGE for pixels with
    more than flags about them (bad references, NaN), and 0 for others. The copy lies densely: the groups of a full
    frame are a power of two apart, and compete for the same cache lines. ``scales`` are sqrt(2 nframes) and the group
    time, ``place`` the first group, row and columns; ``total`` is scratch. Groups that are out of the range of their
    integration (`group_ranges`) have to be DO_NOT_USE and nothing else.
    """
    noise_scale, group_time = scales
    start, r, left, right = place
    n = right - left
    g = gain[r, left:right]
    s = read_noise[r, left:right]
    p = pdq[r, left:right]
    # Read variances near the limit where the reference drops them are left to the careful path.
    largest = np.sqrt(LARGEST_VARIANCE / 12) * group_time
    for x in range(n):
        rn[x] = np.float32(float(s[x]) * (float(g[x]) / noise_scale))
        plain = (p[x] & UNUSABLE) == 0 and g[x] > 0 and rn[x] > 0 and float(rn[x]) < largest * float(g[x])
        kinds[x] = 0 if plain and values.shape[1] > 1 else STRANGE
    for i in range(data.shape[0]):
        copy_row(broken[i, :n], kinds)
    for i in range(data.shape[0]):
        bits = broken[i, :n]
        fill_row(total[:n], np.float32(0))
        for k in range(values.shape[1]):
            q = gdq[i, start + k, r, left:right]
            y = data[i, start + k, r, left:right]
            v = values[i, k]
            f = flags[i, k]
            expected = np.uint8(0) if ranges[i, 0] <= k < ranges[i, 1] else np.uint8(DO_NOT_USE)
            for x in range(n):
                f[x] = q[x]
                bits[x] |= q[x] ^ expected
            for x in range(n):
                v[x] = y[x]
                total[x] += y[x]
        for x in range(n):
            infinite = np.uint8(0) if total[x] - total[x] == 0 else np.uint8(STRANGE)
            bits[x] |= infinite
            kinds[x] |= infinite


@helper(counted=False)
def list_broken(flagged, strange, kinds, broken, every, n):
    """List the columns of broken pixels: those with flags alone into ``flagged``, the STRANGE ones into ``strange``.

    Flags for charge migration make a pixel strange, and with ``every`` any flag does. Returns how many there are of
    both; ``kinds`` is completed.
    """
    for i in range(broken.shape[0]):
        bits = broken[i]
        for x in range(n):
            here = STRANGE if every or (bits[x] & CHARGELOSS) != 0 else FLAGGED
            kinds[x] |= here if bits[x] != 0 else 0
    n_flagged, n_strange = 0, 0
    for x in range(n):
        kinds[x] = min(kinds[x], STRANGE)
        flagged[n_flagged] = np.uint32(x)
        n_flagged += kinds[x] == FLAGGED
        strange[n_strange] = np.uint32(x)
        n_strange += kinds[x] == STRANGE
    return n_flagged, n_strange


@helper(counted=False)
def median_rates(medians, ordered, values, group_time, n):
    """Median of the first differences of one integration over the group time [DN/s], as if all were usable."""
    rows = values.shape[0] - 1
    for j in range(rows):
        a = values[j, :n]
        b = values[j + 1, :n]
        d = ordered[j]
        for x in range(n):
            d[x] = b[x] - a[x]
    sort_lanes(ordered, rows, n)
    low = ordered[(rows - 1) // 2]
    high = ordered[rows // 2]
    scale = 0.5 / group_time
    for x in range(n):
        medians[x] = (float(low[x]) + float(high[x])) * scale


@helper(counted=False)
def _powers(power, pairs, gain, rn, n):
    """Index of the power of the weights, after the signal-to-noise ratio of each ramp; returns the extremes."""
    y = pairs[0]
    for x in range(n):
        signal = y[x] * float(gain[x])
        square = signal * signal if signal > 0 else 0.0
        variance = float(rn[x]) * float(rn[x]) + signal
        index = 0.0
        for limit in POWER_LIMITS:
            index += 1.0 if signal > 0 and square >= limit * limit * variance else 0.0
        power[x] = index
    lowest = 5.0
    highest = 0.0
    for x in range(n):
        lowest = power[x] if power[x] < lowest else lowest
        highest = power[x] if power[x] > highest else highest
    return int(lowest), int(highest)


@helper(counted=False)
def slopes(slope, power, other, pairs, values, gain, rn, weights, n):
    """Slopes [DN/s] of unbroken ramps of one integration; ``power``, ``other`` and ``pairs`` are scratch."""
    length = values.shape[0]
    half = length // 2
    base = weight_offset(length)
    for j in range(half):
        a = values[j, :n]
        b = values[length - 1 - j, :n]
        pair = pairs[j]
        for x in range(n):
            pair[x] = float(b[x]) - float(a[x])
    lowest, highest = _powers(power, pairs, gain, rn, n)
    # Neighbouring pixels share one or two powers: a pass for each is faster than looking weights up per pixel.
    for index in range(lowest, highest + 1):
        w = weights[base + index * half :]
        first = pairs[0]
        for x in range(n):
            other[x] = w[0] * first[x]
        for j in range(1, half - 1, 2):
            a = pairs[j]
            b = pairs[j + 1]
            for x in range(n):
                other[x] = (other[x] + w[j] * a[x]) + w[j + 1] * b[x]
        if half % 2 == 0:
            a = pairs[half - 1]
            for x in range(n):
                other[x] += w[half - 1] * a[x]
        if index == lowest:
            copy_row(slope[:n], other)
        else:
            for x in range(n):
                slope[x] = other[x] if power[x] == index else slope[x] + 0.0


@helper(counted=False)
def group_ranges(ranges, unused, start, stop):
    """First and last (exclusive) group from ``start`` on that each integration uses, into ``ranges`` (nint, 2).

    With ``unused`` groups between others, or fewer than two left, it is the whole range. Returns sums over the
    integrations of the shapes and spans of segments that long (`_segments`).
    """
    shapes, spans = 0.0, 0.0
    for i in range(ranges.shape[0]):
        first, last, count = stop - start, 0, 0
        for k in range(stop - start):
            if unused[i, start + k] == 0:
                first = min(first, k)
                last = k + 1
                count += 1
        whole = count < 2 or count != last - first
        ranges[i, 0] = 0 if whole else first
        ranges[i, 1] = stop - start if whole else last
        n = ranges[i, 1] - ranges[i, 0]
        shapes += segment_shape(n, 1.0)
        spans += float(n - 1)
    return shapes, spans


@helper(counted=False)
def variances(vp, vr, poisson, dark, gain, rn, n_integrations, shape, span, group_time):
    """Variances [(DN/s)^2] of segments with that shape and span; ``poisson`` is the sum of the median rates."""
    photon_scale = 1.0 / (group_time * span)
    read_scale = 12.0 / (group_time * group_time * shape)
    part = 1.0 / n_integrations
    for x in range(vp.size):
        photons = poisson[x] * part
        vp[x] = (dark[x] + (photons if photons > 0 else 0.0)) * photon_scale / gain[x]
    for x in range(vp.size):
        noise = float(rn[x]) / gain[x]
        vr[x] = noise * noise * read_scale


@helper(counted=False)
def combine_clean(results, bits, pdq, poisson, dark, gain, rn, ranges, shapes, spans, group_time):
    """Results of pixels with one segment in every integration; slopes of the integrations are there already.

    ``shapes`` and ``spans`` are sums over all integrations.
    """
    ni = results.shape[0] - 1
    n = pdq.size
    for i in range(ni + 1):
        length = ranges[i, 1] - ranges[i, 0] if i < ni else 0
        err, p, q = results[i, ERR, :n], results[i, VAR_POISSON, :n], results[i, VAR_RNOISE, :n]
        if 0 < i < ni and length == ranges[i - 1, 1] - ranges[i - 1, 0]:
            # Integrations of the same length have the same variances.
            copy_row(err, results[i - 1, ERR])
            copy_row(p, results[i - 1, VAR_POISSON])
            copy_row(q, results[i - 1, VAR_RNOISE])
        else:
            shape = segment_shape(length, 1.0) if i < ni else shapes
            span = float(length - 1) if i < ni else spans
            variances(p, q, poisson, dark, gain, rn, ni, shape, span, group_time)
            if i < ni:
                for x in range(n):
                    both = p[x] + q[x]
                    err[x] = np.sqrt(both) if both <= LARGEST_VARIANCE else 0.0
            for x in range(n):
                p[x] = p[x] if 0 < p[x] < LARGEST_VARIANCE else 0.0
        copy_row(bits[i, :n], pdq)
    slope, err, p, q = (
        results[ni, SLOPE, :n],
        results[ni, ERR, :n],
        results[ni, VAR_POISSON, :n],
        results[ni, VAR_RNOISE, :n],
    )
    fill_row(slope, 0.0)
    for i in range(ni):
        one = results[i, SLOPE, :n]
        share = segment_shape(ranges[i, 1] - ranges[i, 0], 1.0) / shapes
        for x in range(n):
            slope[x] += one[x] * share
    for x in range(n):
        err[x] = np.sqrt(p[x] + q[x])


@helper(counted=False)
def store_row(slope, err, var_poisson, var_rnoise, dq, results, bits, r, left, right):
    """Write a piece of a row of the exposure, or of one integration; planes of size 0 are not wanted."""
    if slope.size > 0:
        copy_row(slope[r, left:right], results[SLOPE])
    if err.size > 0:
        copy_row(err[r, left:right], results[ERR])
    if var_poisson.size > 0:
        copy_row(var_poisson[r, left:right], results[VAR_POISSON])
    if var_rnoise.size > 0:
        copy_row(var_rnoise[r, left:right], results[VAR_RNOISE])
    if dq.size > 0:
        copy_row(dq[r, left:right], bits)
