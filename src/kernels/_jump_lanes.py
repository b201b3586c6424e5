"""Pixels with jumps in lanes: their differences lie densely, and what is done to all of them is a loop over lanes.

Symbols, sources and the NaN rule are those of `jump`.
"""

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, JUMP_DET, SATURATED
from upramp.kernels._jit import helper
from upramp.kernels._median import lane_median, sort_lanes
from upramp.kernels._rows import fill_row
from upramp.kernels._scratch import empty, zeros

__all__ = [
    "UNUSABLE",
    "columns_with_jumps",
    "core_scratch",
    "jump_scratch",
    "lane_count",
    "mark_cores",
    "mark_cores_of_rows",
    "median_differences",
    "next_jumps",
    "sort_jump_lanes",
]

UNUSABLE = DO_NOT_USE | SATURATED


@helper(counted=False)
def lane_count(depth):
    """Ramps of so many differences that are sorted together: enough to make long loops, and near the processor."""
    return 128 if depth <= 64 else 64


@helper(counted=False)
def _take_lanes(lanes, wanted, start, width):
    """Put the next wanted columns, from ``start``, into ``lanes``; returns their number and where to go on."""
    count = 0
    # In steps that cannot overflow the list, so that nothing depends on what is found.
    while start < width and count < lanes.size:
        stop = min(start + lanes.size - count, width)
        for x in range(start, stop):
            lanes[count] = np.uint32(x)
            count += wanted[x] != 0
        start = stop
    return count, start


@helper(counted=False)
def sort_jump_lanes(queue, counts, values, n, n_lanes, magnitude, finite_only):
    """Sort copies of ``n`` rows of values, or their ``magnitude``; ``counts`` of each lane exist, others come last."""
    infinity = np.float32(np.inf)
    fill_row(counts[:n_lanes], np.int32(0))
    for j in range(n):
        v, q = values[j, :n_lanes], queue[j, :n_lanes]
        for lane in range(n_lanes):
            exists = v[lane] == v[lane] and not (finite_only and abs(v[lane]) == infinity)
            value = abs(v[lane]) if magnitude else v[lane]
            q[lane] = value if exists else infinity
        for lane in range(n_lanes):
            counts[lane] += v[lane] == v[lane] and not (finite_only and abs(v[lane]) == infinity)
    # A multiple of 16 lanes takes only the packed loop; the lanes beyond hold old numbers, which do no harm.
    sort_lanes(queue, n, min((n_lanes + 15) // 16 * 16, queue.shape[1]))


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


@helper
def jump_scratch(n_differences):
    """Scratch of `next_jumps`: lanes, medians, their differences, the same sorted, flags; and parts of its own."""
    n_lanes = lane_count(n_differences)
    # Zeros: lanes that are not taken are sorted with the others.
    return (
        empty(n_lanes, np.uint32),
        empty(n_lanes, np.float64),
        zeros((n_differences, n_lanes), np.float32),
        zeros((n_differences, n_lanes), np.float32),
        zeros((n_differences, n_lanes), np.uint8),
        (empty((3, n_lanes), np.float32), empty((2, n_lanes), np.uint8), empty(n_lanes, np.int32)),
    )


@helper(counted=False)
def median_differences(scratch, n, n_lanes):
    """Medians of the ``n`` differences in some lanes of a `jump_scratch`; NaN where there are none."""
    _, medians, values, queue, _, (_, _, counts) = scratch
    plain = np.bool_(False)  # a literal has a type of its own
    sort_jump_lanes(queue, counts, values, n, n_lanes, plain, plain)
    for lane in range(n_lanes):
        count = counts[lane]
        medians[lane] = lane_median(queue, lane, 0, count) if count > 0 else np.nan


@helper(counted=False)
def next_jumps(scratch, bits, start, data, gdq, gain, unused, r, left):
    """Take the next pixels of a row with a jump flag and the medians [e-] of all their usable differences.

    Pixels are looked for in ``bits``, whose other flags are cleared, from ``start`` on. ``scratch`` (`jump_scratch`)
    gets their columns, their medians, and their differences for pairs of groups that are not ``unused``, unusable ones
    NaN, with the flags of the second group. Returns the number of pixels and where to go on.
    """
    lanes, _, values, _, flags, (electrons, pair, _) = scratch
    for x in range(start, bits.size):
        bits[x] &= JUMP_DET
    n_lanes, stop = _take_lanes(lanes, bits, start, bits.size)
    nan = np.float32(np.nan)
    g, before, after = electrons[0, :n_lanes], electrons[1, :n_lanes], electrons[2, :n_lanes]
    bad, q = pair[0, :n_lanes], pair[1, :n_lanes]
    for lane in range(n_lanes):
        g[lane] = gain[r, left + lanes[lane]]
    n = np.int64(0)
    for i in range(data.shape[0] if n_lanes > 0 else 0):
        for k in range(data.shape[1]):
            y, f = data[i, k, r, left : left + bits.size], gdq[i, k, r, left : left + bits.size]
            for lane in range(n_lanes):
                after[lane] = y[lanes[lane]]
            for lane in range(n_lanes):
                q[lane] = f[lanes[lane]]
            for lane in range(n_lanes):
                after[lane] *= g[lane]
            if k > 0 and (unused[i, k - 1] | unused[i, k]) == 0:
                v, u = values[n, :n_lanes], flags[n, :n_lanes]
                for lane in range(n_lanes):
                    v[lane] = after[lane] - before[lane]
                for lane in range(n_lanes):
                    v[lane] = v[lane] if ((bad[lane] | q[lane]) & UNUSABLE) == 0 else nan
                for lane in range(n_lanes):
                    u[lane] = q[lane]
                n += 1
            for lane in range(n_lanes):
                before[lane] = after[lane]
            for lane in range(n_lanes):
                bad[lane] = q[lane]
    if n_lanes > 0:
        median_differences(scratch, n, n_lanes)
    return n_lanes, stop


@helper
def core_scratch(n_lanes):
    """Scratch of `mark_cores`: noise in electrons, what is chosen, and rows and columns of pixels."""
    return empty(n_lanes, np.float64), empty(n_lanes, np.uint8), empty((2, n_lanes), np.uint64)


@helper(counted=False)
def mark_cores(marks, marked, scratch, cores, n_lanes, noises, unused, rules):
    """Mark the jumps that are to flag their neighbours, of pixels whose differences and medians are in lanes.

    ``scratch`` is a `jump_scratch`, ``cores`` a `core_scratch` with their places, ``noises`` read noise and gain.
    ``rules`` are the limits between which jumps are marked [sigma], the number of frames, and the columns of the
    region, which is cleared in every row of ``marks`` that becomes ``marked``.
    """
    _, medians, values, _, flags, _ = scratch
    sigmas, chosen, places = cores
    read_noise, gain = noises
    least, most, nframes, left, right = rules
    for lane in range(n_lanes):
        noise = read_noise[places[0, lane], places[1, lane]] * gain[places[0, lane], places[1, lane]]
        sigmas[lane] = float(noise * noise) / nframes
    for lane in range(n_lanes):
        sigma = np.sqrt(abs(medians[lane]) + sigmas[lane])
        # No ratio to NaN is between the limits.
        sigmas[lane] = sigma if sigma > 0 else np.nan
    j = 0
    for i in range(unused.shape[0]):
        for k in range(1, unused.shape[1]):
            if (unused[i, k - 1] | unused[i, k]) != 0:
                continue
            v, q = values[j, :n_lanes], flags[j, :n_lanes]
            j += 1
            some = np.uint8(0)
            for lane in range(n_lanes):
                ratio = abs(float(v[lane]) - medians[lane]) / sigmas[lane]
                chosen[lane] = ((q[lane] & JUMP_DET) != 0) & (ratio > least) & (ratio < most)
            for lane in range(n_lanes):
                some |= chosen[lane]
            for lane in range(n_lanes if some != 0 else 0):
                if chosen[lane] != 0:
                    r = places[0, lane]
                    if marked[i, k, r] == 0:
                        fill_row(marks[i, k, r, left:right], np.uint8(0))
                        marked[i, k, r] = 1
                    marks[i, k, r, places[1, lane]] = 1


@helper
def mark_cores_of_rows(marks, marked, rows, data, gdq, noises, unused, rules, first):
    """The same for the pixels of all ``rows``, counted from ``first``, that are not 0, whatever made their flags."""
    scratch = jump_scratch(data.shape[0] * (data.shape[1] - 1))
    cores = core_scratch(scratch[0].size)
    lanes, places = scratch[0], cores[2]
    left, right = rules[3], rules[4]
    found = empty(right - left, np.uint8)
    for m in range(rows.size):
        r = first + m
        if rows[m] == 0 or not columns_with_jumps(found, gdq, r, left, right):
            continue
        x = np.int64(0)
        while x < found.size:
            n_lanes, x = next_jumps(scratch, found, x, data, gdq, noises[1], unused, r, left)
            for lane in range(n_lanes):
                places[0, lane], places[1, lane] = r, left + lanes[lane]
            mark_cores(marks, marked, scratch, cores, n_lanes, noises, unused, rules)
