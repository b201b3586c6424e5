"""The rules that decide which differences are jumps, for sixteen pixels at once (`upramp.kernels._jump_lanes`).

Differences are sorted, and what is no jump is a range of them. Symbols, sources and the NaN rule are those of `jump`.
"""

import numpy as np

from upramp.kernels._flags import JUMP_DET
from upramp.kernels._jit import helper
from upramp.kernels._jump_lanes import row_at, sorted_copies
from upramp.kernels._vectors import absolute, any_of, bits_of, doubles, floats, load, select, splat, sqrt, store

__all__ = ["ITERATIVE", "SIGMA_CLIP", "SIGMA_CLIP_ALL", "SINGLE_PASS", "clip_limits", "judge_lanes", "median_of_rows"]

ITERATIVE = 0
SINGLE_PASS = 1
SIGMA_CLIP = 2  # over the integrations, group by group
SIGMA_CLIP_ALL = 3  # over all groups of all integrations


@helper(counted=False)
def median_of_rows(ordered, first, count, n):
    """Median of ``count`` sorted values from row ``first`` on, float64."""
    half, one = np.float32(0.5), np.float32(1)
    low, high = first + (count - one) * half, first + count * half
    return (doubles(row_at(ordered, low, n)) + doubles(row_at(ordered, high, n))) * 0.5


@helper(counted=False)
def _below(ordered, limit, n):
    """How many of ``n`` values are below a limit, float32."""
    zero, one = np.float32(0), np.float32(1)
    count = splat(zero)
    for j in range(n):
        count = count + select(load(ordered[j], 0) < limit, one, zero)
    return count


@helper(counted=False)
def _kept_iterative(ordered, count, n, variance, thresholds):
    """First and last (exclusive) sorted absolute difference that is no jump, as float32.

    The level is always inside the values, so the largest deviation is at one of their ends. After the first pass it
    is rounded to float32 (reference behaviour).
    """
    zero, one, two, three, four = np.float32(0), np.float32(1), np.float32(2), np.float32(3), np.float32(4)
    threshold, four_group_threshold, three_group_threshold = thresholds
    first, last = splat(zero), count
    active = count >= two
    rounds = 0
    bottom, top, next_to_top = splat(zero), splat(zero), splat(zero)
    some_below = True
    while any_of(active):
        m = last - first
        top, next_to_top = row_at(ordered, last - one, n), row_at(ordered, last - two, n)
        if some_below:
            bottom = row_at(ordered, first, n)
        # From four values on, the largest and those equal to it do not count for the level.
        rest = m - one
        if any_of(active & (next_to_top == top)):
            rest = _below(ordered, top, n) - first
            active = active & ((rest > zero) | (m < four))
        level = median_of_rows(ordered, first, select(m >= four, rest, select(m == three, three, one)), n)
        if rounds > 0:
            level = doubles(floats(level))
        sigma = sqrt(absolute(level) + variance)
        limit = select(m >= four, threshold, select(m == three, four_group_threshold, three_group_threshold))
        up, down = absolute(floats(doubles(top) - level)), absolute(floats(doubles(bottom) - level))
        deviation = select(up > down, up, down)
        active = active & (sigma > 0.0) & (doubles(deviation) / sigma > limit)
        # Nearly always it is the largest value alone that deviates most.
        near = absolute(floats(doubles(next_to_top) - level))
        some_below = any_of(active & ((down >= up) | (near == deviation)))
        if some_below:
            below, above = splat(zero), splat(zero)
            for j in range(n):
                v = doubles(load(ordered[j], 0))
                here = active & (first <= np.float32(j)) & (last > np.float32(j))
                here = here & (absolute(floats(v - level)) == deviation)
                below = below + select(here & (v < level), one, zero)
                above = above + select(here & (v >= level), one, zero)
            first, last = first + below, last - above
        else:
            last = last - select(active, one, zero)
        active = active & (last - first >= two)
        rounds += 1
    return first, last


@helper(counted=False)
def _flag_iterative(lanes, count, n, thresholds):
    """Flag the differences whose magnitude is out of the range that is kept; returns where there are any."""
    _, _, variances, values, ordered, flags, _ = lanes
    infinity, one = np.float32(np.inf), np.float32(1)
    first, last = _kept_iterative(ordered, count, n, load(variances, 0), thresholds)
    some = first < last
    lowest = select(some, row_at(ordered, first, n), infinity)
    highest = select(some, row_at(ordered, last - one, n), -infinity)
    found = splat(np.uint8(0))
    for j in range(n):
        v = absolute(load(values[j], 0))
        bits = select((v < lowest) | (v > highest), np.uint8(JUMP_DET), np.uint8(0))
        store(flags[j], 0, bits)
        found = found | bits
    return found


@helper(counted=False)
def _flag_single_pass(lanes, count, n, threshold):
    """Flag the differences that are too far from the median of all; returns where there are any."""
    _, _, variances, values, ordered, flags, _ = lanes
    zero = np.float32(0)
    median = median_of_rows(ordered, splat(zero), count, n)
    sigma = sqrt(absolute(median) + load(variances, 0))
    found = splat(np.uint8(0))
    for j in range(n):
        v = load(values[j], 0)
        outside = (sigma > 0.0) & (absolute(doubles(v) - median) / sigma > threshold) & (v - v == zero)
        bits = select(outside, np.uint8(JUMP_DET), np.uint8(0))
        store(flags[j], 0, bits)
        found = found | bits
    return found


@helper(counted=False)
def clip_limits(ordered, count, n, threshold):
    """Limits (float64) of sigma clipping ``count`` of ``n`` sorted values: five rounds about the median."""
    zero, one = np.float32(0), np.float32(1)
    first, last = splat(zero), count
    low, high = splat(-np.inf), splat(np.inf)
    active = count > zero
    for _ in range(5):
        if not any_of(active):
            break
        size = doubles(last - first)
        median = median_of_rows(ordered, first, last - first, n)
        mean, squares = splat(0.0), splat(0.0)
        for j in range(n):
            here = (first <= np.float32(j)) & (last > np.float32(j))
            mean = mean + select(here, doubles(load(ordered[j], 0)), 0.0)
        mean = mean / size
        for j in range(n):
            here = (first <= np.float32(j)) & (last > np.float32(j))
            d = doubles(load(ordered[j], 0)) - mean
            squares = squares + select(here, d * d, 0.0)
        reach = sqrt(squares / size) * threshold
        low, high = select(active, median - reach, low), select(active, median + reach, high)
        below, above = splat(zero), splat(zero)
        for j in range(n):
            here = active & (first <= np.float32(j)) & (last > np.float32(j))
            v = doubles(load(ordered[j], 0))
            below = below + select(here & (v < low), one, zero)
            above = above + select(here & (v > high), one, zero)
        first, last = first + below, last - above
        active = active & (below + above > zero) & (last > first)
    return low, high


@helper(counted=False)
def _flag_clipped(lanes, count, n, threshold):
    """Flag the differences out of the limits of sigma clipping; returns where there are any."""
    values, ordered, flags = lanes[3:6]
    low, high = clip_limits(ordered, count, n, threshold)
    found = splat(np.uint8(0))
    for j in range(n):
        v = load(values[j], 0)
        outside = ((doubles(v) < low) | (doubles(v) > high)) & (v - v == np.float32(0))
        bits = select(outside, np.uint8(JUMP_DET), np.uint8(0))
        store(flags[j], 0, bits)
        found = found | bits
    return found


@helper(counted=False)
def judge_lanes(lanes, n, mode, thresholds):
    """Apply the rules of the mode to the first ``n`` differences of pixels whose variances are there.

    Their flags become JUMP_DET or 0. Returns which pixels have a jump, as bits of an integer.
    """
    count = sorted_copies(lanes, n, mode == ITERATIVE, mode >= SIGMA_CLIP)
    if mode == ITERATIVE:
        found = _flag_iterative(lanes, count, n, thresholds)
    elif mode == SINGLE_PASS:
        found = _flag_single_pass(lanes, count, n, thresholds[0])
    else:
        found = _flag_clipped(lanes, count, n, thresholds[0])
    return bits_of(found != 0)
