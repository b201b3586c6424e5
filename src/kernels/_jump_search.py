"""Find jumps among the differences of a ramp: the compiled part of `jump` that decides.

Nearly all ramps have no jump, and that can be proved without their median. A value ``v`` above the reference level
``c`` is no jump when ``v - c <= T sqrt(c + r^2/nframes)``, which holds for all ``c`` above some limit that depends
on ``v`` alone. So it is enough to count that more than half the values lie above the limit of the largest value (and
below that of the smallest): one pass over the samples and another over half of the differences, in vectors of float32
with a safety margin. Every ramp that is not proved clean is sorted and goes through the rules in float64.

Symbols, sources and the NaN rule are those of `jump`.
"""

import numpy as np

from upramp.kernels._flags import JUMP_DET
from upramp.kernels._jit import helper, kernel
from upramp.kernels._jump_lanes import (
    UNUSABLE,
    jump_lanes,
    mark_cores,
    mark_cores_of_rows,
    take_medians,
    take_variances,
)
from upramp.kernels._jump_rules import ITERATIVE, SIGMA_CLIP, SINGLE_PASS, judge_lanes
from upramp.kernels._rows import copy_row, fill_row
from upramp.kernels._scratch import empty, zeros
from upramp.kernels._vectors import LANES, absolute, any_of, bits_of, first_bit, load, select, splat, sqrt, store

__all__ = ["DECLINED", "detect_jumps_tile"]

DECLINED = -1  # too few usable groups: nothing is looked for


@helper(counted=False)
def _strip_differences(values, data, gdq, gain, unused, pairs, mode, r, x):
    """Fill rows of ``values`` with the differences between the groups of ``pairs``, for a strip of pixels from ``x``.

    Pairs with a group that no pixel of the frame uses have no row. Unusable differences are NaN. Returns the number of
    rows; of each pixel the smallest and largest value, in the iterative mode of their magnitudes, and how many are
    usable (NaN in the data are not seen); and whether there is a jump already.
    """
    zero, one, nan = np.float32(0), np.float32(1), np.float32(np.nan)
    k0, k1 = pairs
    g = load(gain[r], x)
    low, high = splat(np.float32(np.inf)), splat(np.float32(-np.inf))
    missing, found = splat(zero), splat(np.uint8(0))
    n = np.uint64(0)
    for i in range(data.shape[0]):
        before = load(data[i, k0, r], x) * g
        p = load(gdq[i, k0, r], x)
        found = found | p
        for k in range(k0 + 1, k1 + 1):
            after = load(data[i, k, r], x) * g
            q = load(gdq[i, k, r], x)
            found = found | q
            if (unused[i, k - 1] | unused[i, k]) == 0:
                v = after - before
                bad = ((p | q) & UNUSABLE) != 0
                if any_of(bad):
                    missing = missing + select(bad, one, zero)
                    v = select(bad, nan, v)
                store(values[n], 0, v)
                if mode == ITERATIVE:
                    v = absolute(v)
                low = select(v < low, v, low)
                high = select(v > high, v, high)
                n += np.uint64(1)
            before = after
            p = q
    return np.int64(n), low, high, np.float32(n) - missing, any_of((found & JUMP_DET) != 0)


@helper(counted=False)
def _limits_from_noise(low, high, gain, read_noise, threshold, nframes, r, x):
    """Range of reference levels for which neither the smallest nor the largest value is a jump (see module)."""
    t = np.float32(threshold)
    half = np.float32(0.5) * t * t
    quarter = np.float32(0.5) * half
    margin = np.float32(1e-5)  # float32 rounding of what follows is 20 times smaller
    zero = np.float32(0)
    noise = absolute(load(gain[r], x) * load(read_noise[r], x)) * np.float32(1.0 / np.sqrt(float(nframes)))
    variance = noise * noise
    floor = t * noise
    size = absolute(low)
    root = t * sqrt(quarter + size + variance)
    reach = select(root - half > floor, root - half, floor)
    reach = select(low >= zero, half + root, reach)
    highest = low + reach - margin * (size + half + root)
    size = absolute(high)
    root = t * sqrt(quarter + size + variance)
    reach = select(root - half > floor, root - half, floor)
    reach = select(high <= zero, half + root, reach)
    lowest = high - reach + margin * (size + half + root)
    return lowest, highest


@helper(counted=False)
def _limits_from_scatter(low, high, values, n, threshold):
    """The same for sigma clipping. The standard deviation is taken a little too small.

    It is NaN if a value lacks, or if the squares overflow.
    """
    t = np.float32(threshold)
    count = np.float32(n)
    rounding = count * np.float32(2.4e-7)
    mean, squares = splat(np.float32(0)), splat(np.float32(0))
    for j in range(n):
        mean = mean + load(values[j], 0)
    mean = mean / count
    for j in range(n):
        d = load(values[j], 0) - mean
        squares = squares + d * d
    size = absolute(low)
    largest = select(size > absolute(high), size, absolute(high))
    sd = sqrt(squares / count) * (np.float32(0.999) - rounding) - rounding * largest
    sd = sd + (squares - squares)  # infinite squares prove nothing: NaN, so that the ramp is looked at
    return high - t * sd, low + t * sd


@helper(counted=False)
def _suspects(lowest, highest, high, usable, values, n, mode):
    """Where the median is not certain to lie between the limits, as bits of an integer.

    With R usable values, it does if more than half of them do. The iterative mode drops the largest value with all its
    ties before taking the median: those do not count. Nor does a value that is NaN, or beside an infinite one. For
    fewer than four values there are other thresholds: they are never enough where ``n`` are more.
    """
    zero, one = np.float32(0), np.float32(1)
    top = highest
    if mode == ITERATIVE and n >= 4:
        top = select(high < highest, high, highest)
    needed = np.float32(0.5) * (usable + one)
    few = np.float32(min(n, 3))
    needed = select(needed > few, needed, few)
    inside = splat(zero)
    # Nearly always some more than half of the values prove it.
    for j in range(min(n // 2 + 3, n)):
        v = load(values[j], 0)
        if mode == ITERATIVE:
            v = absolute(v)
        inside = inside + select((v >= lowest) & (v < top), one, zero)
    clean = (inside >= needed) | (usable == zero)
    if any_of(clean ^ True):
        for j in range(n // 2 + 3, n):
            v = load(values[j], 0)
            if mode == ITERATIVE:
                v = absolute(v)
            inside = inside + select((v >= lowest) & (v < top), one, zero)
        clean = (inside >= needed) | (usable == zero)
    return bits_of(clean ^ True)


@helper(counted=False)
def _judge(gdq, marks, marked, lanes, waiting, noises, unused, mode, thresholds, rules, n, pairs):
    """Apply the rules of the mode to the ``waiting`` pixels of ``lanes``: flag their jumps, and mark their cores.

    They have ``n`` differences between the groups of ``pairs``.
    """
    places, flags = lanes[0], lanes[5]
    k0, k1 = pairs
    take_variances(lanes, noises, rules[0], waiting)
    inside = (1 << waiting) - 1
    if (judge_lanes(lanes, n, mode, thresholds) & inside) == 0:
        return
    j = np.uint64(0)
    for i in range(gdq.shape[0]):
        for k in range(k0, k1):
            if (unused[i, k] | unused[i, k + 1]) != 0:
                continue
            bits = bits_of(load(flags[j], 0) != 0) & inside
            while bits != 0:
                lane = first_bit(bits)
                gdq[i, k + 1, places[0, lane], places[1, lane]] |= JUMP_DET
                bits &= bits - 1
            j += np.uint64(1)
    if marks.size > 0 and mode != SIGMA_CLIP:
        take_medians(lanes, n)
        mark_cores(marks, marked, lanes, waiting, unused, rules[1:])


@helper
def _widened(data, gdq, gain, read_noise, first, last, left, width):
    """Copies of a region that is narrower than a vector, as wide as one."""
    h, right = last - first, left + width
    shape = (data.shape[0], data.shape[1], h, LANES)
    d, q = zeros(shape, np.float32), zeros(shape, np.uint8)
    g, s = zeros((h, LANES), np.float32), zeros((h, LANES), np.float32)
    for r in range(first, last):
        copy_row(g[r - first, :width], gain[r, left:right])
        copy_row(s[r - first, :width], read_noise[r, left:right])
        for i in range(data.shape[0]):
            for k in range(data.shape[1]):
                copy_row(d[i, k, r - first, :width], data[i, k, r, left:right])
                copy_row(q[i, k, r - first, :width], gdq[i, k, r, left:right])
    return d, q, g, s


@helper
def _find_jumps(gdq, marks, marked, flagged, data, noises, unused, mode, thresholds, rules, first, last):
    """Set JUMP_DET in some columns of a region; there have to be `LANES` of them, whatever they hold.

    ``marks`` (may have size 0) and ``marked`` are those of `detect_jumps_tile`, ``noises`` read noise and gain;
    ``rules`` the number of frames and those of `mark_cores`. ``flagged`` becomes 1 for rows of the region whose marks
    are still to be made: those that had jumps before.
    """
    read_noise, gain = noises
    nframes, _, _, left, right = rules
    step = 1 if mode == SIGMA_CLIP else data.shape[1] - 1
    depth = data.shape[0] * step
    values = empty((depth, LANES), np.float32)
    # Few pixels of a strip are suspect. They wait until they fill a strip of their own.
    lanes = jump_lanes(depth)
    places, taken = lanes[0], lanes[3]
    waiting = np.int64(0)
    for r in range(first, last):
        for k0 in range(0, data.shape[1] - 1, step):
            pairs = (k0, k0 + step)
            n = np.int64(0)
            for start in range(left, right, LANES):
                # The last strip may begin in the one before it.
                x = max(min(start, right - LANES), left)
                n, low, high, usable, seen = _strip_differences(values, data, gdq, gain, unused, pairs, mode, r, x)
                if n == 0:
                    break
                flagged[r - first] |= seen
                if mode > SINGLE_PASS:
                    lowest, highest = _limits_from_scatter(low, high, values, n, thresholds[0])
                else:
                    limit = thresholds[0]
                    if mode == ITERATIVE and n < 4:
                        limit = thresholds[1] if n == 3 else thresholds[2]
                    lowest, highest = _limits_from_noise(low, high, gain, read_noise, limit, nframes, r, x)
                bits = _suspects(lowest, highest, high, usable, values, n, mode)
                bits = (bits & ((1 << min(LANES, right - x)) - 1)) >> (start - x) << (start - x)
                while bits != 0:
                    column = first_bit(bits)
                    for j in range(n):
                        taken[j, waiting] = values[j, column]
                    places[0, waiting], places[1, waiting] = r, x + column
                    waiting += 1
                    if waiting == LANES:
                        _judge(gdq, marks, marked, lanes, waiting, noises, unused, mode, thresholds, rules, n, pairs)
                        waiting = np.int64(0)
                    bits &= bits - 1
            # Pixels wait for those of the next rows, but not for differences of other groups.
            if waiting > 0 and (mode == SIGMA_CLIP or r == last - 1):
                _judge(gdq, marks, marked, lanes, waiting, noises, unused, mode, thresholds, rules, n, pairs)
                waiting = np.int64(0)
    if mode == SIGMA_CLIP:
        fill_row(flagged, np.uint8(1))


@kernel
def detect_jumps_tile(
    gdq,
    marks,
    marked,
    data,
    gain,
    read_noise,
    unused,
    mode,
    threshold,
    four_group_threshold,
    three_group_threshold,
    nframes,
    min_sigma,
    max_sigma,
    first,
    last,
    left,
    right,
):
    """Set JUMP_DET in ``gdq`` of the region, and ``marks`` (like ``gdq``) to 1 for jumps that flag their neighbours.

    ``unused`` (nint, ngroup) uint8 is 1 for groups that have DO_NOT_USE in every pixel of the detector: it only
    saves time, and zeros are always right. ``mode`` and ``nframes`` are integers, thresholds float64 [sigma]; jumps
    between ``min_sigma`` and ``max_sigma`` flag their neighbours. ``marks`` may have size 0; the region is written in
    rows that get 1 in ``marked`` (nint, ngroup, ny) uint8, zeros at first: those with such jumps.
    """
    thresholds = (threshold, four_group_threshold, three_group_threshold)
    width = right - left
    flagged = zeros(last - first, np.uint8)
    rules = (nframes, min_sigma, max_sigma, left, right)
    if width < LANES:
        d, q, g, s = _widened(data, gdq, gain, read_noise, first, last, left, width)
        zero = np.int64(0)  # a literal has a type of its own, for which numba would compile everything again
        here = (nframes, min_sigma, max_sigma, zero, width)
        _find_jumps(q, marks[:0], marked, flagged, d, (s, g), unused, mode, thresholds, here, zero, last - first)
        fill_row(flagged, np.uint8(1))
        for i in range(gdq.shape[0]):
            for k in range(gdq.shape[1]):
                for r in range(first, last):
                    copy_row(gdq[i, k, r, left:right], q[i, k, r - first])
    else:
        noises = (read_noise, gain)
        _find_jumps(gdq, marks, marked, flagged, data, noises, unused, mode, thresholds, rules, first, last)
    if marks.size > 0:
        noises = (read_noise, gain)
        mark_cores_of_rows(marks, marked, flagged, data, gdq, noises, unused, nframes, rules[1:], first)
