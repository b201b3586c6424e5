"""Pixels with jumps, or suspected of them, sixteen at a time: what is done to them is done in vectors.

Symbols, sources and the NaN rule are those of `jump`.
"""

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, JUMP_DET, SATURATED
from upramp.kernels._jit import helper
from upramp.kernels._median import network_exchanges, network_size
from upramp.kernels._rows import fill_row
from upramp.kernels._scratch import empty, zeros
from upramp.kernels._vectors import (
    LANES,
    absolute,
    any_of,
    bits_of,
    doubles,
    first_bit,
    larger,
    load,
    select,
    smaller,
    splat,
    sqrt,
    store,
)

__all__ = [
    "UNUSABLE",
    "columns_with_jumps",
    "jump_lanes",
    "mark_cores",
    "mark_cores_of_rows",
    "next_jumps",
    "row_at",
    "sorted_copies",
    "take_medians",
    "take_variances",
]

UNUSABLE = DO_NOT_USE | SATURATED


@helper
def jump_lanes(n_differences):
    """Room for `LANES` pixels.

    Their rows and columns, medians [e-] and variances without photon noise [e-^2]; their differences [e-], room to
    sort these, and flags of the second groups; and the compare-exchanges that sort.
    """
    exchanges = empty((network_size(n_differences), 2), np.uint32)
    # Zeros: lanes that no pixel has taken are worked on with the others.
    return (
        # Unsigned: compiled code does not ask whether an index is negative.
        zeros((2, LANES), np.uint64),
        zeros(LANES, np.float64),
        zeros(LANES, np.float64),
        zeros((n_differences, LANES), np.float32),
        zeros((n_differences, LANES), np.float32),
        zeros((n_differences, LANES), np.uint8),
        exchanges[: network_exchanges(exchanges, n_differences)],
    )


@helper(counted=False)
def take_variances(lanes, noises, nframes, n_lanes):
    """Variances [e-^2] of some pixels from read noise and gain, ``noises``."""
    places, variances = lanes[0], lanes[2]
    read_noise, gain = noises
    for lane in range(n_lanes):
        noise = read_noise[places[0, lane], places[1, lane]] * gain[places[0, lane], places[1, lane]]
        variances[lane] = float(noise * noise) / nframes


@helper(counted=False)
def sorted_copies(lanes, n, magnitude, finite_only):
    """Sort copies of the first ``n`` differences, or their ``magnitude``, upwards; those that lack come last.

    Returns how many each pixel has, float32.
    """
    _, _, _, values, ordered, _, exchanges = lanes
    infinity, zero, one = np.float32(np.inf), np.float32(0), np.float32(1)
    count = splat(zero)
    for j in range(n):
        v = load(values[j], 0)
        exists = v == v
        if finite_only:
            exists = v - v == zero
        if magnitude:
            v = absolute(v)
        store(ordered[j], 0, select(exists, v, infinity))
        count = count + select(exists, one, zero)
    for j in range(n, ordered.shape[0]):
        store(ordered[j], 0, splat(infinity))
    for e in range(exchanges.shape[0]):
        a, b = load(ordered[exchanges[e, 0]], 0), load(ordered[exchanges[e, 1]], 0)
        store(ordered[exchanges[e, 0]], 0, smaller(a, b))
        store(ordered[exchanges[e, 1]], 0, larger(a, b))
    return count


@helper(counted=False)
def row_at(ordered, index, n):
    """Of each pixel the value in its row ``index``, float32 rounded down, of ``n``; that of the first row for less."""
    found = load(ordered[0], 0)
    for j in range(1, n):
        found = select(index >= np.float32(j), load(ordered[j], 0), found)
    return found


@helper(counted=False)
def take_medians(lanes, n):
    """Medians of the first ``n`` differences; NaN where there are none."""
    medians, ordered = lanes[1], lanes[4]
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    no = np.bool_(False)  # a literal has a type of its own
    count = sorted_copies(lanes, n, no, no)
    median = doubles(row_at(ordered, (count - one) * half, n)) + doubles(row_at(ordered, count * half, n))
    store(medians, 0, select(count > zero, median * 0.5, np.nan))


@helper(counted=False)
def columns_with_jumps(bits, gdq, r, left, right):
    """Collect in ``bits`` (right - left) the flags of all groups after the first; returns whether there is a jump."""
    fill_row(bits, np.uint8(0))
    for i in range(gdq.shape[0]):
        for k in range(1, gdq.shape[1]):
            q = gdq[i, k, r, left:right]
            for x in range(q.size):
                bits[x] |= q[x]
    found = np.uint8(0)
    for x in range(bits.size):
        found = np.uint8(found | bits[x])
    return (found & JUMP_DET) != 0


@helper(counted=False)
def next_jumps(lanes, bits, start, data, gdq, gain, unused, r, left):
    """Take the next pixels of a row with a jump flag, and the medians of all their usable differences.

    Pixels are looked for in ``bits`` from ``start`` on. ``lanes`` (`jump_lanes`) gets their places, their differences
    for pairs of groups that are not ``unused``, unusable ones NaN, and the flags of the second groups. Returns the
    number of pixels and where to go on.
    """
    places, _, _, values, _, flags, _ = lanes
    nan = np.float32(np.nan)
    n_lanes, x, n = np.int64(0), start, np.int64(0)
    while x < bits.size and n_lanes < LANES:
        if (bits[x] & JUMP_DET) != 0:
            places[0, n_lanes], places[1, n_lanes] = r, left + x
            n_lanes += 1
        x += 1
    for i in range(data.shape[0]):
        for k in range(1, data.shape[1]):
            if (unused[i, k - 1] | unused[i, k]) != 0:
                continue
            for lane in range(n_lanes):
                column = places[1, lane]
                g, p, q = gain[r, column], gdq[i, k - 1, r, column], gdq[i, k, r, column]
                v = data[i, k, r, column] * g - data[i, k - 1, r, column] * g
                values[n, lane] = v if ((p | q) & UNUSABLE) == 0 else nan
                flags[n, lane] = q
            n += 1
    if n_lanes > 0:
        take_medians(lanes, n)
    return n_lanes, x


@helper(counted=False)
def mark_cores(marks, marked, lanes, n_lanes, unused, rules):
    """Mark the jumps that are to flag their neighbours, of pixels whose medians and variances are there.

    ``rules`` are the limits between which jumps are marked [sigma], and the columns of the region, which is cleared in
    every row of ``marks`` that becomes ``marked``.
    """
    places, medians, variances, values, _, flags, _ = lanes
    least, most, left, right = rules
    median = load(medians, 0)
    sigma = sqrt(absolute(median) + load(variances, 0))
    # No ratio to NaN is between the limits.
    sigma = select(sigma > 0.0, sigma, np.nan)
    inside = (1 << n_lanes) - 1
    j = np.uint64(0)
    for i in range(unused.shape[0]):
        for k in range(1, unused.shape[1]):
            if (unused[i, k - 1] | unused[i, k]) != 0:
                continue
            jumps = (load(flags[j], 0) & JUMP_DET) != 0
            if any_of(jumps):
                ratio = absolute(doubles(load(values[j], 0)) - median) / sigma
                bits = bits_of(jumps & (ratio > least) & (ratio < most)) & inside
                while bits != 0:
                    lane = first_bit(bits)
                    r = places[0, lane]
                    if marked[i, k, r] == 0:
                        fill_row(marks[i, k, r, left:right], np.uint8(0))
                        marked[i, k, r] = 1
                    marks[i, k, r, places[1, lane]] = 1
                    bits &= bits - 1
            j += np.uint64(1)


@helper
def mark_cores_of_rows(marks, marked, rows, data, gdq, noises, unused, nframes, rules, first):
    """The same for the pixels of all ``rows``, counted from ``first``, that are not 0, whatever made their flags."""
    lanes = jump_lanes(data.shape[0] * (data.shape[1] - 1))
    left, right = rules[2:]
    found = empty(right - left, np.uint8)
    for m in range(rows.size):
        r = first + m
        if rows[m] == 0 or not columns_with_jumps(found, gdq, r, left, right):
            continue
        x = np.int64(0)
        while x < found.size:
            n_lanes, x = next_jumps(lanes, found, x, data, gdq, noises[1], unused, r, left)
            take_variances(lanes, noises, nframes, n_lanes)
            mark_cores(marks, marked, lanes, n_lanes, unused, rules)
