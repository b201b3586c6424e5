"""The quick part of the ramp fit: strips of 16 pixels as if no ramp had a flag. Symbols are those of `ramp_fit`.

A strip is done with all groups of all integrations before the next one, in vectors (`upramp.kernels._vectors`): its
sums stay in registers, and the samples are read from where they lie.
"""

import numpy as np

from upramp.kernels._flags import CHARGELOSS, DO_NOT_USE
from upramp.kernels._jit import helper
from upramp.kernels._median import median_exchanges, network_exchanges, network_size
from upramp.kernels._rows import copy_row
from upramp.kernels._scratch import empty, zeros
from upramp.kernels._segments import (
    LARGEST_VARIANCE,
    POWER_LIMITS,
    UNUSABLE,
    segment_shape,
    weight_offset,
)
from upramp.kernels._vectors import (
    LANES,
    MOST_ROWS,
    any_of,
    bits_of,
    doubles,
    first_bit,
    floats,
    larger,
    load,
    middle_rows,
    select,
    smaller,
    splat,
    sqrt,
    store,
)

__all__ = [
    "PIECE",
    "ROW",
    "exchange_tables",
    "fit_piece",
    "group_ranges",
    "piece_scratch",
    "strip_room",
]

PIECE = 256  # columns done together
# Rows of scratch are a little longer: at a power of two apart they would compete for the same cache lines.
ROW = PIECE + LANES

STRANGE = 2  # mark of a ramp with more than flags about it: NaN, or a bad reference of its pixel


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


@helper
def piece_scratch(n_integrations, n_groups):
    """What is kept of a piece beside its results, and room to work in.

    Of each pixel and integration whether it is broken, and in float64 its median rate and slope; the noise of a group
    and the dark current; and the columns of flagged and of strange pixels.
    """
    return (
        empty((n_integrations, ROW), np.uint8),
        empty((n_integrations, ROW), np.float64),
        empty((n_integrations, ROW), np.float64),
        empty(ROW, np.float32),
        empty(ROW, np.float32),
        # Unsigned: compiled code does not ask whether an index is negative.
        empty((2, ROW), np.uint32),
        empty((n_groups, LANES), np.float32),
    )


@helper(counted=False, inlined=True)
def _strip_differences(ordered, data, gdq, i, start, n_groups, ranges, r, x):
    """First differences of the groups in the range of an integration, into rows of ``ordered``.

    Returns the flags of all groups, but for DO_NOT_USE in those out of the range, and the sum of their samples, which
    is not finite if any of them is not.
    """
    bits = splat(np.uint8(0))
    # Unsigned: compiled code does not ask whether an index is negative.
    group = np.uint64(start)
    before = load(data[i, group, r], x)
    total = before
    first, last = ranges[i, 0], ranges[i, 1]
    for k in range(n_groups):
        expected = np.uint8(0) if first <= k < last else np.uint8(DO_NOT_USE)
        bits = bits | (load(gdq[i, group, r], x) ^ expected)
        if k > 0:
            after = load(data[i, group, r], x)
            total = total + after
            if first < k < last:
                store(ordered[np.uint64(k - first - 1)], 0, after - before)
            before = after
        group += np.uint64(1)
    return bits, total


@helper(counted=False, inlined=True)
def _strip_medians(ordered, exchanges, n, group_time):
    """Median of the first ``n`` rows over the group time [DN/s], float64; ``ordered`` is used up."""
    if n <= MOST_ROWS:
        low, high = middle_rows(ordered, n)
    else:
        for e in range(exchanges.shape[0]):
            a, b = load(ordered[exchanges[e, 0]], 0), load(ordered[exchanges[e, 1]], 0)
            store(ordered[exchanges[e, 0]], 0, smaller(a, b))
            store(ordered[exchanges[e, 1]], 0, larger(a, b))
        low, high = load(ordered[np.uint64((n - 1) // 2)], 0), load(ordered[np.uint64(n // 2)], 0)
    return (doubles(low) + doubles(high)) * (0.5 / group_time)


@helper(counted=False, inlined=True)
def _weighted(data, weights, base, i, first, length, r, x):
    """Slopes from the weights that start at ``base``."""
    head, tail, here = np.uint64(first), np.uint64(first + length - 1), np.uint64(base)
    slope = splat(0.0)
    for _ in range(length // 2):
        pair = doubles(load(data[i, tail, r], x)) - doubles(load(data[i, head, r], x))
        slope = slope + pair * weights[here]
        head, tail, here = head + np.uint64(1), tail - np.uint64(1), here + np.uint64(1)
    return slope


@helper(counted=False, inlined=True)
def _strip_slopes(data, weights, gain, rn, i, first, length, r, x):
    """Slopes [DN/s] of ``length`` groups from ``first`` on, float64; gain and noise are float64 too."""
    signal = (doubles(load(data[i, first + length - 1, r], x)) - doubles(load(data[i, first, r], x))) * gain
    square = signal * signal
    variance = rn * rn + signal
    # How many of the limits all pixels of the strip are above, and how many some are.
    lowest, highest = 0, 0
    index = splat(0.0)
    for limit in POWER_LIMITS:
        above = (signal > 0.0) & (square >= variance * (limit * limit))
        if not any_of(above):
            break
        highest += 1
        lowest += not any_of(above ^ True)
        index = select(above, float(highest), index)
    half = length // 2
    base = weight_offset(length)
    slope = _weighted(data, weights, base + lowest * half, i, first, length, r, x)
    for power in range(lowest + 1, highest + 1):
        other = _weighted(data, weights, base + power * half, i, first, length, r, x)
        slope = select(index >= float(power), other, slope)
    if length > 2:
        # Nothing is fitted to an infinite sample: the slope is NaN, see `segment_slope`.
        odd = doubles(load(data[i, first + half, r], x)) if length % 2 else splat(0.0)
        slope = slope + (slope + odd) * 0.0
    return slope


@helper(counted=False, inlined=True)
def _put(cube, i, r, x, vector):
    """Store results of an integration if they are wanted: planes that are not have size 0."""
    if cube.size > 0:
        store(cube[i, r], x, vector)


@helper(counted=False, inlined=True)
def _put_row(plane, r, x, vector):
    """Store results of the exposure if they are wanted."""
    if plane.size > 0:
        store(plane[r], x, vector)


@helper(counted=False, inlined=True)
def _put_variances(outputs, ranges, poisson, read, shapes, spans, group_time, r, x):
    """Store variances and errors of a strip; ``shapes`` and ``spans`` are those of the exposure.

    ``poisson`` is the photon rate over the gain [DN^2/e- / s], ``read`` the square of the noise of one group [DN^2];
    both are float64.
    """
    rate, integrations = outputs
    for i in range(ranges.shape[0]):
        length = ranges[i, 1] - ranges[i, 0]
        vp = poisson * (1.0 / (group_time * float(length - 1)))
        vr = read * (12.0 / (group_time * group_time * segment_shape(length, 1.0)))
        both = vp + vr
        _put(integrations[1], i, r, x, sqrt(floats(select(both <= LARGEST_VARIANCE, both, 0.0))))
        _put(integrations[2], i, r, x, floats(_reported(vp)))
        _put(integrations[3], i, r, x, floats(vr))
    vp = _reported(poisson * (1.0 / (group_time * spans)))
    vr = read * (12.0 / (group_time * group_time * shapes))
    _put_row(rate[1], r, x, sqrt(floats(vp + vr)))
    _put_row(rate[2], r, x, floats(vp))
    _put_row(rate[3], r, x, floats(vr))


@helper(counted=False, inlined=True)
def _reported(variance):
    """Variances as they are reported: 0 if they are too large to mean anything."""
    return select((variance > 0.0) & (variance < LARGEST_VARIANCE), variance, 0.0)


@helper(counted=False, inlined=True)
def _fit_strip(scratch, inputs, outputs, tables, rules, place, c):
    """Fit the strip in row and column ``place``, and put what is kept of it from column ``c`` on.

    Returns which pixels are flagged and which are strange, as bits of integers.
    """
    broken, medians, slopes, rn_row, dark_row, _, ordered = scratch
    data, gdq, pdq, gain, read_noise, average_dark = inputs
    rate, integrations = outputs
    weights, ranges, exchanges, parts = tables
    start, n_groups, suppress, noise_scale, group_time, shapes, spans = rules
    r, x = place
    ni = broken.shape[0]
    g = load(gain[r], x)
    gain_d = doubles(g)
    rn = floats(doubles(load(read_noise[r], x)) * (gain_d * (1.0 / noise_scale)))
    rn_d = doubles(rn)
    zero = np.float32(0)
    dark = splat(zero)
    if average_dark.size > 0:
        dark = load(average_dark[r], x)
    store(rn_row, c, rn)
    store(dark_row, c, dark)
    # Read variances near the limit where the reference drops them are left to the careful path.
    largest = np.sqrt(LARGEST_VARIANCE / 12) * group_time
    bad_pixels = load(pdq[r], x)
    plain = ((bad_pixels & UNUSABLE) == 0) & (g > zero) & (rn > zero) & (rn_d < gain_d * largest)
    bad = (plain ^ True) | (n_groups == 1)
    strange = bad
    flagged = bad
    photons, slope = splat(0.0), splat(0.0)
    for i in range(ni):
        first, length = start + ranges[i, 0], ranges[i, 1] - ranges[i, 0]
        bits, total = _strip_differences(ordered, data, gdq, i, start, n_groups, ranges, r, x)
        infinite = (total - total == zero) ^ True
        strange = strange | infinite | ((bits & CHARGELOSS) != 0)
        unplain = select(infinite | bad, np.uint8(STRANGE), np.uint8(0))
        store(broken[i], c, bits | unplain)
        flagged = flagged | ((bits | unplain) != 0)
        median, one = splat(0.0), splat(0.0)
        if length > 1:
            its = exchanges[parts[length, 0] : parts[length, 1]]
            median = _strip_medians(ordered, its, length - 1, group_time)
            one = _strip_slopes(data, weights, gain_d, rn_d, i, first, length, r, x)
        store(medians[i], c, median)
        store(slopes[i], c, one)
        _put(integrations[0], i, r, x, floats(one))
        photons = photons + median
        slope = slope + one * (segment_shape(length, 1.0) / shapes)
    inverse = splat(1.0) / gain_d
    photons = photons * (1.0 / ni)
    poisson = (doubles(dark) + select(photons > 0.0, photons, 0.0)) * inverse
    noise = rn_d * inverse
    _put_row(rate[0], r, x, floats(slope))
    _put_row(rate[4], r, x, bad_pixels)
    for i in range(ni):
        _put(integrations[4], i, r, x, bad_pixels)
    _put_variances(outputs, ranges, poisson, noise * noise, shapes, spans, group_time, r, x)
    if suppress == 0:
        strange = strange | flagged
    return bits_of(flagged & (strange ^ True)), bits_of(strange)


@helper
def exchange_tables(ranges, n_groups):
    """Networks for the medians (`median_exchanges`) of integrations with more differences than fit into registers.

    Returns the pairs of rows of all of them, and for each number of groups where its own begin and end.
    """
    parts = zeros((n_groups + 1, 2), np.int64)
    for i in range(ranges.shape[0]):
        length = ranges[i, 1] - ranges[i, 0]
        parts[length, 1] = length - 1 > MOST_ROWS
    n_lengths = 0
    for length in range(n_groups + 1):
        n_lengths += parts[length, 1]
    pairs, needed = empty((n_lengths * network_size(n_groups), 2), np.uint32), empty(n_groups + 1, np.uint8)
    count = 0
    for length in range(n_groups + 1):
        if parts[length, 1] != 0:
            parts[length, 0] = count
            size = network_exchanges(pairs[count:], length - 1)
            count += median_exchanges(pairs[count:], size, needed, length - 1)
            parts[length, 1] = count
    return pairs, parts


@helper(counted=False)
def _list_columns(columns, count, bits, c):
    """Append the columns, from ``c`` on, of the bits that are set; returns how many there are then."""
    while bits != 0:
        columns[np.uint64(count)] = c + first_bit(bits)
        count += 1
        bits &= bits - 1
    return count


@helper(counted=False)
def _fit_strips(scratch, inputs, outputs, tables, rules, place, c, n, counts):
    """Fit ``n`` pixels from row and column ``place`` on; ``counts`` are those of flagged and strange pixels before."""
    columns = scratch[5]
    n_flagged, n_strange = counts
    r, left = place
    for x in range(0, n, LANES):
        flagged, strange = _fit_strip(scratch, inputs, outputs, tables, rules, (r, left + x), c + x)
        if (flagged | strange) != 0:
            inside = (1 << min(n - x, LANES)) - 1
            n_flagged = _list_columns(columns[0], n_flagged, flagged & inside, c + x)
            n_strange = _list_columns(columns[1], n_strange, strange & inside, c + x)
    return n_flagged, n_strange


@helper
def strip_room(n_integrations, n_groups):
    """Room for one strip: samples, flags and references as in `fit_ramps_tile`, and its results."""
    shape = (n_integrations, 1, LANES)
    return (
        (
            zeros((n_integrations, n_groups, 1, LANES), np.float32),
            zeros((n_integrations, n_groups, 1, LANES), np.uint8),
            zeros((1, LANES), np.uint32),
            zeros((1, LANES), np.float32),
            zeros((1, LANES), np.float32),
            zeros((1, LANES), np.float32),
        ),
        (
            (
                zeros((1, LANES), np.float32),
                zeros((1, LANES), np.float32),
                zeros((1, LANES), np.float32),
                zeros((1, LANES), np.float32),
                zeros((1, LANES), np.uint32),
            ),
            (
                zeros(shape, np.float32),
                zeros(shape, np.float32),
                zeros(shape, np.float32),
                zeros(shape, np.float32),
                zeros(shape, np.uint32),
            ),
        ),
    )


@helper(counted=False)
def _take_rest(room, inputs, start, n_groups, r, left, right):
    """Copy the samples, flags and references of a part of a row."""
    data, gdq, pdq, gain, read_noise, average_dark = inputs
    n = right - left
    for i in range(data.shape[0]):
        for k in range(n_groups):
            copy_row(room[0][i, k, 0, :n], data[i, start + k, r, left:right])
            copy_row(room[1][i, k, 0, :n], gdq[i, start + k, r, left:right])
    copy_row(room[2][0, :n], pdq[r, left:right])
    copy_row(room[3][0, :n], gain[r, left:right])
    copy_row(room[4][0, :n], read_noise[r, left:right])
    if average_dark.size > 0:
        copy_row(room[5][0, :n], average_dark[r, left:right])


@helper(counted=False)
def _store_rest(planes, its, r, left, right):
    """Copy one result of a part of a row to where it belongs, if it is wanted."""
    if planes.size > 0:
        for i in range(planes.shape[0]):
            copy_row(planes[i, r, left:right], its[i, 0])


@helper(counted=False)
def _store_rest_row(plane, its, r, left, right):
    if plane.size > 0:
        copy_row(plane[r, left:right], its[0])


@helper(counted=False)
def fit_piece(scratch, room, inputs, outputs, tables, rules, r, left, n):
    """Fit ``n`` pixels of a row from column ``left`` on as if they were clean, with their results in ``outputs``.

    Returns how many are flagged and how many strange; their columns are in ``scratch``.
    """
    whole = n // LANES * LANES
    zero = np.int64(0)  # a literal has a type of its own, for which numba would compile everything again
    counts = _fit_strips(scratch, inputs, outputs, tables, rules, (r, left), zero, whole, (zero, zero))
    if n > whole:
        # Vectors must not reach beyond the end of an array.
        a, b = left + whole, left + n
        _take_rest(room[0], inputs, rules[0], rules[1], r, a, b)
        counts = _fit_strips(
            scratch, room[0], room[1], tables, (zero, *rules[1:]), (zero, zero), whole, n - whole, counts
        )
        (rate, integrations), (its_rate, its_integrations) = outputs, room[1]
        planes, its_planes = rate[:4], its_rate[:4]
        cubes, its_cubes = integrations[:4], its_integrations[:4]
        for j in range(4):
            _store_rest_row(planes[j], its_planes[j], r, a, b)
            _store_rest(cubes[j], its_cubes[j], r, a, b)
        _store_rest_row(rate[4], its_rate[4], r, a, b)
        _store_rest(integrations[4], its_integrations[4], r, a, b)
    return counts
